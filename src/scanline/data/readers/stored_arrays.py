"""Keeps the arrays of a Python program in a folder, for other processes: `.npy` files and JSON, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scanline.data.readers.arrays import Arrays
from scanline.errors import UsageError

_FIELDS = ("values", "labels", "lengths", "groups", "test", "validation")


def write_arrays(folder: Path, data: Arrays) -> dict[str, Any]:
    """Write arrays into a folder.

    Args:
        folder: Where the files are written.
        data: The arrays: of numbers and text, or lists of such arrays.

    Returns:
        A JSON object that `read_arrays` takes.

    Raises:
        UsageError: If something is no array, and no list of arrays.
    """
    writer = _Writer(folder)
    return {"name": data.name, "fields": writer.write({name: getattr(data, name) for name in _FIELDS})}


def read_arrays(folder: Path, tree: dict[str, Any]) -> Arrays:
    """Return what `write_arrays` has written into a folder; `tree` is what it returned."""
    return Arrays(**_read(folder, tree["fields"]), name=tree["name"])


class _Writer:
    """Writes a tree of arrays: files for arrays, JSON for all else."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def write(self, value: Any) -> Any:
        """Return `value` as JSON in which {"file": name} stands for an array."""
        if value is None:
            return None
        if isinstance(value, dict):
            return {name: self.write(each) for name, each in value.items()}
        if isinstance(value, tuple):
            return {"tuple": [self.write(each) for each in value]}
        try:
            array = np.asarray(value)
        except ValueError:  # sequences of different lengths
            array = np.empty(0, object)
        if array.dtype != object:
            return self._save(array)
        if isinstance(value, list) and value:
            return {"list": [self.write(each) for each in value]}
        raise UsageError(
            "several processes need values and labels as arrays or lists of arrays, got "
            f"{type(value).__name__}"
        )

    def _save(self, array: np.ndarray[Any, Any]) -> dict[str, str]:
        self._count += 1
        name = f"{self._count}.npy"
        np.save(self._folder / name, array, allow_pickle=False)
        return {"file": name}


def _read(folder: Path, value: Any) -> Any:
    """Return what `_Writer.write` has written."""
    if not isinstance(value, dict):
        return value
    if "file" in value:
        # A name without folders: a file that was changed must not lead elsewhere.
        return np.load(folder / Path(value["file"]).name, allow_pickle=False)
    for kind, make in (("tuple", tuple), ("list", list)):
        if kind in value:
            return make(_read(folder, each) for each in value[kind])
    return {name: _read(folder, each) for name, each in value.items()}
