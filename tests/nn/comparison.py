"""Modules of scanline.nn and torch.nn with equal weights, and the comparison of their results."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

import scanline.nn

WARNINGS_OF_TORCH = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN",
    "ignore:.*weight_norm.*:FutureWarning",
    "ignore::DeprecationWarning",  # torch deprecates jit
    "ignore::torch.jit.TracerWarning",
)
KINDS = pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))  # (T, N, F)


def pair(kind="LSTM", *arguments, **options):
    """Return scanline.nn's and torch.nn's module, each made with the same seed."""
    modules = []
    for source in (scanline.nn, nn):
        torch.manual_seed(0)
        modules.append(getattr(source, kind)(*arguments or (3, 5), **options))
    return modules


def outcome(function, *arguments, **options):
    """Return the result of a call, or the type and message of its error, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*arguments, **options)
        except Exception as error:  # noqa: BLE001  # any error is an outcome
            result = f"{type(error).__name__}: {error}"
    return result, [(warning.category, str(warning.message)) for warning in caught]


def assert_same(check, kind="LSTM", *arguments, atol=2e-6, **options):
    """Assert that `check` returns equal values for both modules, or raises equal errors."""
    (mine, _), (expected, _) = (outcome(check, module) for module in pair(kind, *arguments, **options))
    if isinstance(expected, str) or isinstance(mine, str):
        assert mine == expected
    else:
        torch.testing.assert_close(mine, expected, atol=atol, rtol=1e-5)


def tensors_of(results):
    """Return the tensors of a module's results."""
    output, states = results
    output = output.data if isinstance(output, rnn.PackedSequence) else output
    return [output, *([states] if isinstance(states, torch.Tensor) else states)]


def gradients(module, results=None):
    """Return the gradients by all parameters after a backward pass through the results."""
    sum(result.square().sum() for result in tensors_of(results or module(X))).backward()
    return {name: weight.grad for name, weight in module.named_parameters()}
