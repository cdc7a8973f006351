"""The update of the weights, compared with torch's own."""

from __future__ import annotations

import math

import pytest
import torch

from scanline.kernels import openmp
from scanline.kernels.library import load
from scanline.training import update as module
from scanline.training.update import gradient_norm, update

# Whole vectors, parts of them, single numbers, and more than one thread's piece.
SHAPES = ((512, 28), (300, 128), (512,), (10, 128), (10,), (33, 7), (1,))

needs_library = pytest.mark.skipif(load() is None, reason="the native library was not built")


def optimizer_of(shapes=SHAPES, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]
    return torch.optim.Adam(weights, lr=0.0035, foreach=True)


def set_gradients(optimizer, step):
    generator = torch.Generator().manual_seed(step)
    for weight in optimizer.param_groups[0]["params"]:
        draw = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        weight.grad = draw * 10.0 ** -(step % 5)


def state_of(optimizer):
    weights = optimizer.param_groups[0]["params"]
    return [
        tensor
        for weight in weights
        for tensor in (
            weight.detach(),
            *(optimizer.state[weight][key] for key in ("step", "exp_avg", "exp_avg_sq")),
        )
    ]


@needs_library
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_the_update_has_the_bits_of_torch(clip_norm, threads):
    ours, theirs = optimizer_of(), optimizer_of()
    for step in range(8):
        for optimizer in (ours, theirs):
            set_gradients(optimizer, step)
            group = optimizer.param_groups[0]
            group["lr"], group["eps"] = 0.001 * (1 + step), 1e-8 * (1 + step)
        parameters = theirs.param_groups[0]["params"]
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in parameters])
        if clip_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        theirs.step()
        total = gradient_norm(ours.param_groups[0]["params"])
        assert torch.equal(total, norm)
        update(ours, total, clip_norm, threads)
    for value, expected in zip(state_of(ours), state_of(theirs), strict=True):
        assert torch.equal(value, expected)


@needs_library
def test_a_weight_without_gradient_is_left_alone():
    optimizer = optimizer_of(((3,), (4,)))
    first, second = optimizer.param_groups[0]["params"]
    before = second.detach().clone()
    first.grad = torch.ones(3)
    update(optimizer, gradient_norm([first, second]), 1.0, 1)
    assert torch.equal(second.detach(), before)
    assert not optimizer.state[second]


@needs_library
def test_autograd_notices_that_the_weights_changed():
    optimizer = optimizer_of(((3,),))
    (weight,) = optimizer.param_groups[0]["params"]
    product = (weight * weight).sum()
    weight.grad = torch.ones(3)
    update(optimizer, torch.tensor(1.0), 0.0, 1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_torch_updates_what_the_library_cannot():
    ours, theirs = optimizer_of(((5,),), torch.float64), optimizer_of(((5,),), torch.float64)
    for optimizer in (ours, theirs):
        set_gradients(optimizer, 0)
    theirs.step()
    update(ours, torch.tensor(math.inf), 0.0, 1)
    assert all(torch.equal(*pair) for pair in zip(state_of(ours), state_of(theirs), strict=True))


def test_torch_updates_without_the_library(monkeypatch):
    monkeypatch.setattr(module, "load", lambda: None)
    ours, theirs = optimizer_of(((5,),)), optimizer_of(((5,),))
    for optimizer in (ours, theirs):
        set_gradients(optimizer, 0)
    theirs.step()
    update(ours, torch.tensor(1.0), 0.0, 1)
    assert all(torch.equal(*pair) for pair in zip(state_of(ours), state_of(theirs), strict=True))


def test_one_thread_restores_the_number_of_threads_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), openmp.one_thread():
        raise KeyError
    assert torch.get_num_threads() == before
