"""The order in which training visits the sequences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.order import BatchOrder


def test_every_epoch_shows_every_sequence_once_across_batch_borders():
    order = BatchOrder(count=10, batch_size=4, seed=3)
    stream = np.concatenate([order.at(step) for step in range(5)])
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert list(stream[:10]) != list(stream[10:])


@pytest.mark.parametrize("bucket", [0, 2])
def test_the_order_of_a_step_depends_on_the_seed_and_the_step_alone(bucket):
    lengths = np.arange(10) + 1
    walked, jumped, other = (BatchOrder(10, 4, seed, bucket, lengths) for seed in (3, 3, 4))
    for step in range(8):
        walked.at(step)
    assert walked.at(8).tolist() == jumped.at(8).tolist()
    assert walked.at(0).tolist() != other.at(0).tolist()


def test_a_batch_larger_than_the_data_spans_epochs():
    assert np.bincount(BatchOrder(3, 8, 0).at(0)).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


@pytest.mark.parametrize("bucket", [0, 1])
def test_lengths_do_not_change_the_order_without_a_bucket(bucket):
    plain, told = BatchOrder(10, 4, 3), BatchOrder(10, 4, 3, bucket, np.arange(10) + 1)
    assert [plain.at(step).tolist() for step in range(5)] == [told.at(step).tolist() for step in range(5)]


def test_a_bucket_of_all_batches_puts_neighbours_in_length_together():
    lengths = np.array([3, 12, 1, 9, 10, 2, 11, 4])  # in order: 2 5 0 7 3 4 6 1
    order = BatchOrder(8, 4, 0, bucket=2, lengths=lengths)
    for epoch in range(20):
        batches = {frozenset(order.at(2 * epoch + half).tolist()) for half in (0, 1)}
        assert batches == {frozenset({2, 5, 0, 7}), frozenset({3, 4, 6, 1})}


def test_short_batches_come_first_as_often_as_last():
    order = BatchOrder(64, 4, 0, bucket=16, lengths=np.arange(64) + 1)
    shortest = [min(range(16), key=lambda step: order.at(16 * epoch + step).min()) for epoch in range(200)]
    assert set(shortest) == set(range(16))
    assert abs(np.mean(shortest) - 7.5) < 1.5


def test_who_travels_with_whom_changes_from_epoch_to_epoch():
    order = BatchOrder(64, 4, 0, bucket=4, lengths=np.arange(64) // 8 + 1)
    epochs = [{frozenset(order.at(16 * epoch + step).tolist()) for step in range(16)} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) < 8


orders = st.tuples(
    st.integers(1, 40),  # sequences
    st.integers(1, 12),  # a batch
    st.integers(0, 6),  # batches a bucket
    st.integers(0, 2**63),
)


@settings(deadline=None)
@given(which=orders)
def test_any_bucket_shows_every_sequence_once_an_epoch(which):
    """Also where the data are smaller than a bucket, or than a batch, and where batches span epochs."""
    count, batch_size, bucket, seed = which
    lengths = np.random.default_rng(seed).integers(1, 30, count)
    order = BatchOrder(count, batch_size, seed, bucket, lengths)
    epochs = 4
    batches = [order.at(step) for step in range(-(-epochs * count // batch_size))]
    assert {len(batch) for batch in batches} == {batch_size}
    stream = np.concatenate(batches)[: epochs * count].reshape(epochs, count)
    assert (np.sort(stream) == np.arange(count)).all()


@settings(deadline=None)
@given(which=orders, steps=st.lists(st.integers(0, 500), min_size=1, max_size=8))
def test_any_step_is_the_same_in_whatever_order_it_is_asked_for(which, steps):
    count, batch_size, bucket, seed = which
    lengths = np.random.default_rng(seed).integers(1, 30, count)
    one = BatchOrder(count, batch_size, seed, bucket, lengths)
    for step in steps:
        alone = BatchOrder(count, batch_size, seed, bucket, lengths).at(step)
        assert one.at(step).tolist() == alone.tolist()


@settings(deadline=None)
@given(count=st.integers(1, 60), batch_size=st.integers(1, 12), seed=st.integers(0, 2**63))
def test_within_a_bucket_no_batch_reaches_into_the_lengths_of_another(count, batch_size, seed):
    """A bucket as large as an epoch: its whole batches, in order of length, do not overlap."""
    lengths = np.random.default_rng(seed).permutation(count) + 1
    order = BatchOrder(count, batch_size, seed, bucket=1000, lengths=lengths)
    for epoch in range(3):
        first, last = -(-epoch * count // batch_size), (epoch + 1) * count // batch_size
        whole = [lengths[order.at(step)] for step in range(first, last)]  # of this epoch alone
        whole.sort(key=min)
        assert all(one.max() < two.min() for one, two in itertools.pairwise(whole))


def test_a_bucket_saves_most_of_the_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 960)

    def steps(bucket):
        order = BatchOrder(960, 16, 0, bucket, lengths)
        return sum(16 * lengths[order.at(step)].max() for step in range(120)) / (2 * lengths.sum())

    assert steps(0) > 1.75  # the longest of 16 of 1..99 is near 94, their mean 50
    assert steps(20) < 1.15
