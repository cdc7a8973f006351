"""Finds columns that count the rows or hold the length of a sequence, which are no features.

Such a column is used as identifiers or lengths if its name and its values agree; if there is any doubt, the
user is asked. Only features that were inferred are searched, when data are read to train on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.readers.column_roles import AMBIGUOUS
from scanline.data.readers.names import Names
from scanline.data.readers.step_columns import is_counter_name
from scanline.data.readers.tables import Table
from scanline.errors import UsageError, one_line

_LENGTH = re.compile(
    r"len|lens|n|(seq(uence)?[ _]?)?lengths?|(n|num|no|number)[ _]?(of[ _]?)?(steps|points|samples)|nsteps",
    re.IGNORECASE,
)
_FEWEST_NAMED = 3  # rows of a column that is called index
_FEWEST_ROWS = 5  # the values of other columns may count fewer rows by chance
_FEWEST_NUMBERED = 10  # likewise, for a feature of a long table, and for one of t0, t1, t2, ...


def separate_bookkeeping(table: Table, shape: str) -> Table:
    """Return the table without features that count its rows, and with the lengths that it has.

    Args:
        table: A table whose features were inferred.
        shape: "long" or "wide".

    Raises:
        UsageError: If a column may be an index or a length, but its name or its values do not show it.
    """
    table = separate_counters(table, lambda name: _facts(_column(table, name)), shape)
    if shape == "long":
        _check_long_lengths(table)
        return table
    if table.counts is None and len(table.columns.features) > 1:
        table = _separate_length(table)
    return table


@dataclass(frozen=True)
class ColumnFacts:
    """What says whether a feature counts the rows.

    counted: whether it is 0, 1, 2, ... or 1, 2, 3, ... in the order of the file. first: its first value.
    rows: number of rows. distinct: returns whether its values are whole numbers, each of which occurs once.
    """

    counted: bool
    first: float
    rows: int
    distinct: Callable[[], bool]


def separate_counters(table: Table, facts: Callable[[str], ColumnFacts], shape: str) -> Table:
    """Return the table without features that count its rows; a wide one may use one as ids.

    Args:
        table: A table whose features were inferred.
        facts: Returns what is known about the feature of a name.
        shape: "long" or "wide".

    Raises:
        UsageError: If a column may be an index, but its name does not show it.
    """
    for name in table.columns.features:
        named = (*table.columns.categorical, *table.columns.static)
        if len(table.columns.features) > 1 and name not in named:
            table = _separate_counter(table, name, facts(name), shape)
    return table


def _column(table: Table, name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = table.values[:, table.columns.features.index(name)]
    return values


def _facts(values: NDArray[np.float32]) -> ColumnFacts:
    def distinct() -> bool:
        whole = bool((np.trunc(values) == values).all())  # NaN is not equal
        return whole and len(np.unique(values)) == len(values)

    return ColumnFacts(_counts_rows(values), values[0].item(), len(values), distinct)


def _separate_counter(table: Table, name: str, facts: ColumnFacts, shape: str) -> Table:
    """Return the table without the feature `name` if it counts the rows."""
    if is_counter_name(name):
        if not (facts.counted or (facts.rows >= _FEWEST_NAMED and facts.distinct())):
            return table
        if shape == "wide" and table.id is None:
            return _use_as_id(table, name, _column(table, name))
        return _without(table, name, f"column {name}, which counts the rows, left out")
    numbered = shape == "long" or _in_series(name, table.columns.features)
    enough = _FEWEST_NUMBERED if numbered else _FEWEST_ROWS
    if not facts.counted or facts.rows < enough:
        return table
    first = int(facts.first)
    what = f"counts the rows {first} to {first + facts.rows - 1}, like an index"
    if shape == "long":
        use = f"--time-column {_shell(name)} if it orders the rows of a sequence"
        raise _question(table, name, what, use, "feature")
    raise _question(table, name, what, f"--id-column {_shell(name)} if it identifies them", "step")


def _counts_rows(values: NDArray[np.float32]) -> bool:
    """Return whether the values are 0, 1, 2, ... or 1, 2, 3, ... in the order of the file."""
    if values[0] not in (0, 1):
        return False
    return bool((values == values[0] + np.arange(len(values), dtype=np.float32)).all())


def _in_series(name: str, features: tuple[str, ...]) -> bool:
    """Return whether `name` is one of several that differ in their number only, such as t0, t1 and t2."""
    stem = name.rstrip("0123456789")
    return stem != name and sum(other.rstrip("0123456789") == stem for other in features[:1000]) > 1


def _use_as_id(table: Table, name: str, values: NDArray[np.float32]) -> Table:
    texts = tuple(str(int(value)) for value in values)
    ids = Names(np.arange(len(values), dtype=np.int32), texts)
    made = _without(table, name, f"id column {name}, which counts the rows")
    return replace(made, id=ids, columns=replace(made.columns, id=name))


def _without(table: Table, name: str, note: str) -> Table:
    """Return the table without the feature `name`, and with a note for the user."""
    index = table.columns.features.index(name)
    features = tuple(other for other in table.columns.features if other != name)
    columns = replace(table.columns, features=features)
    values = np.delete(table.values, index, axis=1)
    categories = table.categories[:index] + table.categories[index + 1 :]
    return replace(table, values=values, columns=columns, notes=(*table.notes, note), categories=categories)


def _separate_length(table: Table) -> Table:
    """Return a wide table with its lengths, if a column holds them."""
    features, values = table.columns.features, table.values
    usual = [name for name in features if _LENGTH.fullmatch(name.strip())]
    has_blanks = bool(np.isnan(values.min()))  # NaN if any value is
    if not usual and not has_blanks:
        return table
    ends = _filled_cells(values) if has_blanks else np.full(len(values), len(features), np.int64)
    for index, name in enumerate(features):
        lengths = values[:, index]
        if not ((np.trunc(lengths) == lengths) & (lengths >= 1) & (lengths <= len(features) - 1)).all():
            continue
        # The column itself is one of the filled cells; blanks before it do not count.
        by_values = len(np.unique(ends)) > 1 and not _in_series(name, features)
        if (lengths == ends - 1).all() and (name in usual or by_values):
            made = _without(table, name, f"length column {name}, the number of filled cells")
            return replace(
                made, counts=lengths.astype(np.float64), columns=replace(made.columns, length=name)
            )
        if name in usual:
            raise _question(
                table, name, "may be the number of steps of a row", f"--length-column {_shell(name)}", "step"
            )
    return table


def _filled_cells(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how many cells of each row there are up to the last that is filled, (R,)."""
    filled = ~np.isnan(values)
    ends: NDArray[np.int64] = np.where(filled.any(1), values.shape[1] - filled[:, ::-1].argmax(1), 0)
    return ends


def _check_long_lengths(table: Table) -> None:
    """Raise UsageError if a feature is the number of rows of its sequence in every row."""
    if table.id is None:
        return
    counts = np.bincount(table.id.codes)
    if len(np.unique(counts)) < 2 or len(table.columns.features) < 2:
        return
    for index, name in enumerate(table.columns.features):
        named = (*table.columns.categorical, *table.columns.static)
        # The first row is compared before all of them.
        if table.values[0, index] != counts[table.id.codes[0]] or name in named:
            continue
        if (table.values[:, index] == counts[table.id.codes]).all():
            raise length_question(table, name)


def length_question(table: Table, name: str) -> UsageError:
    """Return the error about a feature of a long table that is the length of its sequence in every row."""
    return _question(table, name, "is the number of steps of each sequence", "", "feature")


def _question(table: Table, name: str, what: str, use: str, unit: str) -> UsageError:
    """Return the error that asks what a column is; `use` is an option for what it may be."""
    others = ",".join(other for other in table.columns.features if other != name)
    options = [use] if use else []
    if len(others) <= 200:
        options.append(f"--feature-columns {_shell(others)} to leave it out")
    everything = ",".join(table.columns.features)
    if unit == "step":
        options.append("--step-columns '*' to read it as a step")
    elif len(everything) <= 200:
        options.append(f"--feature-columns {_shell(everything)} to read it as a feature")
    return UsageError(
        f"{table.path}: column {one_line(name)} {what}: give {', or '.join(options)}", code=AMBIGUOUS
    )


def _shell(text: Any) -> str:
    """Return a word of a command line."""
    plain = one_line(text, 400)
    return plain if re.fullmatch(r"[\w.,:@%+/-]+", plain) else repr(plain)
