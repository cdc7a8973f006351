"""The figures of a test, worked by hand or by another program."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanline.evaluation.intervals import wilson_interval
from scanline.evaluation.metrics import judge


def test_wilsons_interval_worked_by_hand():
    """z = 1.959964: for 9 of 10 the centre is (0.9 + z^2/20) / (1 + z^2/10), z^2 = 3.841459."""
    z2 = 3.841459
    centre = (0.9 + z2 / 20) / (1 + z2 / 10)
    half = math.sqrt(z2) / (1 + z2 / 10) * math.sqrt(0.9 * 0.1 / 10 + z2 / 400)
    assert wilson_interval(9, 10) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("correct", "expected"), [(0, (0, 0.0370)), (100, (0.9630, 1))])
def test_wilsons_interval_stays_a_share_at_the_ends(correct, expected):
    assert wilson_interval(correct, 100) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_make_no_sense_are_refused(correct, total):
    with pytest.raises(ValueError, match=f"got {correct} and {total}"):
        wilson_interval(correct, total)


def test_the_figures_of_four_answers_worked_by_hand():
    # answers a, a, b, a for true a, a, b, b; class c never comes
    logits = np.log(np.array([[8, 1, 1], [6, 2, 2], [1, 8, 1], [5, 4, 1]], np.float32) / 10)
    found = judge(logits, np.array([0, 0, 1, 1]), ("a", "b", "c"))
    assert (found["n"], found["correct"], found["accuracy"], found["first128_accuracy"]) == (4, 3, 0.75, 0.75)
    assert found["loss"] == pytest.approx(-math.log(0.8 * 0.6 * 0.8 * 0.4) / 4, abs=1e-6)
    assert found["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found["classes"] == [
        {"class": "a", "n": 2, "correct": 2, "accuracy": 1.0},
        {"class": "b", "n": 2, "correct": 1, "accuracy": 0.5},
        {"class": "c", "n": 0, "correct": 0, "accuracy": None},
    ]


def test_the_tutorials_measure_looks_at_the_first_128_only():
    logits = np.zeros((256, 2), np.float32)
    logits[:, 0] = 1
    labels = np.array([0] * 96 + [1] * 32 + [1] * 128)
    found = judge(logits, labels, (0, 1))
    assert (found["first128_accuracy"], found["accuracy"]) == (0.75, 96 / 256)
