"""Texts and data frames with names of categories as samples of an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.readers.frames import column_names
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, one_line
from scanline.recipe import DataSettings

_NAMES = ("object", "str", "string", "category", "String", "Utf8", "Categorical", "Enum")


def has_names(X: Any) -> bool:
    """Return whether X is a data frame, or a list of them, with a column that names categories."""
    frames = X if isinstance(X, list | tuple) else [X]
    if not frames or not all(column_names(frame) for frame in frames):
        return False
    return any(_is_named(frame[name]) for frame in frames for name in column_names(frame))


def frames_source(
    frames: Sequence[Any], settings: DataSettings, categorical: Sequence[int] | None
) -> MemorySource:
    """Return a list of data frames, a sequence each and a row for each step, as sequences.

    Args:
        frames: Frames with the same columns in the same order.
        settings: How X is read.
        categorical: Features that name categories; None: those whose dtype is no number in some frame.

    Raises:
        DataError: If a frame has no rows, or a value is no number where one is expected; names both.
    """
    names = column_names(frames[0])
    if categorical is None:
        categorical = [
            feature for feature, name in enumerate(names) if any(_is_named(frame[name]) for frame in frames)
        ]
    lengths = np.array([len(frame) for frame in frames], np.int64)
    if (lengths == 0).any():
        where = f"X: sequence {int(np.flatnonzero(lengths == 0)[0])}"
        raise DataError(where=where, expected="rows", found="none")
    columns = [[frame[name] for frame in frames] for name in names]
    return _source(columns, names, categorical, lengths, settings)


def table_source(
    frame: Any, width: int, settings: DataSettings, categorical: Sequence[int] | None
) -> MemorySource:
    """Return a data frame, a sequence in each row, as sequences of steps of `width` adjacent columns.

    A feature names categories if one of its columns does. For the other arguments and errors see
    `frames_source`.
    """
    names = column_names(frame)
    columns = [[frame[name] for name in names[feature::width]] for feature in range(width)]
    if categorical is None:
        categorical = [feature for feature, own in enumerate(columns) if any(map(_is_named, own))]
    steps = len(names) // width
    # Columns are one step of all sequences each; the steps of a sequence must be adjacent.
    lengths = np.full(steps, len(frame), np.int64)
    made = _source(columns, names[:width], categorical, lengths, settings)
    order = np.arange(steps * len(frame)).reshape(steps, -1).T.reshape(-1)
    lengths = np.full(len(frame), steps, np.int64)
    targets = np.zeros(len(frame), np.int64)
    return replace(made, concatenated=made.concatenated[order], lengths=lengths, targets=targets)


def _source(
    columns: Sequence[Sequence[Any]],
    names: Sequence[str],
    categorical: Sequence[int],
    lengths: NDArray[np.int64],
    settings: DataSettings,
) -> MemorySource:
    """Return the source of columns: for each feature the columns whose values follow one another."""
    steps = np.empty((int(lengths.sum()), len(columns)), np.float32)
    categories: list[tuple[str, ...] | None] = [None] * len(columns)
    for feature, own in enumerate(columns):
        if feature in categorical:
            steps[:, feature], categories[feature] = _codes(own)
        else:
            steps[:, feature] = np.concatenate([_numbers(each, names[feature]) for each in own])
    info = SourceInfo(settings, feature_names=tuple(names), categories=tuple(categories))
    return MemorySource(steps, lengths, np.zeros(len(lengths), np.int64), (), "X", info=info)


def _codes(columns: Sequence[Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the codes of the names in columns, and the names, sorted: no order of rows matters."""
    cells = [_name(cell) for column in columns for cell in _listed(column)]
    known = sorted({"", *cells})
    places = {name: place for place, name in enumerate(known)}
    return np.array([places[cell] for cell in cells], np.float32), tuple(known)


def _numbers(column: Any, name: str) -> NDArray[np.float32]:
    values = [np.nan if _is_missing(cell) else cell for cell in _listed(column)]
    try:
        return np.array(values, np.float32)
    except (TypeError, ValueError):
        wrong = next(cell for cell in values if not isinstance(cell, int | float | np.number))
        raise DataError(
            where=f"X: column {one_line(name)}", expected="numbers, as in fit", found=f"{one_line(wrong)!r}"
        ) from None


def _listed(column: Any) -> list[Any]:
    cells: list[Any] = column.to_list()
    return cells


def _name(cell: Any) -> str:
    return "" if _is_missing(cell) else str(cell)


def _is_missing(cell: Any) -> bool:
    return cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType")


def _is_named(column: Any) -> bool:
    """Return whether a column names categories by its dtype; of objects, if one of them is text."""
    kind = str(column.dtype)
    if kind == "object":
        return any(isinstance(cell, str) for cell in column)
    return kind.partition("[")[0].partition("(")[0] in _NAMES


def with_sorted_names(source: MemorySource) -> MemorySource:
    """Return sequences whose codes are those of sorted names, so that no order of samples matters."""
    steps, categories = source.concatenated.copy(), list(source.info.categories)
    for feature, names in enumerate(categories):
        if names is not None:
            order = sorted(range(len(names)), key=names.__getitem__)
            places = np.empty(len(names), np.float32)
            places[order] = np.arange(len(names))
            steps[:, feature] = places[steps[:, feature].astype(np.int64)]
            categories[feature] = tuple(names[code] for code in order)
    return replace(source, concatenated=steps, info=replace(source.info, categories=tuple(categories)))
