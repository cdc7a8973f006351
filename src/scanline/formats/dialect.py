"""The dialect of a CSV file: what separates its cells, and which mark its decimals have.

Both are inferred from the first rows. Of several separators that occur there, the one that gives rows of
equal length with the most numbers is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from scanline.errors import FormatError
from scanline.formats.text import has_decimal_comma, is_number, may_be_thousands

BLANKS = " "  # runs of blanks, read as tabs
SAMPLE_ROWS = 20
_SAMPLE_CHARACTERS = 2**17
_MARKS = (",", ";", "\t", "|")


def separator_of(path: Path, lines: Sequence[str]) -> str:
    """Return the separator of the cells in the first lines of a file.

    Args:
        path: The file: `.tsv` has tabs, and only `.txt` may have blanks.
        lines: The first lines that are not empty; the last one may be incomplete.
    """
    name = path.name.lower()
    if ".tsv" in name:
        return "\t"
    marks = [mark for mark in _MARKS if mark in lines[0]]
    if name.endswith((".txt", ".txt.gz")) and '"' not in "".join(lines):
        marks += [BLANKS] if " " in lines[0].strip() else []
    if len(marks) < 2:
        return marks[0] if marks else ","
    sample = cut(lines)
    # `max` returns the first of equal ones, so that a comma has priority.
    return max(marks, key=lambda mark: _score(sample, mark))


def given_separator(path: Path, lines: Sequence[str], name: str) -> str:
    """Return the separator that the user named.

    Args:
        path: The file.
        lines: Its first lines that are not empty.
        name: A punctuation mark, "tab" or "blanks".

    Raises:
        FormatError: If the first line has other separators, or quotes that hide blanks.
    """
    separator = {"tab": "\t", "blanks": BLANKS}.get(name, name)
    shown = name if len(name) > 1 else repr(name)
    others = [mark for mark in _MARKS if mark in lines[0]]
    absent = separator not in lines[0] and not (separator == BLANKS and "\t" in lines[0])
    if absent and others:
        raise FormatError(
            file=path,
            expected=f"cells separated by {shown}",
            found=f"a first line with {' and '.join(map(repr, others))} only",
            remedy="name the separator with --separator",
        )
    if separator == BLANKS and '"' in "".join(lines):
        raise FormatError(
            file=path,
            expected="cells without quotes, separated by blanks",
            found="quotes",
            remedy="separate the cells by tabs or commas",
        )
    return separator


def cut(lines: Sequence[str]) -> list[str]:
    """Return the beginnings of lines, short enough to make a list of their cells."""
    return [line[: _SAMPLE_CHARACTERS // len(lines)] for line in lines]


def _score(sample: Sequence[str], separator: str) -> tuple[bool, float]:
    """Return (whether all rows have the same number of cells, the fraction of numbers among them)."""
    rows = cells_of(sample, separator)
    cells = [cell for row in rows for cell in row]
    numbers = sum(is_number(cell) or (separator != "," and has_decimal_comma(cell)) for cell in cells)
    same = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return same, numbers / len(cells) if cells else 0.0


def cells_of(lines: Iterable[str], separator: str) -> list[list[str]]:
    """Return the cells of some lines; rows are left out from one that is not CSV."""
    rows = []
    if separator == BLANKS:
        lines, separator = (" ".join(line.split()) for line in lines), " "
    reader = csv.reader(lines, delimiter=separator)
    while True:
        try:
            if row := next(reader):
                rows.append(row)
        except (csv.Error, StopIteration):
            return rows


def decimal_of(cells: Iterable[str]) -> str:
    """Return the decimal mark of numbers: ".", "," or, if all may be thousands, such as 1,250, "".

    It is a point if numbers have either mark, so that the others are reported as faults.
    """
    commas, points = False, False
    only_thousands = True
    for cell in cells:
        if has_decimal_comma(cell):
            commas = True
            only_thousands = only_thousands and may_be_thousands(cell)
        elif "." in cell and is_number(cell):
            points = True
    if points or not commas:
        return "."
    return "" if only_thousands else ","
