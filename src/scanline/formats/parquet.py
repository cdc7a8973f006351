"""The column chunks that the footer of a Parquet file declares: their sizes, types and encodings.

PyArrow reads the values. It is not asked about column chunks, because its accessors of them do not translate
C++ exceptions: for metadata that are damaged, or encrypted, `RowGroupMetaData.column` aborts the process.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from scanline.errors import FormatError
from scanline.formats.thrift import I32, STRUCT, CompactReader

_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # the length of the metadata and the magic bytes
_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3  # fields of FileMetaData, RowGroup and ColumnChunk
_ENCODINGS, _VALUES, _UNPACKED_BYTES = 2, 5, 6  # fields of ColumnMetaData
# PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED and RLE_DICTIONARY
DICTIONARY_ENCODINGS = frozenset((0, 2, 3, 4, 8))

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ColumnChunk:
    """The values of one column in one row group.

    Attributes:
        encodings: Codes of the encodings of its pages, as in `DICTIONARY_ENCODINGS`.
        values: Number of values, those that are missing included.
        unpacked_bytes: Size of its pages after decompression.
    """

    encodings: frozenset[int]
    values: int
    unpacked_bytes: int


def read_column_chunks(path: Path, columns: int) -> list[list[ColumnChunk]]:
    """Read the column chunks of each row group of a Parquet file, as its footer declares them.

    Args:
        path: The file.
        columns: Number of leaf columns of its schema, which each row group must have.

    Raises:
        FormatError: If the footer is damaged or encrypted.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        return column_chunks(file, path, columns)


def column_chunks(file: BinaryIO, path: Path | str, columns: int) -> list[list[ColumnChunk]]:
    """Return the column chunks of an open Parquet file; `path` names it, see `read_column_chunks`."""
    content = _footer(file, path)
    try:
        groups = _row_groups(CompactReader(content))
    except FormatError as error:
        raise error.within(path) from None
    for place, group in enumerate(groups):
        if len(group) != columns:
            raise FormatError(
                file=path,
                place=f"row group {place + 1}",
                expected=f"{columns:,} columns as in the schema",
                found=f"{len(group):,}",
            )
    return groups


def _footer(file: BinaryIO, path: Path | str) -> bytes:
    size = file.seek(0, os.SEEK_END)
    if size < len(_MAGIC) + _TAIL_BYTES:
        raise FormatError(file=path, expected="a Parquet file", found=f"{size} bytes")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - len(_MAGIC) - _TAIL_BYTES:
        raise FormatError(file=path, expected="the footer of a Parquet file", found="something else")
    file.seek(size - _TAIL_BYTES - length)
    return file.read(length)


def _row_groups(reader: CompactReader) -> list[list[ColumnChunk]]:
    def groups(kind: int) -> list[list[ColumnChunk]]:
        return [_columns(reader) for _ in reader.items(kind, STRUCT)]

    return _single(reader, _ROW_GROUPS, "a list of row groups", groups)


def _columns(reader: CompactReader) -> list[ColumnChunk]:
    def chunks(kind: int) -> list[ColumnChunk]:
        return [_chunk(reader) for _ in reader.items(kind, STRUCT)]

    return _single(reader, _COLUMNS, "a list of columns", chunks)


def _chunk(reader: CompactReader) -> ColumnChunk:
    def metadata(kind: int) -> ColumnChunk:
        reader.expect_struct(kind)
        return _metadata(reader)

    what = "the metadata of a column"
    return _single(reader, _METADATA, what, metadata, absent="none (it may be encrypted)")


def _single(
    reader: CompactReader, wanted: int, what: str, read: Callable[[int], _Value], absent: str = "none"
) -> _Value:
    """Read a structure and return its field `wanted`, which it must have once; skip the others."""
    values: list[_Value] = []
    for field, kind in reader.fields():
        if field != wanted:
            reader.skip(kind)
        elif values:
            reader.fail(f"{what} once", "twice")
        else:
            values.append(read(kind))
    if not values:
        reader.fail(what, absent)
    return values[0]


def _metadata(reader: CompactReader) -> ColumnChunk:
    encodings: frozenset[int] | None = None
    sizes: dict[int, int] = {}
    for field, kind in reader.fields():
        if field == _ENCODINGS and encodings is None:
            encodings = frozenset(reader.integer(I32, 32) for _ in reader.items(kind, I32))
        elif field in (_VALUES, _UNPACKED_BYTES) and field not in sizes:
            sizes[field] = reader.integer(kind, 64)
            if sizes[field] < 0:
                reader.fail("a size of 0 or more", sizes[field])
        elif field in (_ENCODINGS, _VALUES, _UNPACKED_BYTES):
            reader.fail("each field of the metadata of a column once", f"field {field} twice")
        else:
            reader.skip(kind)
    if encodings is None or len(sizes) < 2:
        reader.fail("encodings, the number of values and the size of a column", "less")
    return ColumnChunk(encodings, sizes[_VALUES], sizes[_UNPACKED_BYTES])
