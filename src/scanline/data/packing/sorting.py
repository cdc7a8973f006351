"""Sorts rows that memory does not hold, with DuckDB, which spills to disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scanline.errors import MissingExtraError, ScanlineError, one_line

if TYPE_CHECKING:
    import pyarrow

_BATCH_BYTES = 2**23
_THREADS = 2  # each needs memory of its own


def check_installed(task: str) -> None:
    """Check that DuckDB is installed.

    Args:
        task: What needs it, as a noun phrase.

    Raises:
        MissingExtraError: If it is not.
    """
    try:
        import duckdb  # noqa: F401
    except ImportError:
        raise MissingExtraError(task, ["duckdb"], "pack") from None


def sort_rows(
    batches: Iterable[pyarrow.RecordBatch],
    schema: pyarrow.Schema,
    folder: Path,
    memory_bytes: int,
    row_bytes: int,
) -> Iterator[pyarrow.RecordBatch]:
    """Yield rows so that those of an id are together, in the order of their number.

    Ids are ordered by a hash: rows of two ids of the same hash may be mixed.

    Args:
        batches: The rows, with columns `id` and `row`.
        schema: Their schema.
        folder: Where DuckDB may write temporary files.
        memory_bytes: Limit of DuckDB's memory.
        row_bytes: Size of a row in memory.

    Raises:
        ScanlineError: If DuckDB fails; names its reason.
        Exception: What `batches` raises.
    """
    import duckdb
    import pyarrow

    raised: list[BaseException] = []

    def watched() -> Iterator[pyarrow.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:  # DuckDB would turn it into text
            raised.append(error)
            raise

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_bytes // 10**6}MB",
        "threads": _THREADS,
        "temp_directory": str(folder),
        "preserve_insertion_order": False,
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.register("rows", pyarrow.RecordBatchReader.from_batches(schema, watched()))
        query = connection.sql("SELECT hash(id) AS place, * FROM rows ORDER BY place, row")
        size = max(1024, _BATCH_BYTES // row_bytes)
        # Versions before 2.0 call it fetch_record_batch.
        read = getattr(query, "to_arrow_reader", None) or query.fetch_record_batch
        yield from read(size)
    except (duckdb.Error, pyarrow.ArrowException, OSError) as error:
        if raised:
            raise raised[0] from None
        raise ScanlineError(f"cannot sort in {folder}: {one_line(error, 300)}") from error
    finally:
        connection.close()
