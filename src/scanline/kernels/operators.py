"""The native operators: `torch.ops.scanline.lstm`, `lstm_projected`, `gru`, `rnn_tanh` and `rnn_relu`.

Those for both directions of a layer are called `lstm_bidirectional` and so on.
"""

from __future__ import annotations

from scanline.cells import gru, lstm, rnn
from scanline.kernels.operator import LayerOperator

_CELLS = (lstm.CELL, lstm.PROJECTED, gru.CELL, rnn.CELL, rnn.RELU)
# Both by the cell's `native_operator`.
OPERATORS = {str(cell.native_operator): LayerOperator(cell) for cell in _CELLS}
BIDIRECTIONAL = {str(cell.native_operator): LayerOperator(cell, directions=2) for cell in _CELLS}
