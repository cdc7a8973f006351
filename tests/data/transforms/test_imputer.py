"""Imputation of missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.transforms.imputer import Imputer, feature_means

NAN = np.nan


def sequences(flat, lengths) -> MemorySource:
    values, n = np.array(flat, np.float32), len(lengths)
    return MemorySource(values, np.array(lengths), np.zeros(n, np.int64), (0,), "x")


def carried(source):
    return Imputer("forward-fill").carry(source)


def fill(source, means):
    return Imputer("mean", means).fill(source)


# Two sequences of three and two steps.
HOLES = [[1, NAN], [NAN, 20], [3, NAN], [NAN, NAN], [5, 50]]


def test_a_missing_value_becomes_the_last_one_of_its_sequence_and_feature():
    found = carried(sequences(HOLES, [3, 2]))
    np.testing.assert_array_equal(found.concatenated, [[1, NAN], [1, 20], [3, 20], [NAN, NAN], [5, 50]])
    assert found.concatenated.dtype == np.float32
    assert found.lengths.tolist() == [3, 2]


def test_what_has_nothing_before_it_takes_what_is_given():
    found = fill(carried(sequences(HOLES, [3, 2])), (7.0, 8.0))
    assert found.concatenated.tolist() == [[1, 8], [1, 20], [3, 20], [7, 8], [5, 50]]
    assert found.concatenated.dtype == np.float32


def test_a_gap_of_several_steps_is_filled_to_its_end():
    assert carried(sequences([[4], [NAN], [NAN], [NAN]], [4])).concatenated.ravel().tolist() == [4, 4, 4, 4]


def test_a_sequence_of_one_missing_step_stays_missing_between_two_that_are_whole():
    found = carried(sequences([[1], [NAN], [3]], [1, 1, 1]))
    np.testing.assert_array_equal(found.concatenated.ravel(), [1, NAN, 3])


def test_a_step_never_looks_ahead():
    """What follows a step changes nothing in it."""
    early = [[NAN], [2], [NAN]]
    one = carried(sequences([*early, [5], [6]], [5])).concatenated[:3]
    other = carried(sequences([*early, [NAN], [-1]], [5])).concatenated[:3]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", [carried, lambda given: fill(given, (0.0, 0.0))])
def test_what_was_given_is_left_as_it_was(change):
    given = sequences(HOLES, [3, 2])
    change(given)
    np.testing.assert_array_equal(given.concatenated, np.array(HOLES, np.float32))


@pytest.mark.parametrize("change", [carried, lambda given: fill(given, (1.0,))])
def test_what_lacks_nothing_is_not_copied(change):
    whole = sequences([[1], [2]], [2])
    assert change(whole) is whole
    bytes_ = MemorySource(np.ones((2, 1), np.uint8), np.array([2]), np.zeros(1, np.int64), (0,), "x")
    assert change(bytes_) is bytes_


def test_the_means_are_those_of_the_steps_that_have_the_feature():
    assert feature_means(sequences(HOLES, [3, 2])) == ((1 + 3 + 5) / 3, (20 + 50) / 2)


def test_long_sequences_count_by_their_steps():
    assert feature_means(sequences([[1], [2], [3], [10]], [3, 1])) == (4.0,)


def test_a_feature_that_is_always_missing_has_the_mean_0():
    assert feature_means(sequences([[NAN, 1], [NAN, 2]], [2])) == (0.0, 1.5)


def test_the_mean_of_bytes_is_no_byte():
    part = MemorySource(np.array([[255], [254]], np.uint8), np.array([2]), np.zeros(1, np.int64), (0,), "x")
    assert feature_means(part) == (254.5,)


def test_a_mean_of_many_large_values_does_not_lose_its_last_digits():
    assert feature_means(sequences(np.full((200_000, 1), 16_777_217), [200_000])) == (16_777_216.0,)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    features=st.integers(1, 4),
    data=st.data(),
)
def test_filling_forward_is_what_pandas_does_within_each_sequence(lengths, features, data):
    cells = st.one_of(st.just(NAN), st.integers(-5, 5).map(float))
    steps = sum(lengths)
    flat = data.draw(
        st.lists(st.lists(cells, min_size=features, max_size=features), min_size=steps, max_size=steps)
    )
    whose = np.repeat(np.arange(len(lengths)), lengths)
    frame = pd.DataFrame(np.array(flat, np.float32))
    expected = frame.groupby(whose).ffill()
    np.testing.assert_array_equal(carried(sequences(flat, lengths)).concatenated, expected.to_numpy())
    means = frame.mean().fillna(0)
    np.testing.assert_allclose(feature_means(sequences(flat, lengths)), means, rtol=1e-6, atol=1e-6)
    filled = fill(carried(sequences(flat, lengths)), tuple(means.tolist())).concatenated
    np.testing.assert_allclose(filled, expected.fillna(means).to_numpy(), rtol=1e-6)


@pytest.mark.parametrize("cuts", [[5], [1, 1, 1, 1, 1], [2, 0, 3]])
@pytest.mark.parametrize("method", ["zero", "mean", "forward-fill"])
def test_a_stream_is_filled_as_the_whole_sequence_however_it_is_cut(method, cuts):
    steps = np.array([[NAN, 1], [2, NAN], [NAN, NAN], [3, 4], [NAN, NAN]], np.float32)
    imputer = Imputer(method, () if method == "zero" else (7.0, 8.0))
    state = imputer.start(1, 2) if imputer.carries else None
    pieces = []
    for piece in np.split(steps, np.cumsum(cuts)[:-1]):
        filled, state = imputer.step(state, piece[None])
        pieces.append(filled[0])
    np.testing.assert_array_equal(np.concatenate(pieces), imputer.apply(sequences(steps, [5])).concatenated)


def test_streams_that_have_fewer_steps_keep_their_last_values():
    imputer = Imputer("forward-fill", (7.0,))
    values = np.array([[[1], [2]], [[5], [NAN]]], np.float32)
    _, state = imputer.step(imputer.start(2, 1), values, np.array([1, 0]))
    np.testing.assert_array_equal(state, [[1], [NAN]])
