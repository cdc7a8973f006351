"""Changes to training data that a label survives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shift_pictures(
    values: NDArray[Any], channels: int, pixels: int, generator: np.random.Generator
) -> NDArray[Any]:
    """Each picture moved by -pixels to pixels rows and as many columns, all equally likely; 0 moves in.

    values: (N, height, width x channels). Returns the same shape and dtype.
    """
    n, height, row = values.shape
    width = row // channels
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    wide = np.pad(values.reshape(n, height, width, channels), around)
    rows = generator.integers(0, 2 * pixels + 1, (n, 1)) + np.arange(height)  # (N, height)
    columns = generator.integers(0, 2 * pixels + 1, (n, 1)) + np.arange(width)  # (N, width)
    moved: NDArray[Any] = wide[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.reshape(values.shape)
