"""Recurrent modules for other PyTorch programs: `LSTM`, `GRU` and `RNN`, as in `torch.nn`, with lengths."""

from scanline.nn.recurrent import GRU, LSTM, RNN, State

__all__ = ["GRU", "LSTM", "RNN", "State"]
