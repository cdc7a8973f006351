"""Checks of values that were read, whose messages name the place in the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.source import SequenceSource
from scanline.errors import DataError, one_line

_ROWS = 2**16  # steps checked at a time, which bounds the memory of the boolean masks


def check_values(source: SequenceSource, missing: bool, *, trained: bool = False) -> None:
    """Check that all values are finite.

    Args:
        source: Sequences as they were read.
        missing: Whether values may be missing, that is NaN.
        trained: Whether a trained model reads them, so that it is too late to choose how they are replaced.

    Raises:
        DataError: Names the place of the first value that is infinite or, unless allowed, missing.
    """
    # Bytes cannot be NaN or infinite.
    if source.dtype == np.uint8:
        return
    if source.layout is not None:
        # Checked when they were packed: no value is infinite, and the missing ones are counted.
        if source.layout.missing and not missing:
            place = f"{source.name}: {source.layout.first_missing}"
            raise DataError(f"{place}: expected a finite number, found {_missing_value(trained)}")
        return
    wrong = np.isinf if missing else lambda values: ~np.isfinite(values)
    steps = source.steps_between(0, len(source))
    wrong_at = first_wrong(steps, wrong)
    if wrong_at is None:
        return
    value = steps[wrong_at]
    found = f"{value}, or a number that does not fit into 32 bits"
    if np.isnan(value):
        found = _missing_value(trained)
    fail_at(source, *wrong_at, f"expected a finite number, found {found}")


def _missing_value(trained: bool) -> str:
    remedy = "use --missing forward-fill, zero or mean to replace missing values"
    if trained:
        remedy = "the model was trained with input.missing=error; replace missing values before"
    return f"a missing value; {remedy}"


def fail_at(source: SequenceSource, row: int, feature: int, fault: str) -> NoReturn:
    """Report a fault of one value.

    Args:
        source: Sequences as they were read.
        row: Row of the value among the steps of all sequences.
        feature: Its column there.
        fault: What is wrong.

    Raises:
        DataError: Always; names the source, the place of the step in its file and the column.
    """
    names = source.info.feature_names
    # The last sequence that starts at or before the row; side="right" includes a start equal to it.
    starts = np.cumsum(source.lengths) - source.lengths
    index = int(np.searchsorted(starts, row, side="right")) - 1
    step = row - int(starts[index])
    cell = f"step {step}, feature {feature}"
    if names:
        cell = f"column {one_line(names[feature if len(names) == source.features else step])}"
    raise DataError(f"{source.name}: {source.info.locate(index, step)}, {cell}: {fault}")


def first_wrong(
    steps: NDArray[Any], wrong: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> tuple[int, int] | None:
    """Return row and column of the first of (S, F) values for which `wrong` is true, or None."""
    for first in range(0, len(steps), _ROWS):
        places = wrong(steps[first : first + _ROWS])
        if places.any():
            row, column = np.argwhere(places)[0]
            return first + int(row), int(column)
    return None


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return values of any real dtype as contiguous float32; too large ones become infinite."""
    # The infinities are reported later, by `check_values`, which knows the place in the file.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)
