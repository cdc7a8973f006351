"""What holds of every network that is imported, whatever it was saved as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import shown
from scanline.errors import ModelError

_MOST_NAMED = 8
SIZE_LIMIT, LAYER_LIMIT = 65_536, 64  # as in a recipe


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
    """Raises ModelError naming the size that is no network's: `layers` go to 64, all others to 65,536."""
    for what, size in sizes.items():
        most = LAYER_LIMIT if what == "layers" else SIZE_LIMIT
        if not 1 <= size <= most:
            raise ModelError(f"{source}: expected 1 to {most:,} {what}, found {size:,}")
