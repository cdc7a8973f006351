"""CSV files as Arrow record batches: separator and header found out, and the line of what is wrong.

PyArrow parses. Where it stops, the file is read once more on one thread, for then it counts its rows.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from scanline.data.found import is_number, shown
from scanline.errors import DataError

if TYPE_CHECKING:
    import pyarrow

_BLOCK_BYTES = 2**22  # what PyArrow reads at once; a row has to fit in
_GZIP = b"\x1f\x8b"
_KINDS = {
    "double": "a number",
    "time64[ns]": "a time of day",
    "timestamp[ns]": "a date",
    "timestamp[ns, tz=UTC]": "a date with its time zone",
}


@dataclass(frozen=True)
class Delimited:
    """What the first lines of a CSV file say.

    names: of its columns. separator: of its cells. skip: lines before the first row. first: the cells of that
    row. notes: what was guessed.
    """

    path: Path
    names: tuple[str, ...]
    separator: str
    skip: int
    first: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def line(self, row: int) -> int:
        """The line where the row `row`, counted from 0, begins. Empty lines are no rows."""
        begin = 0
        with _open(self.path) as text:
            rows = csv.reader(itertools.islice(text, self.skip, None), delimiter=self.separator)
            try:
                for _ in range(row + 1):
                    begin = rows.line_num
                    while not next(rows):
                        begin = rows.line_num
            except (csv.Error, StopIteration):  # a cell longer than Python takes: it is of this row
                pass
        return self.skip + begin + 1

    def time_type(self, name: str) -> Any:
        """The Arrow type of the times in the column `name`, as the first of them is written.

        Raises DataError if that is no time.
        """
        import pyarrow
        from pyarrow import csv as arrow

        cell = dict(zip(self.names, self.first, strict=False)).get(name, "")
        quoted = '"' + cell.replace('"', '""') + '"\n'
        reading = arrow.ReadOptions(column_names=[name], use_threads=False)
        for kind in (
            pyarrow.float64(),
            pyarrow.time64("ns"),
            pyarrow.timestamp("ns"),
            pyarrow.timestamp("ns", "UTC"),
        ):
            try:
                arrow.read_csv(
                    io.BytesIO(quoted.encode(errors="surrogateescape")),
                    read_options=reading,
                    convert_options=arrow.ConvertOptions(column_types={name: kind}),
                )
            except pyarrow.ArrowInvalid:
                continue
            return kind
        raise DataError(
            f"{self.path}: line {self.line(0)}, column {shown(name)}: expected a number, a time of day or a "
            f"date as 2026-01-31 12:00:00, found {cell[:60]!r}"
        )

    def batches(self, types: dict[str, Any]) -> Iterator[pyarrow.RecordBatch]:
        """The columns in `types`, each as its Arrow type.

        Raises DataError naming the line that has more or fewer cells, or a cell that is of another type.
        """
        import pyarrow

        try:
            yield from self._read(types, threads=True)
        except pyarrow.ArrowInvalid as error:
            self._explain(types, str(error))

    def _read(self, types: dict[str, Any], threads: bool) -> Iterator[pyarrow.RecordBatch]:
        import pyarrow
        from pyarrow import csv as arrow

        with (
            pyarrow.input_stream(str(self.path), "gzip" if _is_gzip(self.path) else None) as stream,
            arrow.open_csv(
                stream,
                arrow.ReadOptions(
                    column_names=list(self.names),
                    skip_rows=self.skip,
                    block_size=_BLOCK_BYTES,
                    use_threads=threads,
                ),
                arrow.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                arrow.ConvertOptions(column_types=types, include_columns=list(types)),
            ) as reader,
        ):
            yield from reader

    def _explain(self, types: dict[str, Any], message: str) -> NoReturn:
        """Raises the DataError that says in our words what Arrow stumbled over."""
        import pyarrow

        try:
            for _ in self._read(types, threads=False):
                pass
        except pyarrow.ArrowInvalid as error:
            message = str(error)
        told = re.match(r"(?:In CSV column #(\d+)|CSV parse error): Row #(\d+): (.*)", message, re.DOTALL)
        if told is None:
            what = f"cannot be read as CSV ({shown(message, 200)})"
            if "straddling" in message:
                what = f"a row has more than {_BLOCK_BYTES:,} bytes; is there a quote that is never closed?"
            raise DataError(f"{self.path}: {what}")
        column, row, message = told.groups()
        where = f"line {self.line(int(row) - self.skip - 1)}"
        if column:
            where += f", column {shown(self.names[int(column)])}"
        cells = re.match(r"Expected (\d+) columns, got (\d+)", message)
        cell = re.match(r"CSV conversion error to ([^:]+): [^']*'(.*)'", message, re.DOTALL)
        if cells:
            what = f"expected {cells[1]} cells, found {cells[2]}"
        elif cell:
            what = f"expected {_KINDS.get(cell[1], cell[1])}, found {cell[2][:60]!r}"
        elif "UTF8" in message:
            what = "expected text in UTF-8, found other bytes"
        else:
            what = shown(message, 200)
        raise DataError(f"{self.path}: {where}: {what}")


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """The text of `path`, unpacked if it is a gzip stream. Bytes that are no UTF-8 become surrogates.

    Raises DataError if the gzip stream is damaged.
    """
    try:
        with gzip.open(path) if _is_gzip(path) else open(path, "rb") as file:
            yield io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip stream is damaged ({error})") from error


def open_delimited(path: Path) -> Delimited:
    """Find out how the CSV file `path` is written. Raises DataError if it has no rows, or is no text."""
    with _open(path) as text:
        lines = iter(lambda: text.readline(_BLOCK_BYTES), "")
        for blank, head in enumerate(lines):  # noqa: B007
            if head.strip():
                break
        else:
            raise DataError(f"{path}: expected a table, found an empty file")
        if re.search("[\0\udc80-\udcff]", head):
            raise DataError(f"{path}: line {blank + 1}: expected CSV text in UTF-8, found other bytes")
        separator = _separator(path, head)
        rows = csv.reader(itertools.chain([head], lines), delimiter=separator)
        try:
            names = tuple(name.strip() for name in next(rows))
            skip = blank + rows.line_num
            first = next(filter(None, rows), [])
        except csv.Error as error:
            raise DataError(f"{path}: line {blank + 1}: cannot be read as CSV ({error})") from error
    usual = "\t" if ".tsv" in path.name.lower() else ","
    notes = [] if separator == usual else [f"cells separated by {separator!r}"]
    numbered = tuple(map(str, range(len(names))))
    if all(map(is_number, names)) and names != numbered:  # nobody calls columns so, least of all by fractions
        notes.append(f"no header line: columns are called 0 to {len(names) - 1}")
        return Delimited(path, numbered, separator, blank, names, tuple(notes))
    if names == numbered:  # but pandas does
        notes.append(f"the first line for a header, columns 0 to {len(names) - 1}")
    if not first:
        raise DataError(f"{path}: expected rows after the header, found none")
    return Delimited(path, names, separator, skip, tuple(first), tuple(notes))


def _separator(path: Path, line: str) -> str:
    if ".tsv" in path.name.lower():
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark in line), ",")
