"""Shift and scale, learnt from the training steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.transforms import scaler as scaling
from scanline.data.transforms.scaler import Scaler


def data_set(flat, lengths=None, weights=None, **parts) -> Dataset:
    flat = np.asarray(flat, np.float32)
    flat = flat[:, None] if flat.ndim == 1 else flat
    lengths = np.ones(len(flat), np.int64) if lengths is None else np.array(lengths)
    own = None if weights is None else np.array(weights, np.float32)
    targets = np.zeros(len(lengths), np.int64)
    train = MemorySource(flat, lengths, targets, (0,), "x", weights=own)
    return Dataset("x", {"train": train, **parts})


def shift_scale(*args, **kwargs):
    scaler = Scaler.fit(data_set(*args, **kwargs).train, "standard")
    assert scaler.shift.dtype == scaler.scale.dtype == np.float32
    return scaler.shift.tolist(), scaler.scale.tolist()


def test_each_feature_gets_mean_0_and_deviation_1():
    # 1 and 5: mean 3, deviation 2; 10, 10, 40, 40: mean 25, deviation 15
    assert shift_scale([[1, 10], [5, 10], [1, 40], [5, 40]]) == ([3, 25], [2, 15])


def test_a_long_sequence_counts_by_its_steps():
    # 0, 0, 0, 4: mean 1, variance (3 * 1 + 9) / 4
    assert shift_scale([0, 0, 0, 4], lengths=[3, 1]) == ([1], [np.float32(np.sqrt(3))])


def test_padding_is_not_counted():
    padded = np.array([[[1.0], [5.0], [9e9]], [[1.0], [5.0], [np.nan]]], np.float32)
    train = MemorySource.from_padded(padded, np.array([2, 2]), np.zeros(2, np.int64), (0,), "x")
    scaler = Scaler.fit(train, "standard")
    assert (scaler.shift.tolist(), scaler.scale.tolist()) == ([3], [2])


def test_the_other_parts_are_not_looked_at():
    far = data_set([1e9, 2e9]).train
    assert shift_scale([1, 5], validation=far, test=far) == ([3], [2])


def test_a_step_counts_as_often_as_its_sequence_weighs():
    # weights 3 and 1 over sequences of one and two steps: 0, 0, 0 and 4, 5, of one turn each
    plain = shift_scale([0, 0, 0, 4, 5])
    weighed = shift_scale([0, 4, 5], lengths=[1, 2], weights=[3, 1])
    np.testing.assert_allclose(weighed, plain, rtol=1e-6)


def test_weights_are_those_of_sequences_whatever_their_sum():
    one = shift_scale([0, 4, 5], weights=[3, 1, 1])
    np.testing.assert_allclose(shift_scale([0, 4, 5], weights=[0.3, 0.1, 0.1]), one, rtol=1e-6)


@pytest.mark.parametrize("value", [0, 0.1, -7, 1e7 + 1, 1e30])
def test_a_constant_feature_is_only_shifted(value):
    shift, scale = shift_scale(np.full(7, value))
    assert (shift, scale) == ([np.float32(value)], [1])


def test_a_constant_feature_with_weights_is_only_shifted():
    weights = np.random.default_rng(0).random(50)
    assert shift_scale(np.full(50, 0.1), weights=weights) == ([np.float32(0.1)], [1])


def test_a_single_step_is_only_shifted():
    assert shift_scale([4]) == ([4], [1])


def test_a_deviation_that_float32_cannot_hold_does_not_become_a_division_by_0():
    smallest = np.finfo(np.float32).smallest_subnormal
    assert shift_scale([0, smallest, 0, smallest])[1] == [1]


@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_many_steps_are_taken_in_portions_to_the_same_end(monkeypatch, rows):
    monkeypatch.setattr(scaling, "_ROWS", rows)
    np.testing.assert_allclose(
        shift_scale([[1, 10], [5, 10], [1, 40], [5, 40]]), ([3, 25], [2, 15]), rtol=1e-6
    )


@pytest.mark.parametrize("weights", [[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
def test_a_portion_that_weighs_nothing_is_passed_over(monkeypatch, weights):
    monkeypatch.setattr(scaling, "_ROWS", 2)
    values = np.array([1.0, 2.0, 3.0, 9.0])
    kept = values[np.array(weights) > 0]
    np.testing.assert_allclose(shift_scale(values, weights=weights), ([kept.mean()], [kept.std()]), rtol=1e-6)


def test_a_large_mean_does_not_swallow_a_small_deviation():
    values = 1e6 + np.tile([0.0, 1.0], 50_000)
    assert shift_scale(values)[1] == [0.5]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=2, max_size=8),
    rows=st.integers(1, 9),
    weighed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sequences_are_scaled_as_by_numpy(lengths, rows, weighed, seed):
    draw = np.random.default_rng(seed)
    flat = draw.normal([0, 50], [1, 7], (sum(lengths), 2)).astype(np.float32)
    weights = draw.uniform(0.1, 3, len(lengths)).astype(np.float32) if weighed else None
    each = np.ones(len(flat)) if weights is None else np.repeat(weights, lengths)
    mean = np.average(flat.astype(np.float64), 0, each)
    deviation = np.sqrt(np.average((flat.astype(np.float64) - mean) ** 2, 0, each))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "_ROWS", rows)
        scaler = Scaler.fit(data_set(flat, lengths, weights).train, "standard")
    np.testing.assert_allclose(scaler.shift, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaler.scale, deviation, rtol=1e-4)


def test_levels_divide_by_the_largest_value_that_there_can_be():
    bytes_ = MemorySource(np.ones((2, 3), np.uint8), np.array([2]), np.zeros(1, np.int64), (0,), "x")
    scaler = Scaler.fit(bytes_, "levels", 255.0)
    assert (scaler.shift.tolist(), scaler.scale.tolist()) == ([0, 0, 0], [255, 255, 255])


def test_none_leaves_all_values_as_they_are():
    scaler = Scaler.fit(data_set([[1, 10], [5, 40]]).train, "none")
    assert (scaler.shift.tolist(), scaler.scale.tolist()) == ([0, 0], [1, 1])
