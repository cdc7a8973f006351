"""The LSTM as a native library and a torch operator, with its specification in plain torch."""
