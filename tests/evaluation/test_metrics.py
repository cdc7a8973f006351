"""The figures of a test, worked by hand or by another program."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanline.data.sequences import Sequences, full_length
from scanline.evaluation.intervals import wilson_interval
from scanline.evaluation.metrics import judge


def part(labels: list[int], classes: tuple[str | int, ...]) -> Sequences:
    """Sequences of one empty step with these labels."""
    return full_length(np.zeros((len(labels), 1, 1), np.float32), np.array(labels), classes, "made up")


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
    found = judge(logits, part([0, 0, 1, 1], ("a", "b", "c")))
    assert (found["n"], found["correct"], found["accuracy"], found["first128_accuracy"]) == (4, 3, 0.75, 0.75)
    assert found["loss"] == pytest.approx(-math.log(0.8 * 0.6 * 0.8 * 0.4) / 4, abs=1e-6)
    assert found["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    kinds = ("class", "n", "correct", "accuracy", "precision", "recall", "f1")
    assert [[entry[kind] for kind in kinds] for entry in found["classes"]] == [
        ["a", 2, 2, 1.0, pytest.approx(2 / 3), 1.0, pytest.approx(0.8)],
        ["b", 2, 1, 0.5, 1.0, 0.5, pytest.approx(2 / 3)],
        ["c", 0, 0, None, None, None, None],
    ]


def test_the_tutorials_measure_looks_at_the_first_128_only():
    logits = np.zeros((256, 2), np.float32)
    logits[:, 0] = 1
    found = judge(logits, part([0] * 96 + [1] * 160, (0, 1)))
    assert (found["first128_accuracy"], found["accuracy"]) == (0.75, 96 / 256)
