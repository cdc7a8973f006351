"""The order of the rows of a long table: sequence by sequence, each by time."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from scanline.data.readers.names import Names
from scanline.data.readers.tables import Table
from scanline.errors import UsageError, one_line


def order_rows(table: Table, ids: Names) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the order in which sequences are contiguous and sorted by time, and notes for the user.

    Args:
        table: The table.
        ids: Its column of sequences.

    Returns:
        The rows in this order, or None if they are in it; and what was done.

    Raises:
        DataError: If two rows of a sequence have the same time.
        UsageError: If times of day may belong to one day or to several.
    """
    codes, time = ids.codes, table.time
    order = None
    notes: tuple[str, ...] = ()
    # Sequences are contiguous exactly if the code changes one time less than there are sequences.
    if np.count_nonzero(codes[1:] != codes[:-1]) != len(ids.texts) - 1:
        order = np.argsort(codes, kind="stable")
    if time is None:
        return order, ()
    if order is not None:
        codes, time = codes[order], time[order]
    same = codes[1:] == codes[:-1]
    if table.day:
        time, notes = _over_midnight(table, ids, codes, time)
    back = same & (time[1:] < time[:-1])  # compared, as a difference of unsigned numbers would wrap around
    if back.any():
        late = len(np.unique(codes[1:][back]))
        notes += (f"{table.path}: {late:,} of {len(ids.texts):,} sequences were not sorted by time: sorted",)
        again = np.lexsort((time, codes))
        order = again if order is None else order[again]
        codes, time = codes[again], time[again]  # `same` still holds: each sequence keeps its rows
    twice = np.flatnonzero(same & (time[1:] == time[:-1]))
    if twice.size:
        rows = (int(twice[0]), int(twice[0]) + 1)
        one, other = rows if order is None else (int(order[row]) for row in rows)
        more = f" ({twice.size:,} such pairs)" if twice.size > 1 else ""
        table.fail(
            other,
            f"expected one row of sequence {one_line(ids.texts[codes[rows[0]]])} at each time, found another "
            f"of the same {one_line(table.columns.time)} in {table.place(one)}{more}",
        )
    return order, notes


def _over_midnight(
    table: Table, ids: Names, codes: NDArray[np.int32], time: NDArray[np.int64]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return times of day counted on from the first day of each sequence, and notes for the user.

    Times that go back are over midnight if the steps across it are like the others. They are unsorted if all
    lie within half a day. Everything else is in doubt.

    Raises:
        UsageError: If it is in doubt whether a sequence goes over midnight.
    """
    day = table.day
    time = time.astype(np.int64)
    gaps = np.diff(time)
    same = codes[1:] == codes[:-1]
    usual = float(np.median(gaps[same & (gaps > 0)])) if (same & (gaps > 0)).any() else 0.0
    late = np.unique(codes[1:][same & (gaps < 0)])
    # Each sequence is contiguous here: it begins and ends where the code changes.
    borders = np.concatenate([[0], np.flatnonzero(~same) + 1, [len(codes)]])
    place_of = {int(codes[start]): (int(start), int(end)) for start, end in itertools.pairwise(borders)}
    crossed = 0
    for code in late:
        start, end = place_of[int(code)]
        own = time[start:end]
        if int(own.max()) - int(own.min()) < day // 2:
            continue
        steps = np.diff(own)
        forward, back = steps[steps >= 0], steps[steps < 0] + day
        longest = max(3 * float(np.median(forward)) if forward.size else 0.0, usual)
        plain = len(back) <= max(1, len(own) // 4) and (forward < day // 2).all()
        if not plain or (back > longest).any():
            row = start + int(np.flatnonzero(steps < 0)[0]) + 1
            raise UsageError(
                f"{table.path}: sequence {one_line(ids.texts[code])}: the time of day goes back in its row "
                f"{row - start + 1}: is that the next day, or are the rows not sorted? Sort the rows of each "
                f"sequence and give dates in column {one_line(table.columns.time)}, or remove this column to "
                "keep the order of the file"
            )
        time[start + 1 : end] += day * np.cumsum(steps < 0)
        crossed += 1
    if not crossed:
        return time, ()
    note = f"{crossed:,} of {len(ids.texts):,} sequences go over midnight: their rows kept in order"
    return time, (f"{table.path}: {note}",)
