"""Checks of torch's own tests, run on both libraries: dropout, invalid inputs, packed sequences."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

from scanline.kernels import library
from tests.nn.comparison import KINDS, WARNINGS_OF_TORCH, X, assert_same, gradients, pair, tensors_of

pytestmark = WARNINGS_OF_TORCH
SORTED = rnn.pack_padded_sequence(X, [5, 4, 2, 1])
UNSORTED = rnn.pack_padded_sequence(X, [2, 5, 1, 4], enforce_sorted=False)


# --- dropout


@KINDS
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True}, {"bidirectional": True, "num_layers": 3}, {"bias": False}],
    ids=str,
)
@pytest.mark.parametrize("packed", [None, SORTED, UNSORTED], ids=["padded", "packed", "unsorted"])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
def test_the_same_seed_drops_the_same_units(kind, options, packed, dropout):
    def check(module):
        torch.manual_seed(7)
        results = module(X if packed is None else packed)
        return [*tensors_of(results), gradients(module, results)]

    assert_same(check, kind, 3, 5, atol=1e-5, **{"num_layers": 2, "dropout": dropout} | options)


@KINDS
def test_dropout_can_be_changed_after_construction(kind):
    def check(module):
        results = []
        for dropout in (0.0, 0.5, 0.0, 0.7, 1.0):
            for training in (True, False):
                module.dropout = dropout
                torch.manual_seed(3)
                results.append(module.train(training)(X)[0].detach())
        return results

    assert_same(check, kind, 3, 5, 2)


# --- invalid inputs


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("kind", "projection"), [("LSTM", 0), ("LSTM", 2), ("GRU", 0), ("RNN", 0)])
def test_states_of_a_wrong_size_raise_the_same_error(kind, axis, projection):
    for wrong in ("h", "c") if kind == "LSTM" else ("h",):
        shapes = {"h": [2, 4, projection or 5], "c": [2, 4, 5]}
        shapes[wrong][axis] = 7
        h, c = (torch.zeros(shapes[name]) for name in "hc")
        hx = (h, c) if kind == "LSTM" else h
        options = {"proj_size": projection} if projection else {}
        assert_same(lambda module, hx=hx: tensors_of(module(X, hx)), kind, 3, 5, 2, **options)


@KINDS
@pytest.mark.parametrize(
    "call",
    [
        lambda module: module(X.to("meta"))[0],
        lambda module: module.to("meta")(X)[0],
        lambda module: module(X, _states(module, device="meta"))[0],
        lambda module: module(X, _states(module, dtype=torch.float64))[0],
        lambda module: module(X.half())[0],
        lambda module: module(X.long())[0],
        lambda module: module(X + 0j)[0],
        lambda module: module.to(torch.complex64)(X + 0j)[0].detach(),
        lambda module: module(X.tolist())[0],
        lambda module: module(None)[0],
        lambda module: module(X, "ab")[0],
        lambda module: module(X, (None, None))[0],
        lambda module: module(X, torch.zeros(1, 4, 5))[0],
        lambda module: module(X, (torch.zeros(1, 4, 5),))[0],
    ],
    ids=[
        "input elsewhere", "weights elsewhere", "states elsewhere", "states of another dtype", "half",
        "whole numbers", "complex input", "complex", "list", "None", "string as states", "no states",
        "one state", "tuple of one state",
    ],
)  # fmt: skip
def test_invalid_arguments_raise_the_same_error(kind, call):
    assert_same(call, kind)


@KINDS
@pytest.mark.parametrize(
    "call",
    [
        lambda module: module(SORTED, _states(module, sequences=1)),
        lambda module: module(rnn.pack_padded_sequence(X[..., 0], [5, 4, 2, 1])),
    ],
    ids=["states of one", "numbers"],
)
def test_invalid_packed_sequences_are_refused(kind, call):
    for module in pair(kind):
        with pytest.raises(RuntimeError):
            call(module)


def _states(module, sequences=4, **options):
    """Return zero states as the module expects them."""
    h = torch.zeros(1, sequences, 5, **options)
    return (h, h.clone()) if isinstance(module, nn.LSTM) else h


def test_arguments_are_accepted_by_name():
    assert_same(lambda module: tensors_of(module(input=X, hx=_states(module))))


@KINDS
def test_an_empty_batch_has_gradients_of_zero(kind):
    def check(module):
        results = module(X[:, :0])
        return [*tensors_of(results), gradients(module, results)]

    assert_same(check, kind)


# --- packed sequences


@KINDS
@pytest.mark.parametrize("packed", [SORTED, UNSORTED], ids=["sorted", "unsorted"])
def test_torchs_functions_read_packed_outputs(kind, packed):
    def check(module):
        y, _ = module(packed)
        padded, lengths = rnn.pad_packed_sequence(y, total_length=8, padding_value=-1.0)
        halves = y.to(torch.float64)
        assert y.to(torch.float32) is y
        return [
            padded, lengths, *rnn.unpack_sequence(y), *rnn.unpad_sequence(padded, lengths), halves.data,
            y.batch_sizes, *([] if y.sorted_indices is None else [y.sorted_indices, y.unsorted_indices]),
        ]  # fmt: skip

    assert_same(check, kind)


@KINDS
def test_a_traced_module_reads_packed_sequences_of_other_lengths(kind):
    class PackedReader(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x, lengths):
            packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            return rnn.pad_packed_sequence(self.module(packed)[0])[0]

    def check(module):
        traced = torch.jit.trace(PackedReader(module), (X, torch.tensor([5, 4, 2, 1])))
        return traced(torch.cat([X, X]), torch.tensor([1, 10, 3, 4]))

    assert_same(check, kind)


# --- a difference from torch


@pytest.mark.skipif(library.load() is None, reason="no native library")
@pytest.mark.parametrize("steps", ["input", "lengths"])
def test_sequences_of_no_steps_are_accepted_where_torch_refuses_them(steps):
    """One of the differences that docs/python.md lists."""
    ours, theirs = pair()
    with pytest.raises(RuntimeError, match=r"[Ll]ength"):
        theirs(X[:0] if steps == "input" else rnn.pack_padded_sequence(X, [5, 2, 1, 0]))
    h = torch.ones(1, 4, 5)
    y, (last, _) = ours(X[:0], (h, h)) if steps == "input" else ours(X, (h, h), torch.zeros(4))
    assert not y.any()
    assert torch.equal(last, h)
