"""The recurrent cells: one module each, and the registry of their names.

Other packages add cells through the entry point group `scanline.cells`: the entry point's name is the cell's
name, its object a `Cell`. Importing this package does not import torch.
"""

from __future__ import annotations

from functools import cache

from scanline import registry
from scanline.cells import gru, gru_reset_before, lstm, rnn
from scanline.cells.base import (
    FORMATS,
    NO_INTERVENTION,
    Cell,
    FormatLayout,
    Intervention,
    Weights,
)
from scanline.errors import UsageError

__all__ = [
    "FORMATS",
    "NO_INTERVENTION",
    "Cell",
    "FormatLayout",
    "Intervention",
    "Weights",
    "by_layer",
    "get",
    "names",
]

GROUP = "scanline.cells"
_BUILT_IN = {cell.name: cell for cell in (lstm.CELL, gru.CELL, rnn.CELL, gru_reset_before.CELL)}


def names() -> tuple[str, ...]:
    """Return the names of all cells: the built-in ones, then those of installed packages."""
    return registry.names(GROUP, _BUILT_IN)


def get(name: str) -> Cell:
    """Return the cell called `name`. A built-in cell cannot be replaced by another package.

    Raises:
        UsageError: If there is no such cell, naming the legal ones, or if a package's cell cannot be loaded.
    """
    # Built-in names first: an installed package cannot change what a saved model computes.
    return _BUILT_IN[name] if name in _BUILT_IN else _load(name)


def by_layer(target: str) -> dict[str, tuple[Cell, ...]]:
    """Return the built-in cells by the names of a format's layers; `target` is one of `FORMATS`.

    A layer computes several cells if its settings choose among them.
    """
    layers: dict[str, tuple[Cell, ...]] = {}
    for cell in _BUILT_IN.values():
        for layer in cell.layouts[target].layers if target in cell.layouts else ():
            layers[layer] = (*layers.get(layer, ()), cell)
    return layers


@cache
def _load(name: str) -> Cell:
    """Return a cell of another package. Failures are not cached: the package may be installed later."""
    cell, origin = registry.load(GROUP, "cell", name, _BUILT_IN)
    # A model stores the cell's name only: it must lead back to the same cell.
    if not isinstance(cell, Cell) or cell.name != name:
        raise UsageError(
            f"cell {name!r}: expected {origin} to be a scanline.cells.Cell of that name, got {cell!r:.60}"
        )
    return cell
