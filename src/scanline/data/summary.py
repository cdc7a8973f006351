"""What is in a data set, before anything is trained on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from scanline.data.dataset import Dataset, describe_targets
from scanline.data.source import SequenceSource


def summarise(data: Dataset) -> dict[str, Any]:
    """Return counts, lengths, classes and missing values of each split, ready for JSON."""
    picture, names = data.picture, data.first.info.feature_names
    return {
        "name": data.name,
        "pictures": picture and {key: getattr(picture, key) for key in ("height", "width", "channels")},
        "recordings": _summarise_recordings(data),
        "feature_names": list(names) if len(names) == data.first.features else [],
        "parts": {name: _summarise_split(source) for name, source in data.splits.items()},
        "intervals": _summarise_intervals(data),
    }


def _summarise_intervals(data: Dataset) -> list[dict[str, Any]]:
    """Return the intervals between the steps of each file that has times; splits of a file share them."""
    found: dict[int, dict[str, Any]] = {}
    for source in data.splits.values():
        intervals = source.info.intervals
        if intervals is not None:
            found[id(intervals)] = {"source": source.name, **asdict(intervals)}
    return list(found.values())


def _summarise_recordings(data: Dataset) -> dict[str, Any] | None:
    """Return the rate of recordings and their lengths in seconds; None if the data are no recordings."""
    rate = data.first.info.sample_rate
    if not rate:
        return None
    seconds = np.concatenate([source.lengths for source in data.splits.values()]) / rate
    return {
        "sample_rate": rate,
        "seconds": {name: float(getattr(np, name)(seconds)) for name in ("min", "median", "max", "sum")},
    }


def _summarise_split(source: SequenceSource) -> dict[str, Any]:
    return {
        "sequences": len(source),
        "steps": {
            "min": int(source.lengths.min()),
            "median": float(np.median(source.lengths)),
            "max": source.max_length,
        },
        "features": source.features,
        **describe_targets(source),
        "groups": _count_groups(source),
        "missing": _count_missing(source),
    }


def _count_groups(source: SequenceSource) -> int | None:
    if source.groups is not None:
        return len(np.unique(source.groups.astype(str)))
    return source.layout.group_count if source.layout else None


def _count_missing(source: SequenceSource) -> int:
    if source.layout is not None:
        return source.layout.missing
    # Bytes cannot be NaN; np.isnan would convert a copy of them to floats.
    if source.dtype == np.uint8:
        return 0
    return sum(int(np.isnan(part.steps_between(0, len(part))).sum()) for part in source.parts())
