"""What a row group declares to unpack to, compared with the manifest before memory is taken for it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from scanline.data.class_names import MAX_NAME_CHARACTERS
from scanline.errors import DataError, FormatError, one_line
from scanline.formats.parquet import DICTIONARY_ENCODINGS, column_chunks
from scanline.limits import exceeded, exceeded_unpacked, limit_of, unpacked_limit

_NAMES = ("id", "label", "group")
_DICTIONARIES = frozenset((2, 8))  # codes of the encodings that refer to a dictionary
_MOST_NAME_BYTES = 4 * MAX_NAME_CHARACTERS
_SLACK_BYTES = 2**20  # headers of pages


def check_declared(
    content: bytes, schema: Any, where: str, n: int, values: int, dtype: np.dtype[Any]
) -> list[str]:
    """Check that a row group is not larger than the manifest says.

    Args:
        content: The bytes of the file.
        schema: Its schema, a `pyarrow.parquet.ParquetSchema`.
        where: The file, for messages.
        n: Number of sequences.
        values: Number of their values.
        dtype: Type of the values.

    Returns:
        The columns of names that must be read as dictionaries: one long name may stand for many.

    Raises:
        DataError: If the footer is damaged, or declares something else.
    """
    if values * dtype.itemsize > limit_of("ROW_GROUP_BYTES"):
        raise DataError(f"{where}: {exceeded('ROW_GROUP_BYTES', values * dtype.itemsize)}")
    try:
        (group,) = column_chunks(io.BytesIO(content), where, len(schema))
    except FormatError as error:
        raise DataError(str(error)) from error
    shared, named = [], 0
    for index, chunk in enumerate(group):
        path = schema.column(index).path
        # An empty list counts as a value.
        most = values + n if path.startswith("steps.") else n
        if chunk.values > most:
            raise DataError(
                where=f"{where}: column {one_line(path)}",
                expected=f"at most {most:,} values, as in the manifest",
                found=f"{chunk.values:,}",
            )
        if path in _NAMES:
            named += chunk.unpacked_bytes
            if not chunk.encodings <= DICTIONARY_ENCODINGS:
                raise DataError(where=where, expected="names stored as they are", found="another encoding")
            if chunk.encodings & _DICTIONARIES:
                shared.append(path)
        # Levels of a list have at most 4 bytes a value.
        elif chunk.unpacked_bytes > most * 8 + _SLACK_BYTES:
            raise DataError(
                where=f"{where}: column {one_line(path)}",
                expected=f"at most {most * 8:,} bytes",
                found=f"{chunk.unpacked_bytes:,}",
            )
    if named > max(unpacked_limit(len(content)), n * _MOST_NAME_BYTES // 16):
        raise DataError(f"{where}: {exceeded_unpacked(len(content), named)}")
    return shared


def without_dictionaries(table: Any, where: str) -> Any:
    """Return an Arrow table with plain names, once none of them is too long.

    Raises:
        DataError: If a name is too long.
    """
    import pyarrow
    from pyarrow import compute, types

    for index, name in enumerate(table.schema.names):
        column = table.column(index)
        if name not in _NAMES or not types.is_dictionary(column.type):
            continue
        for chunk in column.chunks:
            longest = compute.max(compute.binary_length(chunk.dictionary)).as_py() or 0
            if longest > _MOST_NAME_BYTES:
                raise DataError(
                    where=where, expected=f"names of at most {_MOST_NAME_BYTES:,} bytes", found=f"{longest:,}"
                )
        table = table.set_column(index, name, column.cast(pyarrow.string()))
    return table
