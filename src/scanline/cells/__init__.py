"""The recurrent cells: one module each, and the registry of their names.

Other packages add cells through the entry point group `scanline.cells`: the entry point's name is the cell's
name, its object a `Cell`. Importing this package does not import torch.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from scanline.cells import gru, lstm, rnn
from scanline.cells.base import (
    FORMATS,
    NO_INTERVENTION,
    Cell,
    FormatLayout,
    Intervention,
    Weights,
)
from scanline.errors import UsageError, did_you_mean

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
_BUILT_IN = {cell.name: cell for cell in (lstm.CELL, gru.CELL, rnn.CELL)}


def names() -> tuple[str, ...]:
    """Return the names of all cells: the built-in ones, then those of installed packages."""
    found = dict.fromkeys(_BUILT_IN)
    found.update(dict.fromkeys(sorted(metadata.entry_points(group=GROUP).names)))
    return tuple(found)


def get(name: str) -> Cell:
    """Return the cell called `name`. A built-in cell cannot be replaced by another package.

    Raises:
        UsageError: If there is no such cell, naming the legal ones, or if a package's cell cannot be loaded.
    """
    # Built-in names first: an installed package cannot change what a saved model computes.
    return _BUILT_IN[name] if name in _BUILT_IN else _load(name)


def by_layer(target: str) -> dict[str, Cell]:
    """Return the built-in cells by the names of a format's layers; `target` is one of `FORMATS`."""
    return {
        layer: cell
        for cell in _BUILT_IN.values()
        if target in cell.layouts
        for layer in cell.layouts[target].layers
    }


@cache
def _load(name: str) -> Cell:
    """Return a cell of another package. Failures are not cached: the package may be installed later."""
    points = metadata.entry_points(group=GROUP, name=name)
    if not points:
        known = names()
        raise UsageError(f"cell must be one of {', '.join(known)}, got {name!r}{did_you_mean(name, known)}")
    # If several packages declare the name, the first on the path is taken, as with modules.
    (point, *_) = points
    try:
        cell = point.load()
    except Exception as error:  # the import of another package may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"cell {name!r} cannot be loaded from {point.value}: {reason}") from error
    # A model stores the cell's name only: it must lead back to the same cell.
    if not isinstance(cell, Cell) or cell.name != name:
        raise UsageError(
            f"cell {name!r}: expected {point.value} to be a scanline.cells.Cell of that name, "
            f"got {cell!r:.60}"
        )
    return cell
