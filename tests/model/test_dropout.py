"""Dropout, and random numbers that do not depend on how a batch is divided."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from scanline.model.dropout import BatchDraws, PartDraws, dropout
from scanline.training.tree import bounds

N, T, WIDTHS = 11, 6, (3, 5, 3)


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def whole(dtype=torch.float32):
    """Return the numbers of each draw for a batch that is not divided."""
    draws = generator()
    return [torch.rand(N, T, width, generator=draws, dtype=dtype) for width in WIDTHS]


def like(sequences, width, steps=T, dtype=torch.float32):
    return torch.empty(sequences, steps, width, dtype=dtype)


def part(batch, first, end):
    """Return the numbers of all draws for the sequences first to end - 1."""
    draws = batch.part(first)
    return [draws.uniform(like(end - first, width)) for width in WIDTHS]


@pytest.mark.parametrize("slices", [1, 2, 4, 11])
def test_parts_have_the_numbers_of_the_whole_batch(slices):
    batch = BatchDraws(generator(), N, T)
    for index in range(slices):
        first, end = bounds(N, slices, index)
        for found, expected in zip(part(batch, first, end), whole(), strict=True):
            assert torch.equal(found, expected[first:end])


def test_parts_have_the_same_numbers_in_any_order_and_draw_by_draw():
    batch = BatchDraws(generator(), N, T)
    ahead, behind = batch.part(5), batch.part(0)
    found = [ahead.uniform(like(6, width)) for width in WIDTHS[:2]]
    found.append(behind.uniform(like(5, WIDTHS[0])))
    found.append(ahead.uniform(like(6, WIDTHS[2])))
    first, second, third = whole()
    for value, expected in zip(found, (first[5:], second[5:], first[:5], third[5:]), strict=True):
        assert torch.equal(value, expected)


def test_parts_computed_on_several_threads_have_the_numbers_of_the_whole_batch():
    # Drawing takes long enough for other threads to ask for the same numbers meanwhile.
    steps, slices, widths = 2000, 4, (16, 8, 12, 16, 4)
    source = generator()
    expected = [torch.rand(N, steps, width, generator=source) for width in widths]
    batch, barrier = BatchDraws(generator(), N, steps), threading.Barrier(slices)

    def compute(index):
        first, end = bounds(N, slices, index)
        own = batch.part(first)
        found = []
        for width in widths:
            barrier.wait()
            found.append(own.uniform(like(end - first, width, steps)))
        return found

    with ThreadPoolExecutor(slices) as pool:
        parts = list(pool.map(compute, range(slices)))
    for index, whole_draw in enumerate(expected):
        assert torch.equal(torch.cat([found[index] for found in parts]), whole_draw)


def test_a_part_of_fewer_steps_has_the_first_steps_of_its_numbers():
    found = BatchDraws(generator(), N, T).part(4).uniform(like(2, WIDTHS[0], steps=4))
    assert torch.equal(found, whole()[0][4:6, :4])


def test_numbers_have_the_dtype_of_the_values():
    found = BatchDraws(generator(), N, T).part(0).uniform(like(N, WIDTHS[0], dtype=torch.float64))
    assert torch.equal(found, whole(torch.float64)[0])


def test_dropout_of_parts_is_that_of_the_whole_batch():
    values = torch.randn(N, T, 4, generator=generator(1))
    expected = dropout(values, 0.4, generator())
    batch = BatchDraws(generator(), N, T)
    found = [dropout(values[first:end], 0.4, batch.part(first)) for first, end in ((0, 3), (3, 4), (4, N))]
    assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize("divided", [False, True])
def test_dropout_sets_a_fraction_to_zero_and_keeps_the_expected_value(divided):
    values = torch.ones(200, 10, 10)
    draws: torch.Generator | PartDraws = generator()
    if divided:
        draws = BatchDraws(generator(), 200, 10).part(0)
    result = dropout(values, 0.25, draws)
    assert result.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (result == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert result.mean().item() == pytest.approx(1, abs=0.02)


def test_dropout_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    dropout(torch.ones(2, 3, 4), 0.5, BatchDraws(generator(), 2, 3).part(0))
    dropout(torch.ones(2, 3, 4), 0.5, generator())
    assert torch.equal(torch.get_rng_state(), before)
