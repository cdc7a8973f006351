"""What is in a source, before anything is trained on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.reading import Samples


def summarise(samples: Samples) -> dict[str, Any]:
    """Ready for JSON: of each part its counts, lengths and classes, and how many values are missing."""
    names: tuple[str, ...] = ()
    if samples.named is not None:
        parts, picture = samples.named.parts, samples.named.picture
    else:
        parts = {name: found.sequences for name, found in samples.found.items()}
        first = next(iter(samples.found.values()))
        picture, names = first.picture, first.features
    return {
        "name": samples.name,
        "pictures": picture and {k: getattr(picture, k) for k in ("height", "width", "channels")},
        "feature_names": list(names) if len(names) == next(iter(parts.values())).features else [],
        "parts": {name: _part(part) for name, part in parts.items()},
    }


def _part(part: MemorySource) -> dict[str, Any]:
    counts = np.bincount(part.targets, minlength=len(part.classes))
    missing = 0 if part.concatenated.dtype == np.uint8 else int(np.isnan(part.concatenated).sum())
    return {
        "sequences": len(part),
        "steps": {
            "min": int(part.lengths.min()),
            "median": float(np.median(part.lengths)),
            "max": part.max_length,
        },
        "features": part.features,
        "classes": {str(name): int(count) for name, count in zip(part.classes, counts, strict=False)},
        "groups": None if part.groups is None else len(np.unique(part.groups.astype(str))),
        "missing": missing,
    }
