"""Metrics of steps and segments, against values worked by hand and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from scanline.metrics.segments import count_segments, edit_distance, segments
from scanline.metrics.steps import step_metrics


def logits_of(predicted, K):
    return np.eye(K, dtype=np.float32)[np.asarray(predicted)] * 4


def test_segments_are_runs_that_end_at_steps_without_a_label():
    starts, ends, classes = segments(np.array([1, 1, 1, 0, 0]), np.array([True, False, True, True, True]))
    assert starts.tolist() == [0, 2, 3]
    assert ends.tolist() == [1, 3, 5]
    assert classes.tolist() == [1, 1, 0]


def test_a_segment_is_correct_from_half_an_overlap_on():
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    # Class 0: 0-2 of 0-4, overlap 1/2. Class 1: 2-8 of 4-8, overlap 2/3.
    counted = count_segments(np.array([0, 0, 1, 1, 1, 1, 1, 1]), targets, np.array([8]))
    assert (counted.correct[0], counted.predicted[0], counted.true[0]) == (2, 2, 2)
    # Class 0: 0-1 of 0-4, overlap 1/4; class 1: 1-8 of 4-8, overlap 4/7.
    counted = count_segments(np.array([0, 1, 1, 1, 1, 1, 1, 1]), targets, np.array([8]))
    assert counted.correct[0] == 1
    assert counted.f1() == pytest.approx(2 * 1 / 4)


def test_a_true_segment_is_matched_once():
    targets = np.zeros(6, np.int64)
    # Both halves of 0-6 are of its class; the second covers it by half, and the first by a third.
    counted = count_segments(np.array([0, 0, 1, 0, 0, 0]), targets, np.array([6]))
    assert (counted.correct[0], counted.predicted[0], counted.true[0]) == (1, 3, 1)


def test_segments_do_not_cross_sequences():
    counted = count_segments(np.zeros(4, np.int64), np.zeros(4, np.int64), np.array([1, 3]))
    assert counted.true.tolist() == counted.correct.tolist() == [1, 1]
    assert counted.edit.tolist() == [1, 1]


def test_a_sequence_without_labels_has_no_edit_score():
    counted = count_segments(np.zeros(4, np.int64), np.array([0, 0, -1, -1]), np.array([2, 2]))
    assert counted.edit[0] == 1
    assert np.isnan(counted.edit[1])


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_the_edit_distance_is_that_of_words(one, other, distance):
    codes = [np.array([ord(letter) for letter in word], np.int64) for word in (one, other)]
    assert edit_distance(*codes) == distance


def test_metrics_ignore_steps_without_a_label():
    predicted = [0, 1, 1, 2, 0, 0]
    targets = np.array([0, 1, -1, 1, -1, 0])
    found = step_metrics(logits_of(predicted, 3), targets, ("a", "b", "c"), np.array([3, 3]))
    assert (found.n, found.correct, found.unlabelled, found.sequences) == (4, 3, 2, 2)
    assert found.accuracy == 0.75
    assert found.confusion == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert found.classes[1].recall == 0.5
    assert found.classes[2].recall is None
    assert found.classes[2].f1 == 0
    assert [each.index for each in found.mistakes] == [1]


def test_macro_f1_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    targets, predicted = draw.integers(-1, 4, 300), draw.integers(0, 4, 300)
    found = step_metrics(logits_of(predicted, 6), targets, tuple("abcdef"), np.full(30, 10))
    labelled = targets >= 0
    expected = f1_score(targets[labelled], predicted[labelled], average="macro")
    assert found.macro_f1 == pytest.approx(expected)
    low, high = found.macro_f1_ci95
    assert low < expected < high


def test_intervals_respect_that_steps_of_a_sequence_depend_on_each_other():
    draw = np.random.default_rng(0)
    # In each sequence all steps are right or all are wrong: there are 40 observations, not 4,000.
    right = draw.random(40) < 0.5
    targets = np.zeros(4000, np.int64)
    predicted = np.repeat(~right, 100).astype(np.int64)
    low, high = step_metrics(logits_of(predicted, 2), targets, ("a", "b"), np.full(40, 100)).ci95
    assert 0.2 < high - low < 0.4  # 2 * 1.96 * sqrt(0.25 / 40) = 0.31; of independent steps 0.03


def test_a_single_sequence_has_no_intervals():
    found = step_metrics(logits_of([0, 1, 1], 2), np.array([0, 1, 0]), ("a", "b"), np.array([3]))
    assert found.ci95 is None
    assert found.macro_f1_ci95 is None
    assert found.classes[0].f1_ci95 is None
    assert found.segments.f1_ci95 is None


def test_the_intervals_are_the_same_each_time():
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(60, 3)).astype(np.float32)
    targets = draw.integers(0, 3, 60)
    once, again = (step_metrics(logits, targets, (0, 1, 2), np.full(6, 10)) for _ in range(2))
    assert once == again
