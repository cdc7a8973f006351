"""Packed data sets of a few sequences, written row group by row group as tests need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import (
    FileDigest,
    Lengths,
    Manifest,
    PackedSplit,
    RowGroup,
    Statistics,
    TargetRange,
    write_manifest,
)
from scanline.data.packed.row_groups import encode_index, encode_row_group
from scanline.storage.digest import sha256


def write_packed(folder, splits: dict[str, MemorySource] | Dataset, rows: int = 7, **changes) -> Location:
    """Write sequences in their order as a packed data set, `rows` in each row group."""
    location = Location.parse(folder)
    sources = dict(splits.splits) if isinstance(splits, Dataset) else splits
    first = next(iter(sources.values()))
    manifest = Manifest(
        scanline="0.1.0",
        name=splits.name if isinstance(splits, Dataset) else "made up",
        features=first.features,
        dtype=str(first.dtype),
        feature_names=first.info.feature_names,
        full_scale=first.info.full_scale,
        classes=() if first.info.numeric_targets else first.classes,
        numbers=first.info.numeric_targets,
        picture=first.info.picture,
        settings=first.info.settings,
        notes=(),
        shuffled=False,
        splits={name: write_split(location, name, source, rows) for name, source in sources.items()},
    )
    write_manifest(location, manifest.model_copy(update=changes))
    return location


def write_split(location: Location, name: str, source: MemorySource, rows: int) -> PackedSplit:
    """Write the files of one split, and return its entry in the manifest."""
    ids = [str(source.identifier(index)) for index in range(len(source))]
    source = replace(source, ids=np.array(ids, object))
    groups = []
    for number, first in enumerate(range(0, len(source), rows)):
        part = source.take(slice(first, first + rows))
        file = _write(location, f"{name}-{number:06d}.parquet", encode_row_group(part))
        groups.append(RowGroup(**file, n=len(part), steps=part.total_steps))
    numbers = source.info.numeric_targets
    targets = np.array(source.classes, float)[source.targets] if numbers else source.targets
    index = _write(location, f"{name}-index.parquet", encode_index(source.lengths, targets))
    lengths, missing = source.lengths, int(np.isnan(source.concatenated.astype(float)).sum())
    return PackedSplit(
        n=len(source),
        steps=source.total_steps,
        origin=source.name,
        class_counts=[] if numbers else np.bincount(source.targets, minlength=len(source.classes)).tolist(),
        targets=TargetRange(min=targets.min(), mean=targets.mean(), max=targets.max()) if numbers else None,
        group_count=None,
        groups=[],
        lengths=Lengths(
            min=int(lengths.min()),
            median=float(np.median(lengths)),
            max=int(lengths.max()),
            histogram=[(int(lengths.min()), int(lengths.max()), len(lengths))],
        ),
        missing=missing,
        first_missing=f"sequence {ids[0]}" if missing else "",
        statistics=_statistics(source.concatenated.astype(float)),
        index=FileDigest(**index),
        row_groups=groups,
    )


def _statistics(steps: np.ndarray) -> Statistics:
    mean = np.nanmean(steps, 0)
    return Statistics(
        count=(~np.isnan(steps)).sum(0).tolist(),
        mean=mean.tolist(),
        m2=np.nansum((steps - mean) ** 2, 0).tolist(),
    )


def _write(location: Location, name: str, content: bytes) -> dict[str, str | int]:
    location.write(name, content)
    return {"file": name, "bytes": len(content), "sha256": sha256(content)}


def ragged(
    lengths: Sequence[int] = (3, 1, 4, 2, 5, 3, 2, 6, 1, 4), features: int = 2, seed: int = 0
) -> MemorySource:
    """Sequences of different lengths, of the classes "a", "b" and "c" in turn."""
    draw = np.random.default_rng(seed)
    sequences = [draw.normal(size=(length, features)).astype(np.float32) for length in lengths]
    targets = np.arange(len(lengths)) % 3
    source = MemorySource.from_list(sequences, targets, ("a", "b", "c"), "ragged")
    return replace(source, ids=np.array([f"recording {index}" for index in range(len(lengths))], object))
