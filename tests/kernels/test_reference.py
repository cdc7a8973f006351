"""The reference against torch's own modules, and with lengths against each sequence alone."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from scanline import cells
from scanline.cells import Weights
from scanline.kernels import reference

F, H, N, T = 3, 5, 4, 6
TORCH = {
    "lstm": (nn.LSTM, cells.lstm.CELL),
    "lstm projected": (functools.partial(nn.LSTM, proj_size=2), cells.lstm.PROJECTED),
    "gru": (nn.GRU, cells.gru.CELL),
    "rnn": (nn.RNN, cells.rnn.CELL),
}
NAMES = pytest.mark.parametrize("name", TORCH)
REVERSE = pytest.mark.parametrize("reverse", [False, True])
LENGTHS = torch.tensor([6, 1, 3, 0])


def make(name):
    """(torch's module, cell, x, states, weights) in float64, all leaves."""
    torch.manual_seed(0)
    module, cell = TORCH[name]
    theirs = module(F, H, batch_first=True).double()
    weights = Weights(*(weight.detach().clone().requires_grad_() for weight in theirs.parameters()))
    x = torch.randn(N, T, F).double().requires_grad_()
    widths = weights.state_widths(len(cell.states))
    states = tuple(torch.randn(N, width).double().requires_grad_() for width in widths)
    return theirs, cell, x, states, weights


@NAMES
def test_it_is_torchs(name):
    theirs, cell, x, states, weights = make(name)
    y, last = reference.scan(cell, x, states, weights)
    given = tuple(state[None] for state in states)
    expected, final = theirs(x, given if len(given) > 1 else given[0])
    torch.testing.assert_close(y, expected)
    for state, want in zip(last, final if len(given) > 1 else [final], strict=True):
        torch.testing.assert_close(state, want[0])


@NAMES
@REVERSE
def test_with_lengths_every_sequence_is_as_if_it_were_alone(name, reverse):
    _, cell, x, states, weights = make(name)
    padded = x.detach().masked_fill(torch.arange(T)[None, :, None] >= LENGTHS[:, None, None], torch.nan)
    y, last = reference.scan(cell, padded, states, weights, LENGTHS, reverse)
    for n in range(3):
        own = tuple(state[n : n + 1] for state in states)
        alone, final = reference.scan(cell, x[n : n + 1, : LENGTHS[n]], own, weights, None, reverse)
        torch.testing.assert_close(y[n, : LENGTHS[n]], alone[0])
        assert not y[n, LENGTHS[n] :].any()
        for state, want in zip(last, final, strict=True):
            torch.testing.assert_close(state[n], want[0])
    assert not y[3].any()
    for state, initial in zip(last, states, strict=True):
        assert torch.equal(state[3], initial[3])


@NAMES
@REVERSE
def test_padding_has_no_gradient(name, reverse):
    _, cell, x, states, weights = make(name)
    y, last = reference.scan(cell, x, states, weights, LENGTHS, reverse)
    (y.sum() + sum(state.sum() for state in last)).backward()
    outside = torch.arange(T) >= LENGTHS[:, None]
    assert not x.grad[outside].any()
    assert all(weight.grad.isfinite().all() for weight in weights[: len(cell.weights)])


@NAMES
def test_no_steps_and_no_sequences(name):
    _, cell, x, states, weights = make(name)
    y, last = reference.scan(cell, x[:, :0], states, weights)
    assert y.shape == (N, 0, states[0].shape[1])
    assert all(map(torch.equal, last, states))
    y, last = reference.scan(cell, x[:0], None, weights)
    assert y.shape == (0, T, states[0].shape[1])
    assert last[-1].shape == (0, H)
