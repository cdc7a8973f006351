"""Recurrent layers that know where each sequence ends.

Parameters carry torch's names and layout (`weight_ih_l0`, `weight_hh_l0_reverse`, ...; gates in torch's
order i, f, g, o for an LSTM and r, z, n for a GRU), so that a `state_dict` of `torch.nn.LSTM` fits.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from scanline.errors import UsageError
from scanline.kernels.paths import choose_path, computed_precision, run_layer
from scanline.kernels.steps import reverse_steps, step_mask

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def dropout(values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`values` with a `share` of them set to 0 and the rest scaled so that the mean stays.

    The random numbers are the caller's: nothing is drawn from torch's global state.
    Source: Srivastava et al. 2014, in the inverted form that TensorFlow and torch use.
    """
    kept = torch.rand(values.shape, generator=generator, device=values.device) >= share
    return values * kept / (1.0 - share)


class RecurrentLayers(nn.Module):
    """A stack of recurrent layers, each in one direction or both.

    cell: "rnn" (tanh), "gru" or "lstm". dropout: the share of outputs dropped in training.
    dropout_on: "between" drops the outputs of all layers but the last (torch's way), "every" of the last
    too (the way of TensorFlow's DropoutWrapper).

    Two attributes say how it is computed, not what: `backend` ("auto", "native", "torch") and `precision`
    ("float32", "bfloat16"), which holds in training alone; answers are computed in float32 by the native
    library, which adds up a sequence in the same order whoever travels with it, and in float64 where torch
    computes on the CPU, whose order changes with the size of the batch: in float64 no answer shows that.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        dropout_on: str = "between",
    ) -> None:
        super().__init__()
        self.cell, self.input_size, self.hidden_size, self.layers = cell, input_size, hidden_size, layers
        self.dropout, self.dropout_on = dropout, dropout_on
        self.backend, self.precision = "auto", "float32"
        self.directions = 2 if bidirectional else 1
        rows = GATES[cell] * hidden_size
        for layer in range(layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            for direction in range(self.directions):
                for name, shape in (
                    ("weight_ih", (rows, width)),
                    ("weight_hh", (rows, hidden_size)),
                    ("bias_ih", (rows,)),
                    ("bias_hh", (rows,)),
                ):
                    weight = nn.Parameter(torch.empty(shape).uniform_(-1, 1).mul_(1 / math.sqrt(hidden_size)))
                    self.register_parameter(self._name(name, layer, direction), weight)

    @staticmethod
    def _name(what: str, layer: int, direction: int) -> str:
        return f"{what}_l{layer}" + ("_reverse" if direction else "")

    def weights(self, layer: int, direction: int) -> list[nn.Parameter]:
        """[weight_ih (G*H, F), weight_hh (G*H, H), bias_ih (G*H,), bias_hh (G*H,)], G gates."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [self.get_parameter(self._name(kind, layer, direction)) for kind in kinds]

    @property
    def output_size(self) -> int:
        """Width of an output step: hidden size times directions."""
        return self.hidden_size * self.directions

    def forward(
        self, values: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Outputs of the last layer at every step, (N, T, D*H), 0 past each sequence's end.

        values: (N, T, F). lengths: (N,) on the device of `values`, or None if all sequences have T steps.
        What stands in `values` past a sequence's end is never read: it may be NaN.
        generator: where dropout draws from; needed in training when dropout > 0.
        """
        return self.read(values, lengths, generator)[0]

    def read(
        self, values: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `forward`, and the last layer's states (N, D*H) after each direction's last step.

        The states are None where they would have to be picked from the outputs. Whoever needs nothing else
        saves the gradient of all outputs by taking them.
        """
        outside, dtype = None, values.dtype
        path, precision = self.path(values, self.training)
        if path == "torch" and not self.training and values.device.type == "cpu":
            values = values.double()
        if lengths is not None and path == "torch":
            outside = ~step_mask(lengths, values.shape[1])[:, :, None]  # (N, T, 1)
            # Zeroed before anything is computed: a gradient of 0 times a padded NaN would still be NaN.
            values = values.masked_fill(outside, 0.0)
        for layer in range(self.layers):
            parts, states = [], []
            for direction in range(self.directions):
                outputs, state = self._read(path, precision, values, lengths, layer, direction)
                parts.append(outputs)
                states.append(state)
            values = torch.cat(parts, dim=-1) if len(parts) == 2 else parts[0]  # (N, T, D*H)
            last = layer == self.layers - 1
            if self.training and self.dropout and (self.dropout_on == "every" or not last):
                if generator is None:
                    raise ValueError("a network with dropout needs a generator in training")
                values = dropout(values, self.dropout, generator)
                states = []  # they are dropped as the outputs are
        known = [state for state in states if state is not None]
        last_states = torch.cat(known, dim=-1) if len(known) == self.directions else None
        values = values if outside is None else values.masked_fill(outside, 0.0)
        return values.to(dtype), None if last_states is None else last_states.to(dtype)

    def path(self, values: Tensor, training: bool) -> tuple[str, str]:
        """(backend, precision) that compute such `values`: "native" or "torch", "float32" or "bfloat16".

        Raises UsageError if backend is "native" and that cannot be had.
        """
        if self.cell != "lstm":
            if self.backend == "native":
                raise UsageError(
                    f"backend=native computes LSTMs, not {self.cell}; backend=auto takes torch's path"
                )
            return "torch", "float32"
        path = choose_path(self.backend, values.dtype, values.device)
        return path, computed_precision(path, self.precision if training else "float32")

    def _read(
        self,
        path: str,
        precision: str,
        values: Tensor,
        lengths: Tensor | None,
        layer: int,
        direction: int,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer in one direction, from zeros: outputs (N, T, H), and the last state (N, H) if known."""
        weights: list[Tensor] = [weight.to(values.dtype) for weight in self.weights(layer, direction)]
        if path == "native":
            options: Any = {"reverse": direction == 1, "precision": precision}
            return run_layer(path, values, None, None, weights, lengths, **options)[:2]
        if direction:
            values = reverse_steps(values, lengths)
        state = values.new_zeros(1, values.shape[0], self.hidden_size)
        # cuDNN can go backward only through the mode that keeps what training needs: the fourth.
        settings = (True, 1, 0.0, torch.is_grad_enabled(), False, True)
        if self.cell == "lstm":
            outputs = torch.lstm(values, (state, state), weights, *settings)[0]
        else:
            run = torch.gru if self.cell == "gru" else torch.rnn_tanh
            outputs = run(values, state, weights, *settings)[0]
        return reverse_steps(outputs, lengths) if direction else outputs, None
