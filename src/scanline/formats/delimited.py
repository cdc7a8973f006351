"""CSV files as Arrow record batches, with separator and header detected.

PyArrow parses pieces of the file on all cores. If it fails, the file is parsed again on one thread, because
only then does PyArrow report the row, from which the line for the message is found.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scanline.errors import FormatError, one_line
from scanline.formats import dialect
from scanline.formats.csv_pieces import RowBoundaryError, RowTooLongError, has_quote, split_rows
from scanline.formats.gzip_text import ENCODING_REMEDY, is_gzip, open_bytes, open_text
from scanline.formats.text import has_decimal_comma, is_integer_text, is_number
from scanline.formats.times import REMEDY as TIME_REMEDY
from scanline.limits import excess, limit_of

if TYPE_CHECKING:
    import pyarrow

_BLOCK_BYTES = 2**22  # what one thread of PyArrow parses at once; a row has to fit into it
_PIECE_BYTES = 2**25  # what is parsed on all cores at once
_HEAD_BYTES = 2**20
_HEAD_LINES = 10_000  # the header and the first row must be among these
_MAX_ROLES = 16  # columns that are not features
_TOO_LONG = f"a row has more than {_BLOCK_BYTES:,} bytes; is there a quote that is never closed?"
_TYPES = {
    "double": "a number",
    "int64": "a number",
    "time64[ns]": "a time of day",
    "timestamp[ns]": "a date",
    "timestamp[ns, tz=UTC]": "a date with its time zone",
}
_ROW_MESSAGE = re.compile(r"(?:In CSV column #(\d+)|CSV parse error): Row #(\d+): (.*)", re.DOTALL)
_CELLS_MESSAGE = re.compile(r"Expected (\d+) columns, got (\d+)")
_CELL_MESSAGE = re.compile(r"CSV conversion error to ([^:]+): [^']*'(.*)'", re.DOTALL)


@dataclass(frozen=True)
class Delimited:
    """The layout of a CSV file, detected from its first lines.

    Attributes:
        path: The file.
        names: Names of its columns.
        separator: Separator of its cells.
        skip: Number of lines before the first row.
        first: Cells of the first row.
        notes: What was guessed, for the user.
        encoding: Encoding of the text, see `open_bytes`.
        sample: Cells of the first rows, incomplete if these are long.
        decimal: The mark before decimals, "." or ",".
        before: Number of lines before the first line that is not empty.
        headed: Whether the names are those of a header line; otherwise they are 0, 1, 2, ....
    """

    path: Path
    names: tuple[str, ...]
    separator: str
    skip: int
    first: tuple[str, ...]
    notes: tuple[str, ...] = ()
    encoding: str = ""
    sample: tuple[tuple[str, ...], ...] = ()
    decimal: str = "."
    before: int = 0
    headed: bool = True

    def without_header(self) -> Delimited:
        """Return the same file with its first line read as a row."""
        names = tuple(map(str, range(len(self.names))))
        note = f"no header line: columns are called 0 to {len(names) - 1}"
        return replace(
            self,
            names=names,
            skip=self.before,
            first=self.names,
            notes=(*self.notes, note),
            sample=(self.names, *self.sample),
            headed=False,
        )

    def sampled(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the cells of some columns in the first rows."""
        places = {name: place for place, name in enumerate(self.names)}
        for place in (places[name] for name in names):
            yield from (row[place] for row in self.sample if place < len(row))

    def estimate_rows(self) -> int:
        """Return an estimate of the number of rows, from the first of them; 0 if none can be made."""
        if is_gzip(self.path):
            return 0
        with open(self.path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        rows = head.count(b"\n")
        size = self.path.stat().st_size
        # This bound protects the allocation of the caller from a file whose first rows are not typical.
        max_rows = size // len(self.names) + 1  # a cell takes at least the separator after it
        return min(int(1.05 * rows * size / len(head)), max_rows) if rows else 0

    def line(self, row: int) -> int:
        """Return the line in which the row `row`, counted from 0, begins. Empty lines are not rows."""
        begin = 0
        with self._open_text() as text:
            # No row before it is longer than that, and of the row itself only the begin is needed.
            lines = (line[:_BLOCK_BYTES] for line in itertools.islice(text, self.skip, None))
            rows = csv.reader(lines, delimiter=self._delimiter)
            try:
                for _ in range(row + 1):
                    begin = rows.line_num
                    while not next(rows):
                        begin = rows.line_num
            except (csv.Error, StopIteration):  # a cell is longer than the csv module accepts: it is this row
                pass
        return self.skip + begin + 1

    def time_type(self, name: str) -> Any:
        """Return the Arrow type of the times in a column, decided by its first cell.

        Raises:
            FormatError: If that cell is not a number, a time of day or a date.
        """
        import pyarrow
        from pyarrow import csv as arrow

        cell = dict(zip(self.names, self.first, strict=False)).get(name, "")
        quoted = '"' + cell.replace('"', '""') + '"\n'
        reading = arrow.ReadOptions(column_names=[name], use_threads=False)
        integers = all(map(is_integer_text, self.sampled([name])))
        for kind in (
            # Integers are exact as such: a float64 has 53 bits, and nanoseconds since 1970 have 61.
            *([pyarrow.int64()] if integers else []),
            pyarrow.float64(),
            pyarrow.time64("ns"),
            pyarrow.timestamp("ns"),
            pyarrow.timestamp("ns", "UTC"),
        ):
            try:
                arrow.read_csv(
                    io.BytesIO(quoted.encode(errors="surrogateescape")),
                    read_options=reading,
                    convert_options=arrow.ConvertOptions(
                        column_types={name: kind}, decimal_point=self.decimal
                    ),
                )
            except pyarrow.ArrowInvalid:
                continue
            return kind
        raise FormatError(
            file=self.path,
            place=f"line {self.line(0)}, column {one_line(name)}",
            expected="a number, a time of day or a date as 2026-01-31 12:00:00",
            found=f"{cell[:60]!r}",
            remedy=TIME_REMEDY,
        )

    def batches(self, types: dict[str, Any], in_pieces: bool = True) -> Iterator[pyarrow.RecordBatch]:
        """Yield the columns in `types` as record batches.

        Args:
            types: Arrow types by column name.
            in_pieces: Whether to parse on all cores, which requires that quotes tell where rows end.

        Raises:
            FormatError: If a line has more or fewer cells than the header, or a cell has another type.
            RowBoundaryError: If quotes do not tell where rows end; then call this again with
                `in_pieces=False`.
        """
        import pyarrow

        if not in_pieces:
            try:
                yield from self._in_one_piece(types)
            except pyarrow.ArrowInvalid as error:
                self._explain(str(error))
            return
        try:
            # One thread drives the parser (which uses all cores) while the caller uses the piece before.
            with ThreadPoolExecutor(1) as pool, self._stream() as stream:
                # At most two pieces are alive, one being parsed and one being consumed: split_rows has two
                # buffers.
                waiting: Future[pyarrow.Table] | None = None
                for piece in split_rows(stream, self.skip, self._piece_bytes(), _BLOCK_BYTES):
                    coming = pool.submit(self._parse, piece, types)
                    if waiting is None:
                        coming.result()  # a file that is not CSV fails before more of it is read
                    else:
                        yield from waiting.result().to_batches()
                    waiting = coming
                if waiting is not None:
                    yield from waiting.result().to_batches()
        except RowTooLongError:
            raise FormatError(_TOO_LONG, file=self.path) from None
        except pyarrow.ArrowInvalid as error:
            # PyArrow counts rows only in a single-threaded parse, so the error is reproduced to locate it.
            for _ in self.batches(types, in_pieces=False):  # raises the error with its row
                pass
            raise RowBoundaryError from error

    def _piece_bytes(self) -> int:
        if is_gzip(self.path):
            return _BLOCK_BYTES * 2
        return min(_PIECE_BYTES, self.path.stat().st_size + 1)

    @property
    def _delimiter(self) -> str:
        return "\t" if self.separator == dialect.BLANKS else self.separator

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        """Open the bytes of the file as UTF-8, decompressed if it is a gzip stream."""
        with open_bytes(self.path, self.encoding, self.separator == dialect.BLANKS) as stream:
            yield stream

    @contextmanager
    def _open_text(self) -> Iterator[Any]:
        with open_text(self.path, self.encoding, self.separator == dialect.BLANKS) as text:
            yield text

    def _converting(self, types: dict[str, Any]) -> Any:
        from pyarrow import csv as arrow

        return arrow.ConvertOptions(
            column_types=types, include_columns=list(types), decimal_point=self.decimal
        )

    def _parse(self, piece: memoryview, types: dict[str, Any]) -> pyarrow.Table:
        import pyarrow
        from pyarrow import csv as arrow

        return arrow.read_csv(
            pyarrow.BufferReader(pyarrow.py_buffer(piece)),
            arrow.ReadOptions(column_names=list(self.names), block_size=_BLOCK_BYTES),
            arrow.ParseOptions(delimiter=self._delimiter, newlines_in_values=has_quote(piece)),
            self._converting(types),
        )

    def _in_one_piece(self, types: dict[str, Any]) -> Iterator[pyarrow.RecordBatch]:
        """Parse on one thread, which reports the row of an error."""
        from pyarrow import csv as arrow

        reading = arrow.ReadOptions(
            column_names=list(self.names), skip_rows=self.skip, block_size=_BLOCK_BYTES, use_threads=False
        )
        parsing = arrow.ParseOptions(delimiter=self._delimiter, newlines_in_values=True)
        with (
            self._stream() as stream,
            arrow.open_csv(stream, reading, parsing, self._converting(types)) as reader,
        ):
            yield from reader

    def _explain(self, message: str) -> NoReturn:
        """Raise the FormatError for a message of PyArrow."""
        match = _ROW_MESSAGE.match(message)
        if match is None:
            reason = _TOO_LONG if "straddling" in message else f"cannot be read ({one_line(message, 200)})"
            raise FormatError(reason, file=self.path)
        column, row, message = match.groups()
        place = f"line {self.line(int(row) - self.skip - 1)}"
        if column:
            place += f", column {one_line(self.names[int(column)])}"
        cells, cell = _CELLS_MESSAGE.match(message), _CELL_MESSAGE.match(message)
        if cells:
            raise FormatError(file=self.path, place=place, expected=f"{cells[1]} cells", found=cells[2])
        if cell:
            expected, found = _TYPES.get(cell[1], cell[1]), f"{cell[2][:60]!r}"
            remedy = None
            if expected == "a number" and self.decimal == "." and has_decimal_comma(cell[2]):
                remedy = "if the comma separates decimals, give --decimal ,"
            elif expected == "a number" and self.decimal == "," and is_number(cell[2]):
                remedy = "if the point separates decimals, give --decimal ."
            raise FormatError(file=self.path, place=place, expected=expected, found=found, remedy=remedy)
        if "UTF8" in message:
            raise FormatError(
                file=self.path,
                place=place,
                expected="text in UTF-8",
                found="other bytes",
                remedy=ENCODING_REMEDY,
            )
        raise FormatError(one_line(message, 200), file=self.path, place=place)


class _BoundedLines:
    """Lines of text, as long as a row does not have too many cells to make a list of them.

    A quote that is open at the end of a line continues the row, so separators of all its lines count.

    Attributes:
        line: Line in which the row begins.
        separators: Number of separators in the row so far.
    """

    def __init__(self, path: Path, line: int, lines: Iterator[str], separator: str) -> None:
        self.line, self.separators = line, 0
        self._path, self._lines, self._separator = path, lines, separator

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = next(self._lines)
        self.separators += text.count(self._separator)
        if self.separators > 2 * limit_of("FEATURES"):
            raise FormatError(
                file=self._path, place=f"line {self.line}", **excess("FEATURES", self.separators)
            )
        return text


def open_delimited(path: Path, encoding: str = "", separator: str = "") -> Delimited:
    """Detect the layout of a CSV file.

    Args:
        path: The file.
        encoding: Encoding of the text, see `open_bytes`.
        separator: What separates the cells, see `DataSettings`; empty: it is inferred.

    Raises:
        FormatError: If the file has other separators or no rows, or is not text.
        OSError: If the file cannot be read.
    """
    sample = _first_lines(path, encoding)
    if separator:
        separator = dialect.given_separator(path, sample, separator)
    else:
        separator = dialect.separator_of(path, sample)
    blanks = separator == dialect.BLANKS
    delimiter = "\t" if blanks else separator
    with open_text(path, encoding, blanks) as text:
        lines = itertools.islice(iter(lambda: text.readline(_BLOCK_BYTES), ""), _HEAD_LINES)
        blank, head = next((at, line) for at, line in enumerate(lines) if line.strip())
        place = f"line {blank + 1}"
        source = _BoundedLines(path, blank + 1, itertools.chain([head], lines), delimiter)
        rows = csv.reader(source, delimiter=delimiter)
        try:
            names = tuple(name.strip() for name in next(rows))
            skip = blank + rows.line_num
            source.line, source.separators = skip + 1, 0
            if len(names) > limit_of("FEATURES") + _MAX_ROLES:
                raise FormatError(file=path, place=place, **excess("FEATURES", len(names)))
            first = next(filter(None, rows), [])
        except csv.Error as error:
            raise FormatError(f"cannot be read as CSV ({error})", file=path, place=place) from error
    usual = "\t" if ".tsv" in path.name.lower() else ","
    notes = (
        []
        if separator == usual
        else ["cells separated by blanks" if blanks else f"cells separated by {separator!r}"]
    )
    file = _with_header(path, names, separator, (blank, skip), tuple(first), notes)
    cells = dialect.cells_of(dialect.cut(sample), separator)
    seen = cells[1:] if file.headed else cells
    return replace(file, encoding=encoding, sample=tuple(map(tuple, seen)), before=blank)


def _first_lines(path: Path, encoding: str) -> list[str]:
    """Return the first lines of a file that are not empty.

    Raises:
        FormatError: If all are empty, or there is no text.
    """
    found: list[str] = []
    with open_text(path, encoding) as text:
        lines = itertools.islice(iter(lambda: text.readline(_BLOCK_BYTES), ""), _HEAD_LINES)
        for blank, head in enumerate(lines):  # noqa: B007
            if head.strip():
                break
        else:
            what = "an empty file" if not text.read(1) else f"{_HEAD_LINES:,} empty lines"
            raise FormatError(file=path, expected="a table", found=what)
        if re.search("[\0\udc80-\udcff]", head):
            raise FormatError(
                file=path,
                place=f"line {blank + 1}",
                expected="CSV text in UTF-8",
                found="other bytes",
                remedy=ENCODING_REMEDY,
            )
        found.append(head)
        read = len(head)
        for line in itertools.islice(lines, dialect.SAMPLE_ROWS):
            read += len(line)
            if read > _HEAD_BYTES and len(found) > 1:
                break
            found += [line] if line.strip() else []
    return found


def _with_header(
    path: Path,
    names: tuple[str, ...],
    separator: str,
    skip: tuple[int, int],
    first: tuple[str, ...],
    notes: list[str],
) -> Delimited:
    """Decide whether the first line is a header.

    Args:
        path: The file.
        names: Cells of the first line that is not empty.
        separator: Separator of the cells.
        skip: Number of lines before that line, and before the row after it.
        first: Cells of the row after it.
        notes: What was guessed so far.
    """
    numbered = tuple(map(str, range(len(names))))
    counted = tuple(map(str, range(1, len(names) + 1)))
    # Numbers are not column names, except 0, 1, 2, ..., which pandas writes, and 1, 2, 3, ....
    is_counted = names == numbered or (names == counted and len(names) > 1)
    if all(is_number(name) or has_decimal_comma(name) for name in names) and not is_counted:
        notes.append(f"no header line: columns are called 0 to {len(names) - 1}")
        return Delimited(path, numbered, separator, skip[0], names, tuple(notes), headed=False)
    if is_counted:
        notes.append(f"the first line is the header, columns {names[0]} to {names[-1]}")
    if not first:
        raise FormatError(file=path, expected="rows after the header", found="none")
    file = Delimited(path, names, separator, skip[1], first, tuple(notes))
    if len(first) != len(names):  # before PyArrow allocates memory for that many columns
        raise FormatError(
            file=path, place=f"line {file.line(0)}", expected=f"{len(names)} cells", found=len(first)
        )
    return file
