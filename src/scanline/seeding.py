"""Independent random generators for each purpose from one seed; no global random state is read or set.

A generator depends on (seed, purpose, index) alone, so whatever is drawn at step 500 is the same
whether steps 0 to 499 ran in this process, in another one, or not at all. Exact resume depends on that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _number(seed: int, purpose: str, index: int) -> int:
    # A cryptographic hash makes neighbouring seeds and indices independent. The text format must never
    # change.
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1  # 63 bits: torch takes signed 64-bit seeds


def numpy_generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the NumPy generator number `index` for `purpose` ("order", ...)."""
    # PCG64 is named explicitly: default_rng may change its bit generator in a later NumPy.
    return np.random.Generator(np.random.PCG64(_number(seed, purpose, index)))


def torch_generator(seed: int, purpose: str, index: int = 0, device: str = "cpu") -> torch.Generator:
    """Return the torch generator number `index` for `purpose` ("init", "dropout", ...) on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(_number(seed, purpose, index))
