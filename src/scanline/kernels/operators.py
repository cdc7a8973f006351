"""The native operators: `torch.ops.scanline.lstm`, `gru`, `rnn_tanh` and `rnn_relu`."""

from __future__ import annotations

from scanline.cells import gru, lstm, rnn
from scanline.kernels.operator import LayerOperator

# By name, which is the cell's `native_operator`.
OPERATORS = {
    operator.name: operator for operator in map(LayerOperator, (lstm.CELL, gru.CELL, rnn.CELL, rnn.RELU))
}
