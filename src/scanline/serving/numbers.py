"""Nested lists of JSON numbers as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError

_NAMES = {str: "text", bool: "true or false", dict: "an object"}


def to_numbers(content: Any, suspicious: bool) -> NDArray[Any]:
    """Return nested lists of numbers as an array, with NaN for null.

    Args:
        content: Parsed JSON.
        suspicious: Whether there may be text or booleans in it. NumPy would take a boolean for a number, and
            as much memory for each number as for the longest text, so that these are searched for first.

    Raises:
        ValueError: If there is anything but numbers and null, or if the lists differ in length.
    """
    if suspicious and (name := _other_value(content)) is not None:
        raise ValueError(f"expected numbers, found {name}")
    try:
        # Ragged lists raise ValueError since NumPy 1.24; earlier versions made an object array of them.
        array = np.asarray(content)
    except (ValueError, OverflowError):
        raise ValueError("expected lists of equal length, found different ones") from None
    if array.dtype.kind != "O":
        return array
    # null, an object without keys, or an integer of more than 64 bits
    if (name := _other_value(array.tolist())) is not None:
        raise ValueError(f"expected numbers, found {name}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError("expected numbers that float32 can hold, found larger ones") from None


def narrow(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return `values` as float32.

    Raises:
        DataError: If a number is too large.
    """
    # A number beyond the range of float32 becomes infinite here, and is refused below.
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    if np.isinf(narrowed).any():
        raise DataError("expected numbers that float32 can hold, found larger ones")
    return narrowed


def _other_value(content: Any) -> str | None:
    """Return what there is in nested lists beside numbers and null, or None."""
    if isinstance(content, list):
        return next((name for name in map(_other_value, content) if name is not None), None)
    if content is None or type(content) in (int, float):
        return None
    return _NAMES[type(content)]
