"""Columns of text among the features: questions and hints for the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from scanline.data.readers.column_roles import AMBIGUOUS, Columns
from scanline.errors import FormatError, UsageError, one_line
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
        f"(long table), or {wide} if each row is a sequence (wide table)",
        code=AMBIGUOUS,
    )


def _first_text(cells: Iterable[str]) -> str:
    """Return the first cell if all cells that are filled are text, and "" otherwise."""
    filled = [cell.strip() for cell in cells if cell.strip().lower() not in _NULL]
    if not filled or not all(_LETTER.search(cell) and not is_number(cell) for cell in filled):
        return ""
    return filled[0]


def with_hint(error: FormatError, columns: Columns, settings: DataSettings) -> FormatError:
    """Return an error about a cell that is no number, with the option that chooses the features."""
    name = (error.place or "").partition(", column ")[2]
    inferred = not settings.feature_columns and settings.step_columns == ()
    if error.remedy or not inferred or name not in map(one_line, columns.features):
        return error
    others = ",".join(other for other in columns.features if one_line(other) != name)
    listed = others if others and len(others) <= _MAX_LISTED else "A,B,..."
    return error.within(remedy=f"choose the columns with values, such as --feature-columns {listed}")
