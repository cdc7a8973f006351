"""Labels that are several classes at once, or several numbers.

A source has them as its distinct targets, like any other labels: a set of classes is the text of their names,
a row of numbers the text of the numbers, both separated by a semicolon. So everything that takes, joins,
stores or counts targets works as it does for one class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import MAX_NAME_CHARACTERS, check_look, name_too_long
from scanline.data.labels import label_number, plain_name
from scanline.data.source import ClassName, SequenceSource
from scanline.data.source_info import Locate
from scanline.errors import UNPRINTABLE, DataError, one_line
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

CELL = "\x1f"  # between the cells of several label columns, as a reader gives them
_MARK = ";"  # between the names, or the numbers, of a target
SEPARATORS = ";|"  # between the names of a label, unless the settings name another mark
_ONE_OR_ZERO = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def set_text(names: Iterable[str]) -> str:
    """Return the target of a set of classes, "" for the empty one."""
    return _MARK.join(sorted(set(names)))


def set_names(target: ClassName) -> tuple[str, ...]:
    """Return the names of the classes of a target that is a set."""
    return tuple(str(target).split(_MARK)) if str(target) else ()


def row_text(numbers: Iterable[float]) -> str:
    """Return the target of a row of numbers, from which they are read again to the same bits."""
    return _MARK.join(map(repr, numbers))


def row_numbers(target: ClassName) -> list[float]:
    """Return the numbers of a target that is a row of them."""
    return [float(text) for text in str(target).split(_MARK)]


def count_names(source: SequenceSource) -> dict[str, int]:
    """Return the number of sequences of each class, where targets are sets of classes."""
    counts = np.bincount(source.targets, minlength=len(source.classes))
    found: dict[str, int] = {}
    for target, count in zip(source.classes, counts.tolist(), strict=True):
        for name in set_names(target):
            found[name] = found.get(name, 0) + count
    return dict(sorted(found.items()))


def encode_label_sets(
    labels: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    source: str,
    locate: Locate,
    settings: DataSettings,
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the distinct sets of classes, sorted, and the index of each sequence's set among them.

    Args:
        labels: Labels, each once: names with a mark between them, or the cells of `settings.label_columns`, 0
            or 1 each, with `CELL` between them.
        codes: (N,) the label of sequence i is `labels[codes[i]]`.
        source: Name of the source, for messages.
        locate: Names the place of a sequence, for messages.
        settings: Its `label_columns` and `label_separator` say how labels are read.

    Raises:
        DataError: Names the first label that cannot be used.
    """
    marks = re.compile("[" + re.escape(settings.label_separator or SEPARATORS) + "]")

    def target(label: Any) -> str:
        if not settings.label_columns:
            return set_text(name for part in marks.split(str(label)) if (name := plain_name(part)))
        return set_text(name for name, cell in _cells(label, settings) if _is_one(name, cell))

    classes, indices = _encode(labels, codes, source, locate, target)
    names = sorted({name for each in classes for name in set_names(each)} | set(settings.label_columns))
    _check_names(names, source)
    return classes, indices


def encode_number_rows(
    labels: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    source: str,
    locate: Locate,
    settings: DataSettings,
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the distinct rows of numbers and the index of each sequence's row; see `encode_label_sets`.

    Args:
        labels: Labels, each once: the cells of `settings.label_columns`, with `CELL` between them.
        codes: As for `encode_label_sets`.
        source: As for `encode_label_sets`.
        locate: As for `encode_label_sets`.
        settings: Its `decimal` is the mark before decimals.

    Raises:
        DataError: Names the first label that is no finite number, and its column.
    """

    def target(label: Any) -> str:
        numbers = []
        for name, cell in _cells(label, settings):
            number = label_number(cell, settings.decimal)
            if not math.isfinite(number):
                raise ValueError(f"column {name}: expected a label that is a finite number, {_found(cell)}")
            numbers.append(number)
        return row_text(numbers)

    return _encode(labels, codes, source, locate, target)


def _encode(
    labels: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    source: str,
    locate: Locate,
    target: Callable[[Any], str],
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the distinct targets, sorted, and the index of each sequence's target."""
    used, first = np.unique(codes, return_index=True)
    targets = np.empty(len(used), dtype=object)
    # In the order of the sequences, so that the first fault of the file is named.
    for place in np.argsort(first):
        try:
            targets[place] = target(labels[int(used[place])])
        except ValueError as error:
            raise DataError(f"{source}: {locate(int(first[place]))}: {error}") from None
    distinct = sorted(set(targets.tolist()))
    index = {text: number for number, text in enumerate(distinct)}
    translation = np.array([index[text] for text in targets], np.int64)
    return tuple(distinct), translation[np.searchsorted(used, codes)]


def _cells(label: Any, settings: DataSettings) -> list[tuple[str, str]]:
    """Return the columns of labels with their cells. Raises ValueError if there are not as many cells."""
    names, cells = settings.label_columns, str(label).split(CELL)
    if len(names) != len(cells):
        raise ValueError(f"expected the label columns {', '.join(map(one_line, names))}, found one label")
    return list(zip(names, cells, strict=True))


def _is_one(name: str, cell: str) -> bool:
    """Return whether the cell of a label column is 1. Raises ValueError if it is neither 0 nor 1."""
    value = _ONE_OR_ZERO.get(cell.strip().lower())
    if value is None:
        raise ValueError(f"column {one_line(name)}: expected 0 or 1, {_found(cell)}")
    return value


def _found(cell: str) -> str:
    return f"found {one_line(cell.strip()) or 'nothing'}"


def _check_names(names: Sequence[str], source: str) -> None:
    """Raise DataError if a class has a name that cannot be used, or there are too many."""
    if len(names) > limit_of("CLASSES"):
        raise DataError(f"{source}: {exceeded('CLASSES', len(names))}")
    check_look(names, f"{source}: labels")
    for name in names:
        if len(name) > MAX_NAME_CHARACTERS:
            raise DataError(f"{source}: {name_too_long(name)}")
        if _MARK in name or UNPRINTABLE.search(name):
            raise DataError(
                f"{source}: expected printable class names without {_MARK}, found {one_line(name)}"
            )
