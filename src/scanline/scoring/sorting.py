"""All scores of a job in one file, sorted by identifier, within a limit of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanline.data.packed.location import Location
from scanline.data.packing.sorting import check_installed, sort_batches
from scanline.errors import DataError
from scanline.scoring.columns import require_pyarrow
from scanline.scoring.job import Part
from scanline.scoring.output import FileFormat, table_writer
from scanline.storage.atomic import atomic_file
from scanline.storage.digest import sha256

if TYPE_CHECKING:
    import pyarrow

MEMORY = "1GB"  # beyond it, DuckDB sorts on disk
_BATCH_ROWS = 2**14


def sorted_file(kind: FileFormat) -> str:
    """Return the name of the file."""
    return f"sorted.{kind}"


def write_sorted(
    tables: Iterable[pyarrow.Table], schema: pyarrow.Schema, target: Location, kind: FileFormat
) -> str:
    """Write the rows of tables to one file, sorted by identifier, then by the other columns.

    The bytes do not depend on the order of the rows, or on how they are divided among tables.

    Args:
        tables: Tables of scores, which are read once.
        schema: Their schema.
        target: Folder of the file.
        kind: Format of the file.

    Returns:
        The address of the file.

    Raises:
        ScanlineError: If the file cannot be written.
        MissingExtraError: If DuckDB is not installed.
    """
    name = sorted_file(kind)
    with tempfile.TemporaryDirectory(prefix="scanline-sort-") as folder:
        if target.is_local:
            target.path.mkdir(parents=True, exist_ok=True)
            with atomic_file(target.path / name) as file, table_writer(file, kind, schema) as writer:
                for table in _in_order(tables, schema, folder):
                    writer.write(table)
        else:
            path = Path(folder) / name
            with path.open("wb") as file, table_writer(file, kind, schema) as writer:
                for table in _in_order(tables, schema, folder):
                    writer.write(table)
            target.upload(name, path)
    return target.file(name)


def read_parts(target: Location, parts: Iterable[Part]) -> Iterator[pyarrow.Table]:
    """Yield the tables of parts; their digests are checked. Raises DataError if one is missing or damaged."""
    pa = require_pyarrow()
    from pyarrow import parquet

    for part in parts:
        content = target.read(part.file, part.bytes)
        if sha256(content) != part.sha256:
            raise DataError(f"{target.file(part.file)} is damaged: repeat the command to score it again")
        yield parquet.read_table(pa.BufferReader(content), use_threads=False)


def _in_order(
    tables: Iterable[pyarrow.Table], schema: pyarrow.Schema, folder: str
) -> Iterator[pyarrow.Table]:
    check_installed("sorting scores")
    pa = require_pyarrow()
    settings = {"memory_limit": MEMORY, "temp_directory": folder}
    # By all columns, so that rows of the same identifier have one order.
    for batch in sort_batches(_batches(tables, schema), schema, "ALL", settings, _BATCH_ROWS, "the scores"):
        yield pa.Table.from_batches([batch]).cast(schema)


def _batches(tables: Iterable[pyarrow.Table], schema: pyarrow.Schema) -> Iterator[Any]:
    for table in tables:
        yield from table.cast(schema).to_batches()
