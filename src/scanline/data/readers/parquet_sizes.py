"""What a Parquet file may unpack to, checked before PyArrow reads its values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.data.class_names import MAX_NAME_CHARACTERS
from scanline.errors import DataError, one_line
from scanline.formats.parquet import DICTIONARY_ENCODINGS, read_column_chunks
from scanline.limits import exceeded_unpacked, unpacked_limit

BATCH_CELLS = 2**20
_BATCH_BYTES = 2**24  # of a column of names that is not dictionary-encoded


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what PyArrow and the system raise about a file into DataError."""
    import pyarrow

    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({one_line(error.strerror or error, 200)})") from error
    except (pyarrow.ArrowException, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error, 200)})") from error


@dataclass(frozen=True)
class NamedSizes:
    """Sizes of the columns of names.

    Attributes:
        unpacked_bytes: What they unpack to, as the file declares.
        shared: Names of the columns that are read as dictionaries.
        rows: Number of rows of the other columns that may be unpacked at once.
    """

    unpacked_bytes: int
    shared: list[str]
    rows: int


def named_sizes(path: Path, schema: Any, names: Collection[str]) -> NamedSizes:
    """Return the sizes of the columns of a Parquet file that hold names: labels, ids, groups and splits.

    Args:
        path: The file.
        schema: Its schema, a `pyarrow.parquet.ParquetSchema`.
        names: The columns.

    Raises:
        DataError: If the footer of the file is damaged, or a name has too many bytes.
    """
    groups = read_column_chunks(path, len(schema))
    size, rows, shared = 0, BATCH_CELLS, []
    for index in range(len(schema)):
        column = schema.column(index)
        if column.path not in names:
            continue
        chunks = [group[index] for group in groups]
        sizes = [chunk.unpacked_bytes for chunk in chunks]
        size += sum(sizes)
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
            if column.length > 4 * MAX_NAME_CHARACTERS:
                what = f"expected names of at most {4 * MAX_NAME_CHARACTERS:,} bytes, found {column.length:,}"
                raise DataError(f"{path}, column {one_line(column.path)}: {what}")
            rows = min(rows, _BATCH_BYTES // max(column.length, 1))
        elif column.physical_type == "BYTE_ARRAY":
            if all(chunk.encodings <= DICTIONARY_ENCODINGS for chunk in chunks):
                shared.append(column.path)
            else:  # DELTA_BYTE_ARRAY: a few bytes may repeat a long text in each row
                rows = min(rows, max(4_096, _BATCH_BYTES // max(1, *sizes)))
    return NamedSizes(size, shared, rows)


def check_unpacked(path: Path, schema: Any) -> None:
    """Check that a Parquet file may be read as a whole.

    Args:
        path: The file.
        schema: Its schema, a `pyarrow.parquet.ParquetSchema`.

    Raises:
        DataError: If the footer of the file is damaged, or declares more than the limit.
    """
    chunks = [chunk for group in read_column_chunks(path, len(schema)) for chunk in group]
    # Run-length codes may repeat a value any number of times, so that both sizes are checked.
    needed = max(sum(chunk.unpacked_bytes for chunk in chunks), sum(4 * chunk.values for chunk in chunks))
    if needed > unpacked_limit(packed := path.stat().st_size):
        raise DataError(f"{path}: {exceeded_unpacked(packed, needed)}")
