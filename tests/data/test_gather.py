"""Batches gathered from a source in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanline.data.memory import MemorySource


def ragged(lengths=(2, 1), dtype=np.float32) -> MemorySource:
    """Sequence i holds i, i + 0.1, ... in its steps."""
    flat = np.concatenate([index + np.arange(length) / 10 for index, length in enumerate(lengths)])
    labels = np.arange(len(lengths)) % 2
    return MemorySource(flat[:, None].astype(dtype), np.array(lengths), labels, ("no", "yes"), "x")


def test_a_batch_is_as_long_as_its_longest_sequence():
    batch = ragged((1, 9, 2)).gather(np.array([2, 0]))
    np.testing.assert_allclose(batch.values[:, :, 0], [[2, 2.1], [0, 0]])
    assert batch.lengths.tolist() == [2, 1]
    assert batch.targets.tolist() == [0, 0]
    assert batch.weights is None


def test_a_batch_of_one_length_tells_none():
    batch = ragged((1, 1, 5)).gather(np.array([1, 0]))
    assert batch.values.shape == (2, 1, 1)
    assert batch.lengths is None


def test_the_padding_of_a_batch_is_0_whatever_was_padded_with_before():
    padded = np.full((2, 3, 1), np.nan, np.float32)
    padded[0, :2], padded[1, :1] = 5, 6
    part = MemorySource.from_padded(padded, np.array([2, 1]), np.array([0, 1]), (0, 1), "x")
    assert part.gather(np.array([1, 0])).values[:, :, 0].tolist() == [[6, 0], [5, 5]]


def test_a_batch_may_hold_a_sequence_twice():
    assert ragged((2, 1)).gather(np.array([1, 1, 1])).values.ravel().tolist() == [1, 1, 1]


def test_the_weights_of_a_batch_are_those_of_its_sequences():
    weights = np.array([0.5, 1, 1.5], np.float32)
    assert replace(ragged((1, 2, 3)), weights=weights).gather(np.array([2, 0])).weights.tolist() == [1.5, 0.5]


def test_bytes_stay_bytes():
    values = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    pictures = MemorySource.from_array(values, np.array([0, 1]), (0, 1), "x")
    batch = pictures.gather(np.array([1]))
    assert batch.values.dtype == np.uint8
    assert batch.values.tolist() == [[[6, 7], [8, 9], [10, 11]]]


def test_one_long_sequence_makes_only_its_own_batches_long():
    lengths = (1_000_000, *[1] * 10_000)
    part = MemorySource(
        np.zeros((sum(lengths), 1), np.float32),
        np.array(lengths),
        np.zeros(len(lengths), np.int64),
        (0,),
        "x",
    )  # padded as a whole it would take 40 GB
    assert part.gather(np.array([5, 9, 70])).values.shape == (3, 1, 1)
    assert part.gather(np.array([5, 0])).values.shape == (2, 1_000_000, 1)


@pytest.mark.parametrize("lengths", [(2, 1, 3), (2, 2, 2)])
def test_a_batch_is_gathered_into_the_memory_that_is_given(lengths):
    source, indices = ragged(lengths), np.array([1, 0])
    out = np.full(20, np.nan, np.float32)
    batch = source.gather(indices, out)
    assert np.shares_memory(batch.values, out)
    np.testing.assert_array_equal(batch.values, source.gather(indices).values)
    assert np.isnan(out[batch.values.size :]).all()
