"""Recurrent layers of different widths and directions as the equal layers that the network has.

Narrower layers are padded with units, and layers of one direction with a second one, whose weights are 0.
Such a unit of an LSTM, a GRU of either kind or a plain RNN has the output 0 at every step, so nothing
changes but the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.cells import Cell

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
PADDED_CELLS = ("lstm", "gru", "gru-reset-before", "rnn")  # whose output is 0 if all their weights are

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class StackLayer:
    """A recurrent layer with its own sizes.

    Attributes:
        units: H of each of its directions.
        sides: [weight_ih, weight_hh, bias_ih, bias_hh] by direction: 0 reads forward, 1 backward.
    """

    units: int
    sides: dict[int, list[Array]]

    @property
    def width(self) -> int:
        """Number of its outputs at a step."""
        return self.units * len(self.sides)


@dataclass(frozen=True)
class StackShape:
    """Sizes that all layers get.

    Attributes:
        units: The widest layer's H.
        directions: 2 if a layer reads backward, otherwise 1.
    """

    units: int
    directions: int

    @classmethod
    def of(cls, layers: list[StackLayer]) -> StackShape:
        """Return the smallest sizes that hold all layers."""
        return cls(max(each.units for each in layers), 1 + any(1 in each.sides for each in layers))

    def is_padding(self, layer: StackLayer) -> bool:
        """Whether the layer has fewer units or directions."""
        return (layer.units, len(layer.sides)) != (self.units, self.directions)

    def columns(self, layer: StackLayer) -> NDArray[np.int64]:
        """Return where the outputs of a layer are among the D*H outputs of the padded one."""
        return np.concatenate([side * self.units + np.arange(layer.units) for side in sorted(layer.sides)])

    def weights(self, layers: list[StackLayer], cell: Cell, inputs: int) -> dict[str, Array]:
        """Return the weights of all layers by the network's names.

        Args:
            layers: The layers, from the input.
            cell: Their cell.
            inputs: F of the first layer.
        """
        made: dict[str, Array] = {}
        for index, layer in enumerate(layers):
            width = self.units * self.directions if index else inputs
            columns = self.columns(layers[index - 1]) if index else np.arange(inputs)
            for side in range(self.directions):
                end = f"_l{index}" + ("_reverse" if side else "")
                arrays = layer.sides.get(side)
                blocks = self._padded(arrays, layer.units, len(cell.gates), columns, width)
                names = [f"recurrent.{name}{end}" for name in _WEIGHTS]
                made |= dict(zip(names, blocks, strict=True))
        return made

    def head(self, kernel: Array, layer: StackLayer) -> Array:
        """Return `kernel` (K, M), which reads the M outputs of the last layer, as (K, D*H)."""
        made = np.zeros((len(kernel), self.units * self.directions), kernel.dtype)
        made[:, self.columns(layer)] = kernel
        return made

    def _padded(
        self, arrays: list[Array] | None, units: int, gates: int, columns: NDArray[np.int64], width: int
    ) -> list[Array]:
        """Return [weight_ih, weight_hh, bias_ih, bias_hh] of one direction, (G*H, ...) each."""
        H = self.units
        shapes = ((gates, H, width), (gates, H, H), (gates, H), (gates, H))
        made: list[Array] = [np.zeros(shape) for shape in shapes]
        if arrays is not None:
            weight_ih, weight_hh, *biases = (each.reshape(gates, units, *each.shape[1:]) for each in arrays)
            made[0][:, :units, columns] = weight_ih
            made[1][:, :units, :units] = weight_hh
            for target, bias in zip(made[2:], biases, strict=True):
                target[:, :units] = bias
        return [each.reshape(gates * H, *each.shape[2:]) for each in made]
