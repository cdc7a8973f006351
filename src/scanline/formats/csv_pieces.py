"""Cuts a CSV file into pieces that end where a row ends, so that several cores can parse them.

Where rows end is decided by counting quotes: a line break within quotes belongs to a cell. Quotes that are
part of a word make the count ambiguous; then `RowBoundaryError` tells the caller to parse the file in one
piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_LINE_END = re.compile(rb"\r\n|\n|\r")


class RowBoundaryError(Exception):
    """The quotes are ambiguous, so that the end of a row cannot be determined."""


class RowTooLongError(Exception):
    """A row is longer than the parser accepts."""


def split_rows(stream: Any, skip: int, size: int, row_limit: int) -> Iterator[memoryview]:
    """Yield the bytes of a file after its first lines, in pieces that end where a row ends.

    A piece is valid until the next but one is requested: two buffers alternate, because touching new memory
    takes longer than reading into memory that is in use.

    Args:
        stream: A stream with `readinto`.
        skip: Number of lines to leave out.
        size: The largest size of a piece in bytes.
        row_limit: The largest size of a row in bytes.

    Raises:
        RowBoundaryError: If the end of a row cannot be determined.
        RowTooLongError: If a row has more than `row_limit` bytes.
    """
    current, other = bytearray(size), bytearray(size)
    limit = min(size, row_limit)  # the first piece is small: most files that are not CSV fail there
    filled = _fill(stream, current, 0, limit)
    begin = 0
    for _ in range(skip):
        begin = _line_end(current, begin, filled)
    while begin < filled:
        more = filled == limit
        end = _row_end(current, begin, filled, row_limit) if more else filled
        yield memoryview(current)[begin:end]
        # The unfinished row moves to the front of the other buffer, whose piece is no longer in use.
        rest = filled - end
        other[:rest] = memoryview(current)[end:filled]
        current, other, begin, limit = other, current, 0, size
        filled = _fill(stream, current, rest, limit) if more else 0


def has_quote(piece: memoryview) -> bool:
    """Return whether the buffer of a piece has a quote.

    It may be a quote of an older piece that is still in the buffer. That only costs time.
    """
    buffer = piece.obj
    assert isinstance(buffer, bytearray)
    return buffer.find(b'"') >= 0


def _fill(stream: Any, buffer: bytearray, filled: int, limit: int) -> int:
    """Fill `buffer` up to `limit`, or to the end of the stream; return how far it is filled."""
    view = memoryview(buffer)[:limit]
    while filled < limit:
        read: int = stream.readinto(view[filled:])
        if not read:
            break
        filled += read
    return filled


def _row_end(text: bytearray, begin: int, filled: int, row_limit: int) -> int:
    """Return where the last complete row of `text[begin:filled]` ends, or `filled` if no row does."""
    # CR is the row end only if there is no LF at all; otherwise it belongs to CR LF.
    mark = b"\n" if text.find(b"\n", begin, filled) >= 0 else b"\r"
    end = text.rfind(mark, begin, filled) + 1
    quotes = text.count(b'"', begin, end)
    while end and quotes % 2:  # within a quoted cell, which may have several lines
        before = text.rfind(mark, begin, text.rfind(b'"', begin, end)) + 1
        if before < filled - row_limit:  # no cell is that long: a quote is part of a word
            raise RowBoundaryError
        quotes, end = quotes - text.count(b'"', before, end), before
    if not end and filled - begin > 2 * row_limit:
        raise RowTooLongError
    return end or filled


def _line_end(text: bytearray, begin: int, filled: int) -> int:
    """Return where the line that begins at `begin` ends; lines end with LF, CR LF or CR."""
    match = _LINE_END.search(text, begin, filled)
    return match.end() if match else filled
