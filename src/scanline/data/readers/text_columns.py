"""Columns of text among the features: questions and hints for the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from scanline.data.readers.column_roles import AMBIGUOUS, Columns
from scanline.errors import DataError, FormatError, UsageError, join_names, one_line
from scanline.formats.text import is_number
from scanline.recipe import DataSettings

_LETTER = re.compile(r"[^\W\d_]")
_NULL = {"", "na", "n/a", "null", "none", "nan"}
_MAX_COLUMNS = 1_000  # features that are looked at
_MAX_LISTED = 200  # characters of a list of columns


def ask_for_id(
    path: Path, columns: Columns, sample: Callable[[str], Iterable[str]], settings: DataSettings
) -> None:
    """Check that a table whose features include text says which column identifies the sequences.

    Args:
        path: The table, for messages.
        columns: The roles of its columns.
        sample: Returns the cells of a column in the first rows.
        settings: How the table is read.

    Raises:
        UsageError: Names both readings of the table, and the options for each.
    """
    if columns.id or settings.shape == "wide" or settings.feature_columns or settings.step_columns:
        return
    text = {name: cell for name in columns.features[:_MAX_COLUMNS] if (cell := _first_text(sample(name)))}
    if not text:
        return
    name, cell = next(iter(text.items()))
    numbers = ",".join(other for other in columns.features if other not in text)
    wide = "--shape wide"
    if numbers and len(numbers) <= _MAX_LISTED:
        wide += f" --feature-columns {numbers}"
    raise UsageError(
        f"{path}: is each row a step, or a sequence? Column {one_line(name)} holds text "
        f"({one_line(cell)!r}): give --id-column {one_line(name)} if it identifies the sequence of a row "
        f"(long table), {wide} if each row is a sequence (wide table), or --text-column {one_line(name)} if "
        "it is the text of a sequence",
        code=AMBIGUOUS,
    )


def find_categorical(
    path: Path, columns: Columns, sample: Callable[[str], Iterable[str]], settings: DataSettings
) -> Columns:
    """Return the columns with those features marked that are names of categories.

    Without a setting these are the features of a table with identifiers whose first cells are all text. Each
    row of such a table may be a step; in others, a column of text is reported where it is read.

    Args:
        path: The table, for messages.
        columns: The roles of its columns.
        sample: Returns the cells of a column in the first rows.
        settings: How the table is read.

    Raises:
        UsageError: If a column of the settings is no feature.
    """
    chosen = settings.categorical_columns
    if others := [name for name in chosen if name not in columns.features]:
        known = join_names([one_line(name) for name in columns.features[:_MAX_COLUMNS]])
        raise UsageError(
            f"{path}: the categorical column {one_line(others[0])!r} must be a feature; expected some of "
            f"{known}"
        )
    if chosen:
        return replace(columns, categorical=chosen)
    if settings.shape == "wide" or not columns.id:
        return columns
    # Files of the training's kind have feature columns, but where they were numbers text stays an error.
    found = tuple(name for name in columns.features[:_MAX_COLUMNS] if _first_text(sample(name)))
    notes = (f"categorical column {name}" for name in found)
    return replace(columns, categorical=found, notes=(*columns.notes, *notes))


def refuse_categories(columns: Columns, path: Path) -> None:
    """Raise DataError if a table that is packed has categorical columns: packed data hold numbers."""
    if columns.categorical:
        raise DataError(
            where=f"{path}: column {one_line(columns.categorical[0])}",
            expected="numbers, as packed data have no categories",
            found="text",
            remedy="choose the columns to pack with --feature-columns, or train on the table itself",
        )


def _first_text(cells: Iterable[str]) -> str:
    """Return the first cell if all cells that are filled are text, and "" otherwise."""
    filled = [cell.strip() for cell in cells if cell.strip().lower() not in _NULL]
    return filled[0] if filled and all(map(is_text, filled)) else ""


def is_text(cell: str) -> bool:
    """Return whether a cell has letters and is no number."""
    return _LETTER.search(cell) is not None and not is_number(cell)


def with_hint(error: FormatError, columns: Columns, settings: DataSettings) -> FormatError:
    """Return an error about a cell that is no number, with the option that chooses the features."""
    name = (error.place or "").partition(", column ")[2]
    inferred = not settings.feature_columns and settings.step_columns == ()
    if error.remedy or not inferred or name not in map(one_line, columns.features):
        return error
    others = ",".join(other for other in columns.features if one_line(other) != name)
    listed = others if others and len(others) <= _MAX_LISTED else "A,B,..."
    remedy = f"choose the columns with values, such as --feature-columns {listed}"
    if columns.id and settings.shape != "wide":
        remedy += f", or give --categorical-columns {name} if it names categories"
    return error.within(remedy=remedy)
