"""One seed in, an independent generator out for each purpose; no global random state is read or set.

A generator depends on (seed, purpose, index) alone, so whatever is drawn at step 500 is the same
whether steps 0 to 499 ran in this process, in another one, or not at all: exact resume rests on that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _number(seed: int, purpose: str, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1  # 63 bits: torch takes signed 64-bit seeds


def numpy_generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A NumPy generator for `purpose` ("order", ...), the `index`-th of its kind."""
    return np.random.Generator(np.random.PCG64(_number(seed, purpose, index)))


def torch_generator(seed: int, purpose: str, index: int = 0, device: str = "cpu") -> torch.Generator:
    """A torch generator for `purpose` ("init", "dropout", ...) on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(_number(seed, purpose, index))
