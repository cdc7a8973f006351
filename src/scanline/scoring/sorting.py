"""All scores of a job in one file, sorted by identifier, within a limit of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanline.data.packed.location import Location
from scanline.errors import DataError, MissingExtraError, ScanlineError, one_line
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


def check_duckdb() -> None:
    """Raise MissingExtraError if DuckDB is not installed."""
    try:
        import duckdb  # noqa: F401
    except ImportError:
        raise MissingExtraError("sorting scores", ["duckdb"], "pack") from None


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
    check_duckdb()
    import duckdb

    pa = require_pyarrow()
    faults: list[Exception] = []
    batches = _keeping_faults(_batches(tables, schema), faults.append)
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    try:
        with duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder}) as connection:
            connection.execute("SET preserve_insertion_order = false")
            connection.register("scores", reader)
            # By all columns, so that rows of the same identifier have one order.
            result = connection.sql("SELECT * FROM scores ORDER BY ALL")
            for batch in result.to_arrow_reader(_BATCH_ROWS):
                yield pa.Table.from_batches([batch]).cast(schema)
    except duckdb.Error as error:
        if faults:  # DuckDB reports the error of a reader as text
            raise faults[0] from None
        raise ScanlineError(f"cannot sort the scores: {one_line(error, 200)}") from error


def _batches(tables: Iterable[pyarrow.Table], schema: pyarrow.Schema) -> Iterator[Any]:
    for table in tables:
        yield from table.cast(schema).to_batches()


def _keeping_faults(batches: Iterator[Any], keep: Callable[[Exception], None]) -> Iterator[Any]:
    try:
        yield from batches
    except ScanlineError as error:
        keep(error)
        raise
