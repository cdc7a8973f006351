"""sigmoid and tanh of every float32 kernel, for a sample of all floats.

benchmarks/activations.py measures all of them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanline.kernels.library import PRECISIONS

BOUND = 2e-7
STEP = 641  # odd and prime, so that all bits of the mantissa vary


@pytest.fixture
def float32_library(precision, library):
    if precision != "float32":
        pytest.skip("bfloat16 kernels have less accurate activations, which the C interface does not expose")
    return library


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_absolute_errors_stay_within_the_bound(float32_library, function):
    bits = np.arange(0, 2**32, STEP, dtype=np.uint64).astype(np.uint32)
    x = torch.from_numpy(bits.view(np.float32))
    got = float32_library.activate(function, x).double()
    expected = getattr(x.double(), function)()
    assert torch.equal(got.isnan(), x.isnan())
    assert (got - expected)[~x.isnan()].abs().max() <= BOUND


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_extreme_inputs_stay_within_the_bound(float32_library, function):
    x = torch.tensor(
        [-float("inf"), -1e38, -200.0, -0.0, 0.0, 1e-45, 200.0, 1e38, float("inf"), float("nan")]
    )
    got = float32_library.activate(function, x)
    torch.testing.assert_close(got, getattr(x, function)(), atol=BOUND, rtol=0, equal_nan=True)


def test_the_kernel_in_use_supports_the_requested_precision(precision, library):
    code = PRECISIONS[precision]
    assert library.kernel(code) in library.kernels(code)
