"""Gradients on more threads than there are cores."""

from __future__ import annotations

import pytest
import torch

from scanline import nn
from scanline.kernels.library import load

needs_library = pytest.mark.skipif(load() is None, reason="the native library was not built")
THREADS = 64


@pytest.fixture
def many_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def gradients(layer, x):
    layer.zero_grad()
    outputs, _ = layer(x)
    (outputs * outputs).sum().backward()
    return [weight.grad.clone() for weight in layer.parameters()]


@needs_library
def test_gradients_of_64_threads_do_not_depend_on_their_scheduling(many_threads):
    torch.manual_seed(0)
    # Each thread has a gradient of its own, one of them of two sequences: eight whole groups of a sum.
    layer, x = nn.LSTM(5, 20, batch_first=True), torch.randn(THREADS + 1, 4, 5)
    first = gradients(layer, x)
    for _ in range(5):
        assert all(torch.equal(*pair) for pair in zip(gradients(layer, x), first, strict=True))
    reference = torch.nn.LSTM(5, 20, batch_first=True, dtype=torch.float64)
    reference.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    for ours, theirs in zip(first, gradients(reference, x.double()), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
