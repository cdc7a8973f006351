"""CSV files as Arrow tables: separator and header found out, and the line of what is wrong.

PyArrow parses. Where it stops, the file is read once more on one thread, for then it counts its rows.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from scanline.errors import DataError

if TYPE_CHECKING:
    import pyarrow

_BLOCK_BYTES = 2**22
_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Delimited:
    """What the first lines of a CSV file say. names: of its columns. skip: lines before the first row."""

    path: Path
    names: tuple[str, ...]
    separator: str
    skip: int
    notes: tuple[str, ...] = ()

    def line(self, row: int) -> int:
        """The line of the row `row`, counted from 0: empty lines are no rows."""
        with _open(self.path) as file:
            lines = itertools.islice(enumerate(file, 1), self.skip, None)
            filled = (number for number, line in lines if line.strip())
            return next(itertools.islice(filled, row, None))

    def read(self, types: dict[str, Any]) -> pyarrow.Table:
        """The columns in `types`, each as its Arrow type.

        Raises DataError naming the line that has more or fewer cells, or a cell that is of another type.
        """
        import pyarrow

        try:
            return self._read(types, threads=True)
        except pyarrow.ArrowInvalid as error:
            self._explain(types, str(error))

    def infer(self, name: str) -> Any:
        """The Arrow type that the first block of the column `name` looks like."""
        import pyarrow
        from pyarrow import csv as arrow

        try:
            options = arrow.ConvertOptions(include_columns=[name])
            with arrow.open_csv(self.path, convert_options=options, **self._options(threads=False)) as reader:
                return reader.schema.field(name).type
        except pyarrow.ArrowInvalid as error:
            self._explain({name: pyarrow.string()}, str(error))

    def _options(self, threads: bool) -> dict[str, Any]:
        from pyarrow import csv as arrow

        return {
            "read_options": arrow.ReadOptions(
                column_names=list(self.names),
                skip_rows=self.skip,
                block_size=_BLOCK_BYTES,
                use_threads=threads,
            ),
            "parse_options": arrow.ParseOptions(delimiter=self.separator),
        }

    def _read(self, types: dict[str, Any], threads: bool) -> pyarrow.Table:
        from pyarrow import csv as arrow

        options = arrow.ConvertOptions(column_types=types, include_columns=list(types))
        return arrow.read_csv(self.path, convert_options=options, **self._options(threads))

    def _explain(self, types: dict[str, Any], message: str) -> NoReturn:
        """Raises the DataError that says in our words what Arrow stumbled over."""
        import pyarrow

        try:
            self._read(types, threads=False)
        except pyarrow.ArrowInvalid as error:
            message = str(error)
        place = re.search(r"Row #(\d+)", message)
        where = f"line {self.line(int(place[1]) - self.skip - 1)}" if place else "a row"
        cells = re.search(r"Expected (\d+) columns, got (\d+)", message)
        if cells:
            raise DataError(f"{self.path}: {where}: expected {cells[1]} cells, found {cells[2]}")
        value = re.search(r"column #(\d+).*invalid value '(.*)'", message, re.DOTALL)
        if value:
            name, found = self.names[int(value[1])], " ".join(value[2].split())[:40]
            kind = "a date, or a number" if "timestamp" in message else "a number"
            raise DataError(f"{self.path}: {where}, column {name}: expected {kind}, found {found!r}")
        if "UTF8" in message:
            raise DataError(f"{self.path}: {where}: expected text in UTF-8, found other bytes")
        raise DataError(f"{self.path}: cannot be read as CSV ({' '.join(message.split())[:200]})")


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else open(path, "rb")


def open_delimited(path: Path) -> Delimited:
    """Find out how the CSV file `path` is written. Raises DataError if it is empty or no text."""
    try:
        with _open(path) as file:
            text, skip = _first_line(file)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: the gzip stream is damaged ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected CSV text in UTF-8, found other bytes") from error
    if "\0" in text:
        raise DataError(f"{path}: expected CSV text, found bytes that are none")
    if not text:
        raise DataError(f"{path}: expected a table, found an empty file")
    separator = _separator(path, text)
    names = tuple(name.strip() for name in next(csv.reader([text], delimiter=separator)))
    usual = "\t" if ".tsv" in path.name.lower() else ","
    notes = [] if separator == usual else [f"cells separated by {separator!r}"]
    if all(map(_is_number, names)):  # nobody calls all columns by numbers, least of all by fractions
        notes.append(f"no header line: columns are called 0 to {len(names) - 1}")
        return Delimited(path, tuple(map(str, range(len(names)))), separator, skip - 1, tuple(notes))
    return Delimited(path, names, separator, skip, tuple(notes))


def _first_line(file: IO[bytes]) -> tuple[str, int]:
    """The first line that is not empty, and its number."""
    for number in itertools.count(1):
        line = file.readline(_HEAD_BYTES)
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
        if text.strip() or not line:
            return text, number
    raise AssertionError


def _separator(path: Path, line: str) -> str:
    if ".tsv" in path.name.lower():
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark in line), ",")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
