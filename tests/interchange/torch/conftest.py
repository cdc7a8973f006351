"""Input for tests of PyTorch's networks."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def values() -> torch.Tensor:
    return torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
