"""Stacked recurrent layers over sequences of different lengths.

Parameters have torch's names and layout (`weight_ih_l0`, `weight_hh_l0_reverse`, ...; gates stacked in
torch's order), so that the `state_dict` of a `torch.nn.LSTM`, `GRU` or `RNN` fits.
"""

from __future__ import annotations

import math
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.backends.cudnn.rnn import get_cudnn_mode

from scanline import cells
from scanline.kernels.backends import (
    Backend,
    choose_backend,
    computed_precision,
    run_both,
    run_layer,
)
from scanline.model.dropout import Draws, dropout

States = list[tuple[Tensor, ...]]  # of each layer in the cell's order, each (N, H)


class RecurrentLayers(nn.Module):
    """A stack of recurrent layers, each in one direction or both.

    Predictions do not depend on the batch that a sequence is in: the native library adds up a sequence in the
    same order in every batch; torch's order changes with the size of the batch, so that on the CPU the other
    backends compute predictions in float64, where no rounding error reaches float32.

    Args:
        cell: Name of the cell, one of `cells.names()`.
        input_size: Features F.
        hidden_size: Units H of each layer and direction.
        layers: Number of layers.
        bidirectional: Whether each layer also reads from the end; D = 2 then, else 1.
        dropout: Fraction of outputs dropped in training.
        dropout_on: "between" drops outputs of all layers but the last, as torch does; "every" also of the
            last, as TensorFlow's DropoutWrapper does.

    Attributes:
        cell: The `Cell`.
        backend: "auto", "native" or "torch"; how it is computed, not what.
        precision: "float32" or "bfloat16", of the native backend's products in training. Predictions are
            always computed in float32 or better.
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
        self.cell, self.input_size, self.hidden_size = cells.get(cell), input_size, hidden_size
        self.layers, self.directions = layers, 2 if bidirectional else 1
        self.dropout, self.dropout_on = dropout, dropout_on
        self.backend, self.precision = "auto", "float32"
        # Drawn as torch.nn does; `initialise` replaces them in training, `load_state_dict` in prediction.
        rows = len(self.cell.gates) * hidden_size
        for layer in range(layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            shapes = ((rows, width), (rows, hidden_size), (rows,), (rows,))
            for direction in range(self.directions):
                for name, shape in zip(self.cell.weights, shapes, strict=True):
                    # device=None: the caller may build the module under `torch.device("meta")`.
                    values = torch.empty(shape, dtype=torch.float32, device=None)
                    weight = nn.Parameter(values.uniform_(-1, 1).mul_(1 / math.sqrt(hidden_size)))
                    self.register_parameter(_parameter_name(name, layer, direction), weight)

    def weights(self, layer: int, direction: int) -> list[Tensor]:
        """Return the weights of one layer in one direction.

        Args:
            layer: Counted from 0.
            direction: 0 for forward, 1 for backward.

        Returns:
            [weight_ih (G*H, F), weight_hh (G*H, H), bias_ih (G*H,), bias_hh (G*H,)], G gates.
        """
        # `get_parameter` takes longer than all else here, at every training step.
        parameters = cast("dict[str, Tensor]", self._parameters)
        return [parameters[_parameter_name(name, layer, direction)] for name in self.cell.weights]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Apply `fn` to all tensors, as `to`, `cuda` and `float` do; keep cuDNN's weights in one block."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        first = self.weights(0, 0)[0]
        if self.cell.torch_function is not None and first.is_cuda and cudnn.is_acceptable(first):
            self._flatten()
        return self

    def _flatten(self) -> None:
        """Move the weights of each layer and direction into one block of memory, as cuDNN reads them.

        From separate tensors it would copy them at every call, and torch warns of that.
        """
        mode = get_cudnn_mode(str(self.cell.torch_function).upper())
        with torch.no_grad():
            for layer in range(self.layers):
                width = self.input_size if layer == 0 else self.output_size
                for direction in range(self.directions):
                    weights = self.weights(layer, direction)
                    # (weights, tensors a layer, features, mode, units, projection, layers, batch_first,
                    # bidirectional): changes where the parameters' data lie, not the parameters.
                    torch._cudnn_rnn_flatten_weight(
                        weights, len(weights), width, mode, self.hidden_size, 0, 1, True, False
                    )

    @property
    def output_size(self) -> int:
        """Width of an output step, D*H."""
        return self.hidden_size * self.directions

    def forward(self, values: Tensor, lengths: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Return the outputs of the last layer at every step; see `read`.

        Args:
            values: Inputs, (N, T, F).
            lengths: (N,) on the device of `values`; None if all sequences have T steps.
            draws: Source of dropout's random numbers; needed in training if dropout > 0.

        Returns:
            (N, T, D*H), 0 past each sequence's end.
        """
        return self.read(values, lengths, draws)[0]

    def read(
        self, values: Tensor, lengths: Tensor | None = None, draws: Draws | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs of the last layer and, where the backend has them, its last states.

        Args:
            values: Inputs, (N, T, F). Values past a sequence's end are not read: they may be NaN.
            lengths: (N,) on the device of `values`; None if all sequences have T steps.
            draws: Source of dropout's random numbers; needed in training if dropout > 0.

        Returns:
            Outputs (N, T, D*H), 0 past each sequence's end, and the states h (N, D*H) after each direction's
            last step, or None if they would have to be picked from the outputs. A caller that needs only the
            states saves the gradient of all outputs by using them.

        Raises:
            ValueError: If dropout has no source of random numbers in training.
        """
        dtype = values.dtype
        backend, precision = self.path(values, self.training)
        values = self._exact(values, backend)
        options: dict[str, Any] = {"precision": precision, "final_states": False}
        for layer in range(self.layers):
            weights = self._weights_as(values, layer)
            if self.directions == 1:
                values, last = run_layer(backend, self.cell, values, None, weights[0], lengths, **options)
            else:
                values, last = run_both(backend, self.cell, values, None, weights, lengths, **options)
            is_last = layer == self.layers - 1
            if self.training and self.dropout and (self.dropout_on == "every" or not is_last):
                if draws is None:
                    raise ValueError("dropout needs a generator in training")
                values = dropout(values, self.dropout, draws)
                last = None  # without the outputs' dropout they are not the last outputs
        if last is None:
            return values.to(dtype), None
        h = last[0] if self.directions == 1 else last[0].transpose(0, 1).flatten(1)  # (N, D*H)
        return (values, h) if values.dtype == dtype else (values.to(dtype), h.to(dtype))

    def read_on(
        self, values: Tensor, states: States | None, lengths: Tensor | None = None, draws: Draws | None = None
    ) -> tuple[Tensor, States]:
        """Return the outputs of the last layer for the next steps, and the states of all layers after them.

        One direction only.

        Args:
            values: Inputs, (N, t, F). Values past a sequence's end are not read: they may be NaN.
            states: For each layer the states that this method returned, each (N, H); None before the first
                step.
            lengths: (N,) in 0..t, the number of next steps of each sequence; None if all have t.
            draws: As for `read`.

        Returns:
            Outputs (N, t, H), 0 past each sequence's end, and the states, in the cell's order.
        """
        dtype = values.dtype
        backend, precision = self.path(values, self.training)
        values, after = self._exact(values, backend), []
        for layer in range(self.layers):
            before = None if states is None else states[layer]
            (weights,) = self._weights_as(values, layer)
            values, last = run_layer(
                backend, self.cell, values, before, weights, lengths, precision=precision
            )
            assert last is not None
            after.append(last)
            if self.training and self.dropout and (self.dropout_on == "every" or layer < self.layers - 1):
                if draws is None:
                    raise ValueError("dropout needs a generator in training")
                values = dropout(values, self.dropout, draws)
        return values.to(dtype), after

    def _exact(self, values: Tensor, backend: Backend) -> Tensor:
        """Return inputs in the precision that this backend computes predictions in."""
        if backend != "native" and not self.training and values.device.type == "cpu":
            # Torch adds up in an order that depends on the batch: differences stay below float32's rounding.
            return values.double()
        return values

    def _weights_as(self, values: Tensor, layer: int) -> list[list[Tensor]]:
        """Return the weights of a layer, of each direction, in the dtype of `values`."""
        weights = [self.weights(layer, direction) for direction in range(self.directions)]
        if weights[0][0].dtype != values.dtype:
            weights = [[weight.to(values.dtype) for weight in each] for each in weights]
        return weights

    def path(self, values: Tensor, training: bool) -> tuple[Backend, str]:
        """Return the backend and the precision that compute such `values`.

        Args:
            values: Tensor whose dtype and device count.
            training: Whether for training.

        Returns:
            ("native", "torch" or "reference"; "float32" or "bfloat16").

        Raises:
            UsageError: If `backend` is "native" and that is not possible.
        """
        backend = choose_backend(self.backend, self.cell, values.dtype, values.device)
        return backend, computed_precision(backend, self.precision if training else "float32")


def _parameter_name(weight: str, layer: int, direction: int) -> str:
    return f"{weight}_l{layer}" + ("_reverse" if direction else "")
