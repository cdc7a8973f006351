"""Input and random numbers for tests of TensorFlow 1's checkpoints."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 6, 5))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)
