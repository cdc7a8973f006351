"""Data frames of a Python program: their columns are matched by name, as those of files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scanline.data.readers.step_columns import ALL_COLUMNS, match_steps
from scanline.recipe import DataSettings


def column_names(values: Any) -> tuple[str, ...]:
    """Return the column names of a data frame of any library; () for arrays and for frames without names."""
    columns = getattr(values, "columns", None)
    if columns is None or getattr(values, "ndim", len(getattr(values, "shape", ()))) != 2:
        return ()
    names = list(columns)
    return tuple(names) if names and all(isinstance(name, str) for name in names) else ()


def match_frames(values: Any, settings: DataSettings, source: str) -> tuple[Any, DataSettings]:
    """Return values whose columns are in the order of the training data, and settings with their names.

    Args:
        values: A frame, whose columns are the steps; a list of frames, whose columns are the features of a
            step; or anything else, which is returned as it is.
        settings: `step_columns` and `feature_columns` hold the names of the training data, if it had any.
        source: Name of the values, for messages.

    Raises:
        DataError: Names the columns that are missing, and those that training did not have.
    """
    if names := column_names(values):
        wanted = () if settings.step_columns == ALL_COLUMNS else settings.step_columns
        values, names = _ordered(values, names, wanted, source)
        return values, settings.model_copy(update={"step_columns": wanted or names})
    if not isinstance(values, list | tuple) or not values or not column_names(values[0]):
        return values, settings
    wanted = settings.feature_columns or column_names(values[0])
    frames = [
        _ordered(frame, column_names(frame), wanted, f"{source}: sequence {index}")[0]
        for index, frame in enumerate(values)
    ]
    return frames, settings.model_copy(update={"feature_columns": wanted})


def _ordered(
    frame: Any, names: Sequence[str], wanted: Sequence[str], source: str
) -> tuple[Any, tuple[str, ...]]:
    if not names or not wanted:  # an array, or a frame without names, has its columns in order
        return frame, tuple(names)
    order, _ = match_steps(names, wanted, True, source)
    return (frame if tuple(names) == order else frame[list(order)]), order
