"""Tables with the columns of a packed data set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from scanline.data.memory import MemorySource

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),
        ("length", pa.int32()),
        ("steps", pa.list_(pa.float32())),
    ]
)


def table_of(source: MemorySource) -> pa.Table:
    """Return sequences as rows of a packed data set."""
    kind = pa.uint8() if source.dtype == np.uint8 else pa.float32()
    n = len(source)
    labels = [str(source.classes[target]) for target in source.targets] if source.classes else [None] * n
    columns = {
        "id": [str(source.identifier(index)) for index in range(n)],
        "label": pa.array(labels, pa.string()),
        "group": pa.nulls(n, pa.string()),
        "length": pa.array(source.lengths, pa.int32()),
        "steps": pa.array([source.steps_of(index).reshape(-1) for index in range(n)], pa.list_(kind)),
    }
    return pa.table(columns, schema=SCHEMA.set(4, pa.field("steps", pa.list_(kind))))


def rows_of(*rows: tuple[str | None, int | None, list[float | None] | None]) -> pa.Table:
    """Return rows of (id, length, values)."""
    names = ("id", "length", "steps")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=SCHEMA)
