"""Matches the columns of a wide table with those that the model's training data had."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scanline.errors import DataError
from scanline.formats.text import joined_beside

ALL_COLUMNS = ("*",)  # in `data.step_columns`: every column without a role, in the order of the file
# Names of a column that counts the rows. In a wide table such a column is no step.
_COUNTER = re.compile(r"index|idx|row|row[ _]?(id|index|no|nr|num|number)|nr|no|#|", re.IGNORECASE)


def is_counter_name(name: str) -> bool:
    """Return whether a column of this name may count the rows, such as `index`."""
    return _COUNTER.fullmatch(name.strip()) is not None


def match_steps(
    names: Sequence[str], wanted: Sequence[str], headed: bool, source: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of a table in the order of the training data's steps.

    Columns are matched by name. If the table, or the training data, had no header line, they are matched by
    position, and their number must be equal.

    Args:
        names: Columns of the table that have no role.
        wanted: Columns of the training data, in the order of the steps.
        headed: Whether the table has a header line.
        source: The table, for messages.

    Returns:
        (steps, rest): the columns in the order of the steps, and columns that count the rows.

    Raises:
        DataError: Names the columns that are missing, and those that training did not have.
    """
    there, known = set(names), set(wanted)
    missing = [name for name in wanted if name not in there]
    extra = [name for name in names if name not in known]
    if not missing and all(map(is_counter_name, extra)):
        return tuple(wanted), tuple(extra)
    # Without a header line, names are the positions 0, 1, 2, ... of the columns.
    positions = not headed or (all(map(str.isdecimal, wanted)) and not any(map(str.isdecimal, names)))
    counters = [name for name in names if headed and is_counter_name(name)]
    for rest in ([], counters):
        values = tuple(name for name in names if name not in rest)
        if positions and len(values) == len(wanted):
            return values, tuple(rest)
    if positions:
        raise DataError(
            where=source, expected=f"{len(wanted)} columns with values, as in training", found=len(names)
        )
    join = joined_beside(extra, wanted)
    faults = [f"{join(missing)} missing"] if missing else []
    faults += [f"{join(extra)} not in the training data"] if extra else []
    raise DataError(
        where=source,
        expected=f"the columns {join(wanted)}, in any order, as in training",
        found=" and ".join(faults),
        remedy="rename, add or remove columns",
    )
