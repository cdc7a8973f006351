"""CSV files as Arrow record batches: separator and header found out, and the line of what is wrong.

PyArrow parses, pieces of the file on all cores. Where it stops, the file is read once more on one thread, for
then it counts its rows.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO

from scanline.data.found import is_number, shown
from scanline.errors import DataError
from scanline.limits import exceeded, exceeded_unpacked, limit_of, unpacked_limit

if TYPE_CHECKING:
    import pyarrow

_BLOCK_BYTES = 2**22  # what one thread of PyArrow reads at once; a row has to fit in
_HEAD_BYTES = 2**20
_HEAD_LINES = 10_000  # in which the names and the first row stand
_MOST_ROLES = 16  # columns that are no features
_PIECE_BYTES = 2**25  # what is parsed on all cores at once
_TOO_LONG = f"a row has more than {_BLOCK_BYTES:,} bytes; is there a quote that is never closed?"
_GZIP = b"\x1f\x8b"
_KINDS = {
    "double": "a number",
    "time64[ns]": "a time of day",
    "timestamp[ns]": "a date",
    "timestamp[ns, tz=UTC]": "a date with its time zone",
}


class CutWrongly(Exception):
    """A file was cut into pieces where no row ends."""


class _TooLong(Exception):
    """A row does not end where PyArrow would still find its end."""


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

    def rows_about(self) -> int:
        """About how many rows there are, by the first of them; 0 if that cannot be told."""
        if _is_gzip(self.path):
            return 0
        with open(self.path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        rows = head.count(b"\n")
        size = self.path.stat().st_size
        most_rows = size // len(self.names) + 1  # a cell takes at least the mark that follows it
        return min(int(1.05 * rows * size / len(head)), most_rows) if rows else 0

    def line(self, row: int) -> int:
        """The line where the row `row`, counted from 0, begins. Empty lines are no rows."""
        begin = 0
        with _open(self.path) as text:
            # No row before it is as long as that; of the row itself nothing but its begin is needed.
            lines = (line[:_BLOCK_BYTES] for line in itertools.islice(text, self.skip, None))
            rows = csv.reader(lines, delimiter=self.separator)
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

    def batches(self, types: dict[str, Any], in_pieces: bool = True) -> Iterator[pyarrow.RecordBatch]:
        """The columns in `types`, each as its Arrow type.

        in_pieces: parse on all cores, which needs to know where rows end without parsing.
        Raises DataError naming the line that has more or fewer cells, or a cell that is of another type, and
        CutWrongly if that went wrong: then read again, not in pieces.
        """
        import pyarrow

        if not in_pieces:
            try:
                yield from self._in_turn(types)
            except pyarrow.ArrowInvalid as error:
                self._explain(str(error))
            return
        try:
            # One thread parses a piece, on all cores, while the caller works on the one before.
            with ThreadPoolExecutor(1) as pool, self._stream() as stream:
                waiting: Future[pyarrow.Table] | None = None
                for piece in _pieces(stream, self.skip, self._piece_bytes()):
                    coming = pool.submit(self._parse, piece, types)
                    if waiting is None:
                        coming.result()  # what is no CSV is found before more of it is read
                    else:
                        yield from waiting.result().to_batches()
                    waiting = coming
                if waiting is not None:
                    yield from waiting.result().to_batches()
        except _TooLong:
            raise DataError(f"{self.path}: {_TOO_LONG}") from None
        except pyarrow.ArrowInvalid as error:
            for _ in self.batches(types, in_pieces=False):  # raises what is wrong, with its row
                pass
            raise CutWrongly from error

    def _piece_bytes(self) -> int:
        if _is_gzip(self.path):
            return _BLOCK_BYTES * 2
        return min(_PIECE_BYTES, self.path.stat().st_size + 1)

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        """The bytes of the file, unpacked if it is a gzip stream."""
        import pyarrow

        if _is_gzip(self.path):
            with _gzip_faults(self.path), open(self.path, "rb") as file:
                yield Unpacked(file, self.path)
        else:
            with pyarrow.input_stream(str(self.path), None) as stream:
                yield stream

    def _parse(self, piece: memoryview, types: dict[str, Any]) -> pyarrow.Table:
        import pyarrow
        from pyarrow import csv as arrow

        return arrow.read_csv(
            pyarrow.BufferReader(pyarrow.py_buffer(piece)),
            arrow.ReadOptions(column_names=list(self.names), block_size=_BLOCK_BYTES),
            arrow.ParseOptions(delimiter=self.separator, newlines_in_values=_has_quote(piece)),
            arrow.ConvertOptions(column_types=types, include_columns=list(types)),
        )

    def _in_turn(self, types: dict[str, Any]) -> Iterator[pyarrow.RecordBatch]:
        """The same on one thread, which says in which row it stops."""
        from pyarrow import csv as arrow

        with (
            self._stream() as stream,
            arrow.open_csv(
                stream,
                arrow.ReadOptions(
                    column_names=list(self.names),
                    skip_rows=self.skip,
                    block_size=_BLOCK_BYTES,
                    use_threads=False,
                ),
                arrow.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                arrow.ConvertOptions(column_types=types, include_columns=list(types)),
            ) as reader,
        ):
            yield from reader

    def _explain(self, message: str) -> NoReturn:
        """Raises the DataError that says in our words what Arrow stumbled over."""
        told = re.match(r"(?:In CSV column #(\d+)|CSV parse error): Row #(\d+): (.*)", message, re.DOTALL)
        if told is None:
            what = f"cannot be read as CSV ({shown(message, 200)})"
            if "straddling" in message:
                what = _TOO_LONG
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


def _has_quote(piece: memoryview) -> bool:
    whole = piece.obj
    assert isinstance(whole, bytearray)
    return whole.find(b'"') >= 0  # also where it is left over from another piece: that costs time alone


def _pieces(stream: Any, skip: int, size: int) -> Iterator[memoryview]:
    """The file after its first `skip` lines, in pieces of at most `size` bytes that end where a row does.

    A piece lasts until the next but one is asked for: two buffers take turns, as fresh memory costs more time
    than reading into it.
    """
    own, other = bytearray(size), bytearray(size)
    most = min(size, _BLOCK_BYTES)  # the first piece is small: most of what is no CSV is found there
    filled = _fill(stream, own, 0, most)
    begin = 0
    for _ in range(skip):
        begin = _line_end(own, begin, filled)
    while begin < filled:
        more = filled == most
        end = _row_end(own, begin, filled) if more else filled
        yield memoryview(own)[begin:end]
        rest = filled - end
        other[:rest] = memoryview(own)[end:filled]  # the piece before lay there until now
        own, other, begin, most = other, own, 0, size
        filled = _fill(stream, own, rest, most) if more else 0


def _fill(stream: Any, buffer: bytearray, filled: int, most: int) -> int:
    """How far `buffer`, so far filled, can be filled from `stream`: to `most` unless the stream ends."""
    view = memoryview(buffer)[:most]
    while filled < most:
        read: int = stream.readinto(view[filled:])
        if not read:
            break
        filled += read
    return filled


def _row_end(text: bytearray, begin: int, filled: int) -> int:
    """Where the last whole row of `text[begin:filled]` ends, or `filled` if none does.

    Raises CutWrongly if the quotes do not tell.
    """
    mark = b"\n" if text.find(b"\n", begin, filled) >= 0 else b"\r"
    end = text.rfind(mark, begin, filled) + 1
    quotes = text.count(b'"', begin, end)
    while end and quotes % 2:  # in a quoted cell, which may have more than one line
        before = text.rfind(mark, begin, text.rfind(b'"', begin, end)) + 1
        if before < filled - _BLOCK_BYTES:  # no cell is as long as that: some quote means itself
            raise CutWrongly
        quotes, end = quotes - text.count(b'"', before, end), before
    if not end and filled - begin > 2 * _BLOCK_BYTES:
        raise _TooLong
    return end or filled


def _line_end(text: bytearray, begin: int, filled: int) -> int:
    """Where the line that begins there ends; lines end with LF, CR LF or CR."""
    found = re.compile(rb"\r\n|\n|\r").search(text, begin, filled)
    return found.end() if found else filled


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """The text of `path`, unpacked if it is a gzip stream. Bytes that are no UTF-8 become surrogates.

    Raises DataError if the gzip stream is damaged.
    """
    with _gzip_faults(path), open(path, "rb") as file:
        stream = io.BufferedReader(Unpacked(file, path)) if _is_gzip(path) else file
        yield io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")


@contextmanager
def _gzip_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip stream is damaged ({error})") from error


class Unpacked(io.RawIOBase):
    """What a gzip file unpacks to, as long as it is not more than so many bytes may become.

    It is compared with what was read of the file so far, so that a bomb is found where it begins.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__()
        self._file, self._path, self._done = file, path, 0
        self._stream = gzip.GzipFile(fileobj=file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._done += count
        if self._done > unpacked_limit(self._file.tell()):
            raise DataError(f"{self._path}: {exceeded_unpacked(self._file.tell(), self._done)}")
        return count


class _Bounded:
    """Text piece by piece, as long as a row has not too many cells to make a list of them.

    A quote that is open at the end of a piece may carry the row on, so all pieces count. line: where the row
    begins. marks: how many separators it has so far.
    """

    def __init__(self, path: Path, line: int, pieces: Iterator[str], separator: str) -> None:
        self.line, self.marks = line, 0
        self._path, self._pieces, self._separator = path, pieces, separator

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = next(self._pieces)
        self.marks += piece.count(self._separator)
        if self.marks > 2 * limit_of("FEATURES"):
            raise DataError(f"{self._path}: line {self.line}: {exceeded('FEATURES', self.marks)}")
        return piece


def open_delimited(path: Path) -> Delimited:
    """Find out how the CSV file `path` is written. Raises DataError if it has no rows, or is no text."""
    with _open(path) as text:
        lines = itertools.islice(iter(lambda: text.readline(_BLOCK_BYTES), ""), _HEAD_LINES)
        for blank, head in enumerate(lines):  # noqa: B007
            if head.strip():
                break
        else:
            what = "an empty file" if not text.read(1) else f"{_HEAD_LINES:,} empty lines"
            raise DataError(f"{path}: expected a table, found {what}")
        if re.search("[\0\udc80-\udcff]", head):
            raise DataError(f"{path}: line {blank + 1}: expected CSV text in UTF-8, found other bytes")
        separator = _separator(path, head)
        source = _Bounded(path, blank + 1, itertools.chain([head], lines), separator)
        rows = csv.reader(source, delimiter=separator)
        try:
            names = tuple(name.strip() for name in next(rows))
            skip = blank + rows.line_num
            source.line, source.marks = skip + 1, 0
            if len(names) > limit_of("FEATURES") + _MOST_ROLES:
                raise DataError(f"{path}: line {blank + 1}: {exceeded('FEATURES', len(names))}")
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
    found = Delimited(path, names, separator, skip, tuple(first), tuple(notes))
    if len(first) != len(names):  # before PyArrow makes room for that many columns
        raise DataError(f"{path}: line {found.line(0)}: expected {len(names)} cells, found {len(first)}")
    return found


def _separator(path: Path, line: str) -> str:
    if ".tsv" in path.name.lower():
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark in line), ",")
