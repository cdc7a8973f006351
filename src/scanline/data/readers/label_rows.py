"""Labels of a Python program that are several classes at once, or several numbers, as texts of one label."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.label_sets import CELL, SEPARATORS
from scanline.data.targets import LABEL_SETS
from scanline.errors import DataError, one_line
from scanline.recipe import DataSettings

Rows = tuple[DataSettings, list[str], NDArray[np.int64]]


def join_rows(labels: Any, n: int, settings: DataSettings, source: str) -> Rows | None:
    """Return labels of which each is several as `encode_labels` reads them; None if each is one.

    Args:
        labels: (N, C) of 0 and 1, or (N, M) numbers; for several classes also N lists or sets of their names,
            or N texts of names with a mark between them.
        n: N.
        settings: Its `targets` says what labels are; its `label_columns` name the columns.
        source: Name of the values, for messages.

    Returns:
        The settings with names of the columns, the different labels as text, and the index of each sequence's
        label among them, (N,).

    Raises:
        DataError: If the labels cannot be used; says what was expected.
    """
    try:
        plain = labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels
    except TypeError:  # NumPy lacks its dtype: `encode_labels` says what was expected
        return None
    if settings.targets == LABEL_SETS:
        if getattr(plain, "ndim", 1) == 2:
            return _of_columns(np.asarray(plain), n, settings, source)
        return _of_names(plain, n, settings, source)
    if settings.targets != "numbers":
        return None
    try:
        array = np.asarray(plain)
    except (ValueError, TypeError):  # as for other labels, the reader names what it found
        return None
    return None if array.ndim != 2 else _of_columns(array, n, settings, source)


def _of_columns(array: NDArray[Any], n: int, settings: DataSettings, source: str) -> Rows:
    names = settings.label_columns or tuple(map(str, range(array.shape[1])))
    if array.shape != (n, len(names)) or array.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: expected labels of shape ({n}, {len(names)}), found {array.dtype} of {array.shape}"
        )
    rows, codes = np.unique(array, axis=0, return_inverse=True)
    texts = [CELL.join(map(str, row)) for row in rows.tolist()]
    changed = settings.model_copy(update={"label_columns": names, "label_column": ""})
    return changed, texts, codes.reshape(-1).astype(np.int64)


def _of_names(labels: Any, n: int, settings: DataSettings, source: str) -> Rows:
    listed = list(labels) if hasattr(labels, "__len__") and not isinstance(labels, str | bytes) else []
    if len(listed) != n:
        raise DataError(f"{source}: expected {n} labels, one for each sequence, found {len(listed)}")
    if _looks_like_columns(listed):
        raise DataError(
            f"{source}: expected names of classes, or an array of shape ({n}, C) of 0 and 1, found lists of "
            "0 and 1: make them an array"
        )
    marks = settings.label_separator or SEPARATORS
    known: dict[str, int] = {}
    codes = np.empty(n, np.int64)
    for index, label in enumerate(listed):
        place = f"{source}: sequence {index}"
        if isinstance(label, str):
            text = label
        elif isinstance(label, list | tuple | set | frozenset | np.ndarray):
            text = marks[0].join(_name(name, marks, place) for name in label)
        else:
            raise DataError(f"{place}: expected the names of its classes, found {one_line(repr(label))}")
        codes[index] = known.setdefault(text, len(known))
    return settings, list(known), codes


def _looks_like_columns(labels: list[Any]) -> bool:
    """Return whether all labels are lists of 0 and 1 of one length above 1."""
    if not all(isinstance(label, list | tuple | np.ndarray) and len(label) > 1 for label in labels):
        return False
    return len(set(map(len, labels))) == 1 and all(
        isinstance(each, int | np.integer) and each in (0, 1) for label in labels for each in label
    )


def _name(name: Any, marks: str, place: str) -> str:
    text = str(name.item() if isinstance(name, np.generic) else name).strip()
    if isinstance(name, bool | float | None) or not text or re.search(f"[{re.escape(marks)}]", text):
        raise DataError(
            f"{place}: expected names of classes without {' and '.join(marks)}, found {one_line(repr(name))}"
        )
    return text
