"""Sorts rows that memory does not hold, with DuckDB, which spills to disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scanline.errors import MissingExtraError, ScanlineError, one_line

if TYPE_CHECKING:
    import pyarrow

_BATCH_BYTES = 2**23
_THREADS = 2  # each needs memory of its own
_MOST_PARTITIONS = 256  # files that are open at once
_PARTS_OF_MEMORY = 4  # a partition takes about this part of DuckDB's memory
_MIXER = 2_654_435_761  # 2**32 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4)


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
    expected_bytes: int = 0,
) -> Iterator[pyarrow.RecordBatch]:
    """Yield rows in the order of their columns `place` and `row`.

    Args:
        batches: The rows.
        schema: Their schema.
        folder: Where temporary files are written.
        memory_bytes: Limit of DuckDB's memory.
        row_bytes: Size of a row in memory.
        expected_bytes: About the size of all rows; 0: they fit into memory.

    Raises:
        ScanlineError: If the rows cannot be sorted; names the reason.
        Exception: What `batches` raises.
    """
    partitions = min(_MOST_PARTITIONS, -(-_PARTS_OF_MEMORY * expected_bytes // memory_bytes))
    if partitions <= _PARTS_OF_MEMORY // 2:
        yield from _sorted(batches, schema, folder, memory_bytes, row_bytes)
        return
    # DuckDB 2.0 runs out of memory when it merges runs of wide rows (2,400 bytes: 480 MB within 380 MB). Rows
    # are therefore first divided into partitions that it sorts in memory.
    import pyarrow

    for path in _partition(batches, schema, folder, partitions, memory_bytes // 8):
        with pyarrow.memory_map(str(path)) as file:
            reader = pyarrow.ipc.open_stream(file)
            yield from _sorted(reader, schema, folder, memory_bytes, row_bytes)
        path.unlink()


def _partition(
    batches: Iterable[pyarrow.RecordBatch],
    schema: pyarrow.Schema,
    folder: Path,
    partitions: int,
    buffer_bytes: int,
) -> list[Path]:
    """Write rows to files, those of equal `place` to the same file, and return the files."""
    import pyarrow

    paths = [folder / f"partition-{index:03d}.arrow" for index in range(partitions)]
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                pyarrow.ipc.new_stream(stack.enter_context(pyarrow.OSFile(str(path), "wb")), schema)
            )
            for path in paths
        ]

        def write(held: list[pyarrow.RecordBatch]) -> None:
            rows = pyarrow.Table.from_batches(held, schema).combine_chunks()
            # Multiplied, as the order within a partition uses the same bits.
            places = rows.column("place").to_numpy() * _MIXER % (2**32) * partitions // 2**32
            order = np.argsort(places, kind="stable")
            rows = rows.take(pyarrow.array(order))
            borders = np.searchsorted(places[order], np.arange(partitions + 1))
            for writer, first, end in zip(writers, borders[:-1].tolist(), borders[1:].tolist(), strict=True):
                if end > first:
                    writer.write_table(rows.slice(first, end - first))

        held, size = [], 0
        for batch in batches:
            held.append(batch)
            size += batch.nbytes
            if size >= buffer_bytes:
                write(held)
                held, size = [], 0
        if held:
            write(held)
    return paths


def _sorted(
    batches: Iterable[pyarrow.RecordBatch],
    schema: pyarrow.Schema,
    folder: Path,
    memory_bytes: int,
    row_bytes: int,
) -> Iterator[pyarrow.RecordBatch]:
    return sort_batches(
        batches,
        schema,
        "place, row",
        {"memory_limit": f"{memory_bytes // 10**6}MB", "threads": _THREADS, "temp_directory": str(folder)},
        max(1024, _BATCH_BYTES // row_bytes),
        f"in {folder}",
        "out of memory or disk space; give more with --memory, or another folder with --temp",
    )


def sort_batches(
    batches: Iterable[pyarrow.RecordBatch],
    schema: pyarrow.Schema,
    order: str,
    settings: Mapping[str, str | int],
    batch_rows: int,
    what: str,
    out_of_memory: str = "",
) -> Iterator[pyarrow.RecordBatch]:
    """Yield rows in order, sorted by one call of DuckDB.

    Args:
        batches: The rows.
        schema: Their schema.
        order: What follows ORDER BY.
        settings: Settings of DuckDB.
        batch_rows: Number of rows of a batch that is yielded.
        what: What is sorted, for messages.
        out_of_memory: What messages say instead of DuckDB's text if memory or disk space are missing.

    Raises:
        ScanlineError: If the rows cannot be sorted; names the reason.
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

    connection = duckdb.connect(":memory:", config={**settings, "preserve_insertion_order": False})
    try:
        connection.register("rows", pyarrow.RecordBatchReader.from_batches(schema, watched()))
        query = connection.sql(f"SELECT * FROM rows ORDER BY {order}")
        # Versions before 2.0 call it fetch_record_batch.
        read = getattr(query, "to_arrow_reader", None) or query.fetch_record_batch
        yield from read(batch_rows)
    except (duckdb.Error, pyarrow.ArrowException) as error:
        if raised:
            raise raised[0] from None
        reason = one_line(error, 200)
        if out_of_memory and isinstance(error, duckdb.OutOfMemoryException):
            reason = out_of_memory
        raise ScanlineError(f"cannot sort {what}: {reason}") from error
    finally:
        connection.close()
