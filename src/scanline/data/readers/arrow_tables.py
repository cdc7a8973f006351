"""Reads sequences from an Arrow table in memory, with the code that reads tables from files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scanline.data.memory import MemorySource
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow


def read_arrow_table(
    table: pyarrow.Table, settings: DataSettings, optional: Collection[str], name: str
) -> MemorySource:
    """Return the sequences of a table.

    Args:
        table: The table.
        settings: Shape of the table and roles of its columns.
        optional: Roles of columns that may be absent.
        name: Name of the table in messages.

    Raises:
        DataError: As for `read_table_sequences`.
        UsageError: As for `read_table_sequences`.
    """
    from pyarrow import parquet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.parquet"
        # Not compressed: the limit of what a file may unpack to is for files of others.
        parquet.write_table(table, path, compression="none", use_dictionary=False)
        try:
            source = read_table_sequences(path, settings, optional)
        except (DataError, UsageError) as error:
            kind = UsageError if isinstance(error, UsageError) else DataError
            raise kind(str(error).replace(str(path), name), code=error.code) from None
    notes = tuple(note.replace(str(path), name) for note in source.info.notes)
    return replace(source, name=name, info=replace(source.info, notes=notes))
