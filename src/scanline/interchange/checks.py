"""What holds of every network that is imported, whatever it was saved as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import shown
from scanline.errors import ModelError
from scanline.limits import PREFIX, limit_of

_MOST_NAMED = 8
_LIMITS = {"layers": "LAYERS", "classes": "CLASSES", "input_size": "FEATURES"}  # all others: UNITS


def listed(names: Sequence[str]) -> str:
    """Names of variables for a message: at most eight, each in at most 120 characters."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(shown(name, 120) for name in names[:_MOST_NAMED]) + more


def check_finite(source: Path, name: str, values: NDArray[np.floating[Any]]) -> None:
    """Raises ModelError if a value is NaN or infinite."""
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise ModelError(
            f"{source}: {shown(name, 120)}: expected finite numbers that float32 can hold, found {wrong:,} "
            f"of {values.size:,} that are not; import a state from before its training failed"
        )


def check_sizes(source: Path, **sizes: int) -> None:
    """Raises ModelError naming the size that is no network's: `layers` go to 64, all others to 65,536, or as
    far as SCANLINE_LIMIT_LAYERS and so on say."""
    for what, size in sizes.items():
        limit = _LIMITS.get(what, "UNITS")
        if not 1 <= size <= limit_of(limit):
            raise ModelError(
                f"{source}: expected 1 to {limit_of(limit):,} {what}, found {size:,}; where you trust it, "
                f"{PREFIX}{limit} raises the limit"
            )
