"""Checks of torch's own tests, run on both libraries: autograd, training and compilers."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.nn.comparison import KINDS, WARNINGS_OF_TORCH, X, assert_same, gradients, outcome, pair, tensors_of

pytestmark = WARNINGS_OF_TORCH


# --- autograd


def _changed_in_place(which):
    def check(module):
        x = X.clone()
        results = module(x)
        changed = {"input": x, "weight": module.weight_hh_l0, "states": tensors_of(results)[1]}[which]
        with torch.no_grad() if which == "weight" else contextlib.nullcontext():
            changed.mul_(2)
        return gradients(module, results)

    return check


def _twice(module):
    total = module(X)[0].sum()
    total.backward()
    total.backward()


def _retained(module):
    total = module(X)[0].sum()
    for _ in range(2):
        total.backward(retain_graph=True)
    total.backward()
    return module.weight_hh_l0.grad


def _through_time(module):
    """Pass on states that are still in the graph of the last backward pass."""
    y, states = module(X)
    y.sum().backward()
    module(X, states)[0].sum().backward()


def _checkpointed(reentrant):
    def check(module):
        x = X.clone().requires_grad_()
        results = checkpoint(module, x, use_reentrant=reentrant)
        return gradients(module, results) | {"x": x.grad}

    return check


def _saved_on_cpu(module):
    with torch.autograd.graph.save_on_cpu():
        results = module(X)
    return gradients(module, results)


def _frozen(*names):
    def check(module):
        for name in names:
            getattr(module, name).requires_grad_(False)
        x = X.clone().requires_grad_()
        grads = gradients(module, module(x)) | {"x": x.grad}
        assert all(grads[name] is None for name in names)
        return {name: value for name, value in grads.items() if value is not None}

    return check


def _tied(module):
    module.weight_hh_l1 = module.weight_hh_l0
    module.bias_hh_l0 = module.bias_ih_l0
    return gradients(module)


def _strided(module):
    with torch.no_grad():
        module.weight_hh_l0.set_(module.weight_hh_l0.t().contiguous().t())
    return gradients(module)


def _as_one_vector(module):
    vector = nn.utils.parameters_to_vector(module.parameters())
    nn.utils.vector_to_parameters(vector * 0.5, module.parameters())
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    return gradients(module)


@KINDS
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(_changed_in_place("input"), id="changed input"),
        pytest.param(_changed_in_place("weight"), id="changed weight"),
        pytest.param(_changed_in_place("states"), id="changed states"),
        pytest.param(_twice, id="backward twice"),
        pytest.param(_retained, id="retained graph"),
        pytest.param(_through_time, id="states of a freed graph"),
        pytest.param(_checkpointed(True), id="reentrant checkpoint"),
        pytest.param(_checkpointed(False), id="checkpoint"),
        pytest.param(_saved_on_cpu, id="saved on the CPU"),
        pytest.param(_frozen("weight_ih_l0", "weight_hh_l1"), id="frozen weights"),
        pytest.param(_frozen("bias_ih_l0"), id="frozen bias"),
        pytest.param(_tied, id="tied weights"),
        pytest.param(_strided, id="weights of other strides"),
        pytest.param(_as_one_vector, id="parameters as one vector"),
    ],
)
def test_autograd_is_the_same(kind, check):
    (mine, _), (expected, _) = (outcome(check, module) for module in pair(kind, 3, 5, 2))
    if isinstance(expected, str):  # messages of autograd name the operator
        assert mine[:60] == expected[:60]
    else:
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("vectorize", [False, True])
def test_a_hessian_is_that_of_torch(vectorize):
    ours, theirs = pair()

    def total(module):
        return lambda x: module(x)[0].square().sum()

    hessian, expected = (
        torch.autograd.functional.hessian(total(module), X[:2, :1], vectorize=vectorize and module is ours)
        for module in (ours, theirs)
    )
    torch.testing.assert_close(hessian, expected)
    torch.testing.assert_close(torch.func.hessian(total(ours))(X[:2, :1]), expected)


# --- training and compilers


@KINDS
def test_training_takes_the_same_steps(kind):
    def train(module):
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        for _ in range(4):
            optimizer.zero_grad()
            module(X)[0].sub(0.5).square().mean().backward()
            optimizer.step()
        return module.state_dict()

    assert_same(train, kind, 3, 5, 2, atol=1e-4)


@KINDS
def test_a_module_is_compiled_in_place(kind):
    def check(module):
        module.compile(backend="eager")
        return gradients(module)

    assert_same(check, kind, atol=1e-5)


@KINDS
def test_an_exported_program_computes_the_same(kind):
    def check(module):
        with torch.no_grad():
            return tensors_of(torch.export.export(module.eval(), (X,), strict=False).module()(X))

    assert_same(check, kind)
