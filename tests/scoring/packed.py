"""Packed data sets, and tables with their columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import (
    FileDigest,
    Lengths,
    Manifest,
    PackedSplit,
    RowGroup,
    Statistics,
    write_manifest,
)
from scanline.data.packed.row_groups import encode_index, encode_row_group
from scanline.storage.digest import sha256

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


def pack(folder: Path, splits: Mapping[str, MemorySource], rows: int) -> Path:
    """Write sequences as a packed data set with row groups of `rows` sequences."""
    location = Location.parse(folder)
    first = next(iter(splits.values()))
    manifest = Manifest(
        scanline="test",
        name=folder.name,
        features=first.features,
        dtype=str(first.dtype),
        feature_names=first.info.feature_names,
        full_scale=first.info.full_scale,
        classes=first.classes,
        numbers=False,
        picture=first.info.picture,
        settings=first.info.settings,
        notes=(),
        shuffled=False,
        splits={name: _packed_split(location, name, source, rows) for name, source in splits.items()},
    )
    write_manifest(location, manifest)
    return folder


def _packed_split(location: Location, name: str, source: MemorySource, rows: int) -> PackedSplit:
    groups = []
    for number, start in enumerate(range(0, len(source), rows)):
        part = source.take(slice(start, min(start + rows, len(source))))
        file = _written(location, f"{name}-{number:06d}.parquet", encode_row_group(part))
        groups.append(RowGroup(**file.model_dump(), n=len(part), steps=part.total_steps))
    index = encode_index(source.lengths, source.targets)
    values = source.concatenated.astype(np.float64)
    missing = np.isnan(values)
    present = np.ma.masked_array(values, missing | np.isinf(values))
    mean = present.mean(0).filled(0)
    return PackedSplit(
        n=len(source),
        steps=source.total_steps,
        origin="the test",
        class_counts=np.bincount(source.targets, minlength=len(source.classes)).tolist()
        if source.classes
        else [],
        targets=None,
        group_count=None,
        groups=[],
        lengths=Lengths(
            min=int(source.lengths.min()),
            median=float(np.median(source.lengths)),
            max=source.max_length,
            histogram=[(int(source.lengths.min()), source.max_length, len(source))],
        ),
        missing=int(missing.sum()),
        first_missing="somewhere" if missing.any() else "",
        statistics=Statistics(
            count=(~missing).sum(0).tolist(),
            mean=mean.tolist(),
            m2=((present - mean) ** 2).sum(0).filled(0).tolist(),
        ),
        index=_written(location, f"{name}-index.parquet", index),
        row_groups=groups,
    )


def _written(location: Location, name: str, content: bytes) -> FileDigest:
    location.write(name, content)
    return FileDigest(file=name, bytes=len(content), sha256=sha256(content))
