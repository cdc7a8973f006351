"""The value that flows through the house, its batches and its parts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from scanline.data.batches import BatchOrder, gather
from scanline.data.sequences import Sequences, from_padded, full_length
from scanline.data.splits import stratified
from scanline.data.views import cut_steps
from scanline.errors import DataError, UsageError
from tests.conftest import make_sequences


def build(values=None, lengths=(2, 1), labels=(0, 1)) -> Sequences:
    values = np.zeros((2, 2, 3), np.float32) if values is None else values
    return from_padded(values, np.array(lengths), np.array(labels), ("no", "yes"), "test.ts")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((2, 3), np.float32)}, "expected values of shape (sequences, steps, features)"),
        ({"values": np.zeros((2, 0, 3), np.float32)}, "found (2, 0, 3)"),
        ({"values": np.zeros((2, 2, 3))}, "expected uint8 or float32 values, found float64"),
        ({"lengths": (1, 2, 1)}, "2 sequences need 2 lengths, found shape (3,)"),
        ({"labels": (1,)}, "2 sequences need 2 labels, found shape (1,)"),
        ({"lengths": (2, 0)}, "sequence 1 has length 0, expected 1 to 2"),
        ({"lengths": (3, 1)}, "sequence 0 has length 3, expected 1 to 2"),
        ({"labels": (0, 2)}, "sequence 1 has label 2, expected 0 to 1"),
        ({"labels": (-1, 2)}, "sequence 0 has label -1, expected 0 to 1 (2 of 2 are out of range)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        build(**change)


def test_equal_data_has_an_equal_digest_and_a_changed_value_another():
    changed = np.zeros((2, 2, 3), np.float32)
    changed[0, 1, 2] = 1
    assert build().digest() == build().digest()
    assert len({build().digest(), build(values=changed).digest(), build(lengths=(2, 2)).digest()}) == 3


def test_what_stands_in_the_padding_is_dropped():
    padded = np.zeros((2, 2, 3), np.float32)
    padded[1, 1] = np.nan
    assert build(values=padded).digest() == build().digest()
    assert build(values=padded).values[1, 1].tolist() == [0, 0, 0]


def test_a_batch_is_as_long_as_its_longest_sequence():
    batch = gather(build(lengths=(1, 1)), np.array([1, 0]))
    assert batch.values.shape == (2, 1, 3)
    assert batch.lengths is None


def test_a_batch_of_different_lengths_tells_them():
    assert gather(build(), np.array([1, 0])).lengths.tolist() == [1, 2]


def test_every_epoch_shows_every_sequence_once_across_batch_borders():
    order = BatchOrder(count=10, batch_size=4, seed=3)
    stream = np.concatenate([order.at(step) for step in range(5)])
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert list(stream[:10]) != list(stream[10:])


def test_the_order_of_a_step_depends_on_the_seed_and_the_step_alone():
    walked, jumped = BatchOrder(10, 4, 3), BatchOrder(10, 4, 3)
    for step in range(8):
        walked.at(step)
    assert walked.at(8).tolist() == jumped.at(8).tolist()
    assert walked.at(0).tolist() != BatchOrder(10, 4, 4).at(0).tolist()


def test_a_batch_larger_than_the_data_spans_epochs():
    assert np.bincount(BatchOrder(3, 8, 0).at(0)).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_a_stratified_split_keeps_proportions_and_loses_nothing():
    labels = np.array([0] * 80 + [1] * 20)
    kept, held = stratified(full_length(np.zeros((100, 1, 1), np.uint8), labels, (0, 1), "x"), 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(100))
    assert np.bincount(labels[held]).tolist() == [8, 2]


def test_a_class_of_one_cannot_be_split():
    three = full_length(np.zeros((3, 1, 1), np.uint8), np.array([0, 0, 1]), ("cat", "dog"), "x")
    with pytest.raises(DataError, match="class dog has a single sequence"):
        stratified(three, 0.3, seed=0)


def test_steps_are_cut_in_reading_order():
    values = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    cut = cut_steps(full_length(values, np.array([0]), (0,), "x"), 3)
    assert cut.values.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]]
    assert cut.lengths.tolist() == [4]


def test_steps_that_do_not_come_out_even_are_refused():
    with pytest.raises(UsageError, match=r"must divide the 15 values \(5 steps of 3\).* got 4"):
        cut_steps(make_sequences(), 4)


def test_sequences_of_different_lengths_are_cut_each_by_itself():
    ragged = Sequences(np.arange(6, dtype=np.float32)[:, None], np.array([4, 2]), np.zeros(2, int), (0,), "x")
    cut = cut_steps(ragged, 2)
    assert cut.lengths.tolist() == [2, 1]
    assert cut.flat.tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(UsageError, match=r"must divide the 2 values \(2 steps of 1\).* got 4"):
        cut_steps(ragged, 4)
