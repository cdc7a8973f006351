"""Changes the number of samples a second of a recording."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError
from scanline.limits import exceeded, limit_of


def resample(samples: NDArray[np.float32], rate: int, wanted: int, source: str) -> NDArray[np.float32]:
    """Return a recording at another rate, low-pass filtered below half of the lower one.

    Args:
        samples: (S,) the recording.
        rate: Its samples a second.
        wanted: Samples a second of the result.
        source: Name of the recording for messages.

    Returns:
        (ceil(S * wanted / rate),) float32.

    Raises:
        DataError: If the result has more samples than the limit STEPS.

    Source: scipy.signal.resample_poly.
    """
    if rate == wanted:
        return samples
    count = -(-len(samples) * wanted // rate)
    if count > limit_of("STEPS"):
        raise DataError(f"{source}: {exceeded('STEPS', count)}")
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, wanted)
    changed = resample_poly(samples.astype(np.float64), wanted // divisor, rate // divisor)
    return np.asarray(changed, np.float32)
