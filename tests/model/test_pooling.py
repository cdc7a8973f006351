"""Pooling of whole sequences, prefixes and streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from scanline.errors import UsageError
from scanline.model import pooling

NAMES = ("last", "mean", "max", "last-step")
# One sequence of 2 steps of 2 units, padded to 3.
OUTPUTS = torch.tensor([[[1.0, 2.0], [3.0, -4.0], [0.0, 0.0]]])
LENGTH = torch.tensor([2])


def test_last_is_the_forward_state_at_the_end_and_the_backward_state_at_the_start():
    last = pooling.get("last")
    assert last.apply(OUTPUTS, LENGTH, 1).tolist() == [[3, -4]]
    assert last.apply(OUTPUTS, LENGTH, 2).tolist() == [[3, 2]]
    assert last.apply(OUTPUTS, None, 1).tolist() == [[0, 0]]
    assert last.apply(OUTPUTS, LENGTH, 1, OUTPUTS[:, 0]).tolist() == [[1, 2]]  # states, where known


def test_last_step_is_both_directions_at_the_sequences_own_last_step():
    last = pooling.get("last-step")
    assert last.apply(OUTPUTS, LENGTH, 2, OUTPUTS[:, 0]).tolist() == [[3, -4]]
    assert last.apply(OUTPUTS, None, 2).tolist() == [[0, 0]]


def test_mean_counts_the_sequences_own_steps_only():
    mean = pooling.get("mean")
    assert mean.apply(OUTPUTS, LENGTH, 1).tolist() == [[2, -1]]
    assert mean.apply(OUTPUTS, None, 1)[0].tolist() == pytest.approx([4 / 3, -2 / 3])


def test_mean_adds_in_float64():
    outputs = torch.full((1, 3, 1), 2.0**24)
    outputs[0, 1:] = 1  # lost in float32, where 2**24 + 1 is 2**24
    assert pooling.get("mean").apply(outputs, None, 1).item() == np.float32((2**24 + 2) / 3)


def test_max_ignores_the_padding():
    assert pooling.get("max").apply(-OUTPUTS - 5, LENGTH, 1).tolist() == [[-6, -1]]


def test_an_unknown_name_is_refused_with_the_legal_ones():
    with pytest.raises(
        UsageError,
        match="must be one of last, mean, max, last-step, every-step, got 'men'; did you mean 'mean'",
    ):
        pooling.get("men")


@pytest.mark.parametrize("name", NAMES)
def test_along_pools_every_prefix(name):
    how, outputs = pooling.get(name), torch.randn(2, 6, 3)
    along = how.along(outputs.double())
    for step in range(6):
        whole = how.apply(outputs[:, : step + 1], None, 1)
        torch.testing.assert_close(along[:, step].float(), whole)


@pytest.mark.parametrize(("name", "cuts"), list(itertools.product(NAMES, [(1,) * 6, (2, 4), (6,)])))
def test_a_stream_pools_every_prefix_however_it_is_cut(name, cuts):
    how, outputs = pooling.get(name), torch.randn(2, 6, 3)
    state, pooled, start = how.start(2, 3), [], 0
    for size in cuts:
        counts = np.tile(np.arange(start + 1, start + size + 1), (2, 1))
        pooled.append(how.step(state, outputs[:, start : start + size].numpy(), counts, None))
        start += size
    along = how.along(outputs.double()).float()
    torch.testing.assert_close(torch.from_numpy(np.concatenate(pooled, 1)), along)


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_do_not_exist_leave_a_stream_as_it_is(name):
    how, outputs = pooling.get(name), np.random.default_rng(0).normal(size=(1, 3, 2)).astype(np.float32)
    real = np.array([[[True], [True], [False]]])
    short, long = how.start(1, 2), how.start(1, 2)
    how.step(short, outputs[:, :2], np.array([[1, 2]]), None)
    how.step(long, outputs, np.array([[1, 2, 3]]), real)
    assert all(np.array_equal(short[key], long[key]) for key in short)
