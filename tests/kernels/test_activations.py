"""sigmoid and tanh of every kernel, over a comb through all floats (benchmarks/activations.py takes all)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanline.kernels.library import FLOAT32

BOUND = 2e-7


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_no_float_is_off_by_more_than_the_bound(precision, library, function):
    if precision != "float32":
        pytest.skip("bfloat16 kernels have rougher activations of their own")
    bits = np.arange(0, 2**32, 641, dtype=np.uint64).astype(
        np.uint32
    )  # a prime step: every mantissa's bits move
    x = torch.from_numpy(bits.view(np.float32))
    got = library.activate(function, x).double()
    expected = getattr(x.double(), function)()
    assert torch.equal(got.isnan(), x.isnan())
    assert (got - expected)[~x.isnan()].abs().max() <= BOUND


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_the_ends_are_exact_enough(precision, library, function):
    if precision != "float32":
        pytest.skip("bfloat16 kernels have rougher activations of their own")
    x = torch.tensor(
        [-float("inf"), -1e38, -200.0, -0.0, 0.0, 1e-45, 200.0, 1e38, float("inf"), float("nan")]
    )
    got = library.activate(function, x)
    torch.testing.assert_close(got, getattr(x, function)(), atol=BOUND, rtol=0, equal_nan=True)


def test_the_precision_that_is_asked_is_the_kernel_in_use(precision, library):
    code = {"float32": FLOAT32, "bfloat16": 1}[precision]
    assert library.kernel(code) in library.kernels(code)
