"""The first rows of a table, for a user who has to say what its columns mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scanline.data.readers.column_roles import usual_roles
from scanline.data.readers.parquet_sizes import arrow_errors, check_unpacked
from scanline.formats.delimited import open_delimited
from scanline.formats.text import is_number
from scanline.recipe import DataSettings

_ROWS = 3


@dataclass(frozen=True)
class TablePreview:
    """What a table looks like.

    Attributes:
        types: "number", "text" or "empty" by the name of the column, from its first rows.
        rows: The cells of the first rows, as text.
        roles: What a column seems to be, by its name: "label", "id", ...; columns without a usual name are
            missing.
    """

    types: dict[str, str]
    rows: list[list[str]]
    roles: dict[str, str]


def preview_table(path: Path, settings: DataSettings) -> TablePreview:
    """Return the columns and first rows of a CSV or Parquet file.

    Args:
        path: The file.
        settings: How it is read.
    """
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        with arrow_errors(path), parquet.ParquetFile(path) as file:
            check_unpacked(path, file.schema)
            names = file.schema_arrow.names
            batch = next(file.iter_batches(_ROWS), None)
        columns = [] if batch is None else batch.to_pydict().values()
        rows = [["" if cell is None else str(cell) for cell in row] for row in zip(*columns, strict=True)]
    else:
        table = open_delimited(path, settings.encoding, settings.separator)
        names = list(table.names)
        rows = [list(row) for row in (table.sample or (table.first,))[:_ROWS]]
    types = {}
    for place, name in enumerate(names):
        cells = [row[place].strip() for row in rows if place < len(row) and row[place].strip()]
        types[name] = "empty" if not cells else "number" if all(map(is_number, cells)) else "text"
    return TablePreview(types, rows, usual_roles(names))
