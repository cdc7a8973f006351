"""Reads labels of steps, classes or numbers, from the arrays of a Python program."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.labels import as_class_name
from scanline.data.source import ClassName
from scanline.data.step_targets import UNLABELLED, encode_step_labels
from scanline.errors import DataError, one_line


def read_step_labels(
    labels: Any, lengths: NDArray[np.int64], source: str
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the classes of labels of steps, and the index of each step's class.

    Args:
        labels: (N, T), of which each sequence's first steps are read; or N arrays or lists (T_i,). None, NaN,
            "" and the integer -1 stand for no label.
        lengths: (N,) number of steps of each sequence.
        source: Name of the values, for messages.

    Returns:
        K class names, and (S,) indices, -1 for steps without a label.

    Raises:
        DataError: If the labels do not fit the sequences; names the first that does not.
    """
    rows = _rows(labels, lengths, source)
    known: dict[tuple[type, Any], int] = {}
    codes = np.empty(int(lengths.sum()), np.int64)
    place = itertools.count()
    for row in rows:
        for label in row:
            name = "" if _is_missing(label) or _is_minus_one(label) else as_class_name(label)
            # With the type, as True == 1 == 1.0.
            codes[next(place)] = -1 if name == "" else known.setdefault((type(name), name), len(known))

    def locate(index: int, step: int = 0, /) -> str:
        return f"sequence {index}, step {step}"

    names = [name for _, name in known]
    return encode_step_labels(names, codes, lengths, source, locate, typed=True)


def read_step_numbers(
    labels: Any, lengths: NDArray[np.int64], source: str
) -> tuple[tuple[float, ...], NDArray[np.int64]]:
    """Return the distinct numbers of the steps, sorted, and the index of each step's number.

    Args:
        labels: As for `read_step_labels`; None, NaN and "" stand for no number.
        lengths: (N,) number of steps of each sequence.
        source: Name of the values, for messages.

    Returns:
        The numbers, and (S,) indices, -1 for steps without one.

    Raises:
        DataError: If the labels do not fit the sequences, or one is no number; names the first.
    """
    rows = _rows(labels, lengths, source)
    numbers = np.empty(int(lengths.sum()), np.float64)
    place = itertools.count()
    for index, row in enumerate(rows):
        for step, label in enumerate(row):
            number = math.nan if _is_missing(label) or label == "" else _number(label)
            if number is None:
                raise DataError(
                    f"{source}: sequence {index}, step {step}: expected a label that is a finite number, "
                    f"found {one_line(repr(label), 100)}"
                )
            numbers[next(place)] = number
    labelled = ~np.isnan(numbers)
    targets = np.full(len(numbers), UNLABELLED, np.int64)
    distinct, targets[labelled] = np.unique(numbers[labelled], return_inverse=True)
    return tuple(distinct.tolist()), targets


def _number(label: Any) -> float | None:
    """Return a label as a finite number; None if it is none."""
    if isinstance(label, bool | str | bytes):
        return None
    try:
        number = float(label)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _rows(labels: Any, lengths: NDArray[np.int64], source: str) -> list[list[Any]]:
    """Return the labels of the steps of each sequence, N lists (T_i,)."""
    expected = f"{source}: expected labels of the steps of {len(lengths)} sequences"
    if isinstance(labels, np.ma.MaskedArray):
        raise DataError(f"{expected}, found a masked array; fill it with -1 where there is no label")
    plain = labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels
    if not hasattr(plain, "__len__") or len(plain) != len(lengths):
        found = f"{len(plain)} rows" if hasattr(plain, "__len__") else type(plain).__name__
        raise DataError(f"{expected}, found {found}")
    padded = getattr(plain, "ndim", 1) == 2
    rows = []
    for index, (row, length) in enumerate(zip(plain, lengths.tolist(), strict=True)):
        if hasattr(row, "detach"):
            row = row.detach().cpu().numpy()
        listed = row.tolist() if hasattr(row, "tolist") else row
        is_list = isinstance(listed, list | tuple)
        if not is_list or len(listed) < length or (len(listed) > length and not padded):
            found = f"{len(listed)}" if is_list else "one label"
            raise DataError(
                f"{source}: sequence {index}: expected a label for each of {length} steps, found {found}"
            )
        rows.append(list(listed[:length]))
    return rows


def _is_missing(label: Any) -> bool:
    """Return whether a label stands for no label."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float) and math.isnan(label)


def _is_minus_one(label: Any) -> bool:
    """Return whether a label is the integer that stands for no class."""
    return type(label) is int and label == -1
