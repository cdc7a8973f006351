"""What is in a data set, before anything is trained on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline.data.dataset import Dataset, describe_targets
from scanline.data.memory import MemorySource


def summarise(data: Dataset) -> dict[str, Any]:
    """Return counts, lengths, classes and missing values of each split, ready for JSON."""
    picture, names = data.picture, data.first.info.feature_names
    return {
        "name": data.name,
        "pictures": picture and {key: getattr(picture, key) for key in ("height", "width", "channels")},
        "feature_names": list(names) if len(names) == data.first.features else [],
        "parts": {name: _summarise_split(source) for name, source in data.splits.items()},
    }


def _summarise_split(source: MemorySource) -> dict[str, Any]:
    # Bytes cannot be NaN; np.isnan would convert a copy of them to floats.
    missing = 0 if source.dtype == np.uint8 else int(np.isnan(source.concatenated).sum())
    return {
        "sequences": len(source),
        "steps": {
            "min": int(source.lengths.min()),
            "median": float(np.median(source.lengths)),
            "max": source.max_length,
        },
        "features": source.features,
        **describe_targets(source),
        "groups": None if source.groups is None else len(np.unique(source.groups.astype(str))),
        "missing": missing,
    }
