"""Tables of scores as one Parquet or CSV file, written piece by piece; equal rows become equal bytes."""

from __future__ import annotations

import contextlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from scanline.errors import UsageError
from scanline.scoring.columns import METADATA, require_pyarrow

if TYPE_CHECKING:
    import pyarrow

FileFormat = Literal["parquet", "csv"]
FORMATS: tuple[FileFormat, ...] = ("parquet", "csv")
GROUP_ROWS = 2**16  # rows of a row group, however the rows arrive
# Text that repeats; numbers do not, and identifiers seldom.
_REPEATED = ("file", "split", "prediction", "stop_prediction", "error")


class TableWriter(ABC):
    """Writes the rows of tables of one schema to a file."""

    @abstractmethod
    def write(self, table: pyarrow.Table) -> None:
        """Add rows."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class _ParquetWriter(TableWriter):
    def __init__(self, file: BinaryIO, schema: pyarrow.Schema) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(file, schema, **parquet_options(schema))
        self._schema = schema
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, table: pyarrow.Table) -> None:
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= GROUP_ROWS:
            self._flush(self._rows - self._rows % GROUP_ROWS)

    def _flush(self, rows: int) -> None:
        pa = require_pyarrow()
        table = pa.concat_tables(self._waiting).cast(self._schema)
        for first in range(0, rows, GROUP_ROWS):
            # One chunk a column: how rows arrived must not be seen in the pages.
            group = table.slice(first, min(GROUP_ROWS, rows - first)).combine_chunks()
            self._writer.write_table(group, row_group_size=GROUP_ROWS)
        self._waiting, self._rows = [table.slice(rows)], len(table) - rows

    def close(self) -> None:
        if self._rows:
            self._flush(self._rows)
        self._writer.close()


class _CsvWriter(TableWriter):
    def __init__(self, file: BinaryIO, schema: pyarrow.Schema) -> None:
        from pyarrow import csv

        self._classes = classes_of(schema)
        self._writer = csv.CSVWriter(file, self._flat(schema.empty_table()).schema)

    def write(self, table: pyarrow.Table) -> None:
        self._writer.write_table(self._flat(table))

    def close(self) -> None:
        self._writer.close()

    def _flat(self, table: pyarrow.Table) -> pyarrow.Table:
        """Return the table with a column for the probability of each class."""
        pa = require_pyarrow()
        place = table.schema.get_field_index("probabilities")
        if place < 0:
            return table
        lists = table.column(place).combine_chunks()
        kept = table.remove_column(place)
        present = lists.is_valid()
        rows = present.to_numpy(zero_copy_only=False).cumsum() - 1
        wide = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(self._classes))
        places = pa.array(rows, mask=~present.to_numpy(zero_copy_only=False))
        for number, name in enumerate(self._classes):
            column = pa.array(wide[:, number]).take(places)
            kept = kept.add_column(place + number, f"probability_{name}", column)
        return kept


def classes_of(schema: pyarrow.Schema) -> list[str]:
    """Return the names of the classes, in the order of the probabilities of a table of scores."""
    names: list[str] = json.loads((schema.metadata or {}).get(METADATA, b'{"classes": []}'))["classes"]
    return names


def format_of(path: str | Path) -> FileFormat:
    """Return the format that the name of a file ends in. Raises UsageError if it is neither."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    for name in FORMATS:
        if suffix == name:
            return name
    raise UsageError(f"--to: expected a file that ends in .parquet or .csv, got {path}")


@contextlib.contextmanager
def table_writer(file: BinaryIO, kind: FileFormat, schema: pyarrow.Schema) -> Iterator[TableWriter]:
    """Yield a writer of tables to an open file; leaving the block without an error completes the content."""
    writer = _ParquetWriter(file, schema) if kind == "parquet" else _CsvWriter(file, schema)
    try:
        yield writer
    except BaseException:
        # PyArrow would write the end of the file when the writer is deleted, after the file was closed.
        with contextlib.suppress(Exception):
            writer.close()
        raise
    writer.close()


def parquet_bytes(table: pyarrow.Table) -> bytes:
    """Return a table as the bytes of a Parquet file of one row group."""
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(table, stream, row_group_size=max(1, len(table)), **parquet_options(table.schema))
    return stream.getvalue()


def parquet_options(schema: pyarrow.Schema) -> dict[str, Any]:
    """Return how Parquet files of scores are written."""
    text = [each.name for each in schema if each.name in _REPEATED and str(each.type) == "string"]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": text}
