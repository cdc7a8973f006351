"""Tables with a text in each row: .csv, .tsv, .txt with tabs, and .jsonl.

In text that is separated by tabs, quotes are characters like others: messages have unpaired ones.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from scanline.data.dataset import SPLITS
from scanline.data.memory import MemorySource
from scanline.data.readers.column_roles import AMBIGUOUS, usual_roles
from scanline.data.readers.split_names import SPLIT_NAMES
from scanline.data.readers.text_columns import is_text
from scanline.data.readers.text_sources import Texts, decoded, read_bytes, text_source
from scanline.errors import DataError, UsageError, join_names, one_line
from scanline.formats.gzip_text import open_bytes
from scanline.limits import limit_of
from scanline.recipe import DataSettings

_SAMPLE = 200  # rows that are looked at
_HEAD_BYTES = 2**18  # that have them
_LONG_WORDS = 0.5  # of the cells of a column of text, this fraction or more have several words
_MEAN_BLANKS = 1.0
_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
_ROLES = ("label", "id", "group", "split")
Row = tuple[str, Sequence[str]]  # the place of a row, and its cells


@dataclass(frozen=True)
class TextTable:
    """A table of texts: its columns, their roles, and its rows."""

    path: Path
    names: tuple[str, ...]
    text: str
    roles: dict[str, str]
    rows: Callable[[], Iterator[Row]]
    notes: tuple[str, ...]


def find_text_table(path: Path, settings: DataSettings, optional: Collection[str]) -> TextTable | None:
    """Return the table of texts in a file; None if it is not one without doubt.

    Args:
        path: The file.
        settings: How it is read; `text_column` says that it is one.
        optional: As for `column_roles.assign`.

    Raises:
        DataError: If the file is not text; names the byte.
        UsageError: If the settings name a text column, and others are in doubt.
    """
    name = path.name.lower().removesuffix(".gz")
    known = bool(settings.text_column)
    if known and settings.label_columns:
        raise UsageError(
            f"{path}: label_columns are for tables of numbers; write the classes of a text into one column, "
            "with semicolons between them"
        )
    if not known and (not name.endswith(_SUFFIXES) or _reads_numbers(settings)):
        return None
    jsonl = name.endswith(".jsonl")
    if not jsonl and not known and not _may_be_text(path, settings, name, optional):
        return None
    if jsonl:
        return _found(path, _json_rows(path, settings), True, settings, optional)
    rows = _delimited_rows(_text(path, settings), settings, name, path)
    return None if rows is None else _found(path, rows, False, settings, optional)


def _may_be_text(path: Path, settings: DataSettings, name: str, optional: Collection[str]) -> bool:
    """Return whether the first lines are those of a table of texts: others are not read as a whole."""
    try:
        with open_bytes(path, settings.encoding) as stream:
            head = stream.read(_HEAD_BYTES)
        whole = len(head) < _HEAD_BYTES
        text = (head if whole else head[: head.rfind(b"\n") + 1]).decode("utf-8-sig")
        rows = _delimited_rows(text, settings, name, path)
        if rows is None:
            return False
        # The last row may be incomplete.
        kept = list(rows())
        kept = kept if whole else kept[:-1]
        return _found(path, lambda: iter(kept), False, settings, optional) is not None
    except (UnicodeDecodeError, DataError, UsageError):
        return False  # the reader of other tables reports it


def _found(
    path: Path,
    rows: Callable[[], Iterator[Row]],
    jsonl: bool,
    settings: DataSettings,
    optional: Collection[str],
) -> TextTable | None:
    """Return the table of texts that has these rows, or None; see `find_text_table`."""
    known = bool(settings.text_column)
    head = list(islice(rows(), _SAMPLE))
    if not head:
        return None
    cells = [row for _, row in head]
    width = len(cells[0])
    if any(len(row) != width for row in cells) and not known:
        return None
    headed = not jsonl and _has_header(cells, settings)
    names = tuple(map(str, range(width)))
    if jsonl or headed:
        names, cells = tuple(cells[0]), cells[1:]
    table = _with_roles(path, names, cells, settings, optional)
    if table is None:
        return None
    text, roles, notes = table
    if not (jsonl or headed):
        notes = ("no header line", *notes)
    return TextTable(path, names, text, roles, _after_header(rows) if jsonl or headed else rows, notes)


def read_text_table(table: TextTable, settings: DataSettings) -> MemorySource:
    """Read a table of texts. Raises DataError naming the row that is wrong."""
    width, read = len(table.names), Texts(str(table.path))
    places = {name: place for place, name in enumerate(table.names)}
    kept = {role: places[name] for role, name in table.roles.items() if name}
    columns: dict[str, list[str]] = {
        "label": read.labels, "id": read.ids, "group": read.groups, "split": read.splits
    }  # fmt: skip
    text = places[table.text]
    for place, cells in table.rows():
        if len(cells) != width:
            where = f"{table.path}: {place}"
            raise DataError(where=where, expected=f"{width} cells", found=len(cells))
        read.texts.append(cells[text])
        read.places.append(place)
        for role, column in kept.items():
            columns[role].append(
                _split(table, place, cells[column]) if role == "split" else cells[column].strip()
            )
    changes = {f"{role}_column": table.roles.get(role, "") for role in _ROLES}
    settled = settings.model_copy(update={**changes, "text_column": table.text})
    return text_source(read, settled, table.notes)


def _reads_numbers(settings: DataSettings) -> bool:
    """Return whether the settings say that a table holds numbers."""
    return bool(
        settings.shape
        or settings.feature_columns
        or settings.step_columns
        or settings.categorical_columns
        or settings.static_columns
        or settings.time_features
        or settings.time_column
        or settings.length_column
        or settings.id_column
        or settings.label_columns
        or settings.targets == "numbers"
    )


def _with_roles(
    path: Path,
    names: tuple[str, ...],
    cells: Sequence[Sequence[str]],
    settings: DataSettings,
    optional: Collection[str],
) -> tuple[str, dict[str, str], tuple[str, ...]] | None:
    """Return the text column, the column of each role, and notes; None if the table may be another."""
    columns = {name: [row[place] for row in cells if place < len(row)] for place, name in enumerate(names)}
    text = settings.text_column
    if text and text not in columns:
        if len(names) > 1 or names != ("0",):
            raise UsageError(f"{path}: unknown column {text!r}; expected one of {join_names(list(names))}")
        text = "0"  # a file of texts without labels
    chosen = {role: getattr(settings, f"{role}_column") for role in _ROLES}
    roles = {role: name for role, name in chosen.items() if name in columns and name != text}
    taken = {text, *roles.values()}
    for name, role in usual_roles([name for name in names if name not in taken]).items():
        if role in _ROLES and role not in roles:
            roles[role] = name
    rest = [name for name in names if name not in {text, *roles.values()}]
    if not text:
        likely = [name for name in rest if _is_text_column(columns[name])]
        if len(likely) != 1:
            return None
        text = likely[0]
        rest.remove(text)
    if "label" not in roles and len(rest) == 1 and _repeats(columns[rest[0]]):
        roles["label"] = rest.pop()
    if "label" not in roles and "label" not in optional:
        if not settings.text_column:
            return None
        raise UsageError(
            f"{path}: which column has the labels? Choose one with --label-column: "
            f"{join_names(rest or list(names))}",
            code=AMBIGUOUS,
        )
    if rest and not settings.text_column:
        return None
    notes = [
        f"text column {one_line(text)}",
        *(f"{role} column {one_line(name)}" for role, name in roles.items()),
    ]
    notes += [f"column {one_line(name)} left out" for name in rest]
    return text, roles, tuple(notes)


def _is_text_column(cells: Sequence[str]) -> bool:
    """Return whether the cells are texts of several words."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled or not sum(map(is_text, filled)) > 0.9 * len(filled):
        return False
    several = sum(" " in cell for cell in filled)
    return several >= _LONG_WORDS * len(filled) and sum(cell.count(" ") for cell in filled) >= (
        _MEAN_BLANKS * len(filled)
    )


def _repeats(cells: Sequence[str]) -> bool:
    return bool(cells) and 2 * len(set(cells)) <= len(cells)


def _has_header(cells: Sequence[Sequence[str]], settings: DataSettings) -> bool:
    """Return whether the first line is a header: no cell is a label or a text as below."""
    first, rest = cells[0], cells[1:]
    chosen = settings.text_column
    if chosen:
        if chosen in first:
            return True
        if chosen.isdecimal():
            return False
    for place, cell in enumerate(first):
        column = [row[place] for row in rest if place < len(row)]
        if _repeats(column) and cell in column:
            return False
        if " " in cell.strip() and _is_text_column(column) and len(cell) > 30:
            return False
    return bool(rest)


def _after_header(rows: Callable[[], Iterator[Row]]) -> Callable[[], Iterator[Row]]:
    return lambda: islice(rows(), 1, None)


def _text(path: Path, settings: DataSettings) -> str:
    return decoded(read_bytes(path), str(path), settings.encoding)


def _delimited_rows(
    text: str, settings: DataSettings, name: str, path: Path
) -> Callable[[], Iterator[Row]] | None:
    """Return what yields the rows of a table with tabs, or with commas; None for another one."""
    tabs = settings.separator == "tab" or (not settings.separator and "\t" in text.partition("\n")[0])
    if not tabs and name.endswith((".tsv", ".txt")) and not settings.text_column:
        return None
    if tabs or name.endswith((".tsv", ".txt")):
        return lambda: _lines(text)
    mark = settings.separator or ("," if "," in text.partition("\n")[0] or "\n" not in text else ";")
    return (lambda: _csv(text, mark, path)) if len(mark) == 1 else None


def _lines(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", line.removesuffix("\r").split("\t")


def _csv(text: str, mark: str, path: Path) -> Iterator[Row]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=mark)
    line, limit = 1, csv.field_size_limit(limit_of("LINE_BYTES"))
    try:
        for cells in reader:
            if cells:
                yield f"line {line}", cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: line {line}: cannot be read as CSV ({error})") from error
    finally:
        csv.field_size_limit(limit)


def _json_rows(path: Path, settings: DataSettings) -> Callable[[], Iterator[Row]]:
    """Return what yields the names of the fields, and then the rows of a file with an object in each line."""
    text = _text(path, settings)

    def rows() -> Iterator[Row]:
        names: tuple[str, ...] = ()
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            tree = _object(line, f"{path}: line {number}")
            if not names:
                names = tuple(tree)
                yield f"line {number}", names
            if missing := [name for name in names if name not in tree]:
                found = f"no {missing[0]!r}"
                raise DataError(
                    where=f"{path}: line {number}", expected=f"the fields {join_names(names)}", found=found
                )
            yield f"line {number}", [_cell(tree[name], name, f"{path}: line {number}") for name in names]

    return rows


def _object(line: str, where: str) -> dict[str, object]:
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({one_line(str(error), 80)})") from None
    if not isinstance(tree, dict):
        raise DataError(where=where, expected="a JSON object", found=type(tree).__name__)
    return tree


def _cell(value: object, name: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise DataError(
        where=f"{where}, field {one_line(name)}", expected="text or a number", found=type(value).__name__
    )


def _split(table: TextTable, place: str, cell: str) -> str:
    name = cell.strip().lower()
    name = SPLIT_NAMES.get(name, name)
    if name not in SPLITS:
        where = f"{table.path}: {place}, column {table.roles['split']}"
        raise DataError(where=where, expected="train, validation or test", found=repr(one_line(cell, 40)))
    return name
