"""Metrics of a number for each step."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.metrics.step_numbers import step_number_metrics

TRUE = np.array([1.0, 2.0, np.nan, 4.0, 10.0, np.nan])
PREDICTED = np.array([2.0, 2.0, 50.0, 2.0, 13.0, -50.0])
LENGTHS = np.array([3, 1, 2])


def test_values_are_those_worked_by_hand():
    found = step_number_metrics(PREDICTED, TRUE, LENGTHS, 2.0, half_width=2.0)
    # Errors of labelled steps: 1, 0 | -2 | 3.
    assert (found.n, found.sequences, found.unlabelled) == (4, 3, 2)
    assert found.rmse == pytest.approx((14 / 4) ** 0.5)
    assert found.mae == 6 / 4
    assert found.mean_error == 2 / 4
    assert found.loss == pytest.approx(14 / 4 / 4)
    assert found.r2 == pytest.approx(1 - 14 / ((TRUE[[0, 1, 3, 4]] - 4.25) ** 2).sum())
    # The last labelled steps: 0 of the first sequence, -2, 3.
    assert (found.last.n, found.last.mae) == (3, pytest.approx(5 / 3))
    assert found.last.rmse == pytest.approx((13 / 3) ** 0.5)
    assert found.interval is not None
    assert (found.interval.covered, found.interval.coverage) == (3, 0.75)
    assert [(each.index, each.n) for each in found.errors] == [(2, 1), (1, 1), (0, 2)]


def test_intervals_resample_sequences():
    draw = np.random.default_rng(0)
    # All steps of a sequence have the same error, so that there are 30 independent errors, not 3,000.
    errors = np.repeat(draw.normal(size=30), 100)
    true = draw.normal(size=3000)
    found = step_number_metrics(true + errors, true, np.full(30, 100), 1.0)
    assert found.mae_ci95 is not None
    low, high = found.mae_ci95
    assert low < found.mae < high
    assert high - low > 0.2  # 0.05 if steps were resampled


def test_one_sequence_has_no_interval():
    found = step_number_metrics(PREDICTED[:3], TRUE[:3], LENGTHS[:1], 1.0, half_width=0.5)
    assert found.rmse_ci95 is found.r2_ci95 is found.last.rmse_ci95 is None
    assert found.interval is not None
    assert found.interval.coverage_ci95 is None


def test_a_sequence_without_labels_counts_nowhere():
    true, predicted = np.append(TRUE, [np.nan, np.nan]), np.append(PREDICTED, [7.0, 8.0])
    with_empty = step_number_metrics(predicted, true, np.append(LENGTHS, 2), 1.0)
    found = step_number_metrics(PREDICTED, TRUE, LENGTHS, 1.0)
    assert (with_empty.rmse, with_empty.last.rmse, with_empty.last.n) == (found.rmse, found.last.rmse, 3)
    assert with_empty.errors == found.errors
    assert with_empty.unlabelled == 4


def test_large_equal_targets_have_no_r2():
    found = step_number_metrics(np.full(4, 1e9), np.full(4, 1e9 + 1), np.array([2, 2]), 1.0)
    assert found.r2 is found.r2_ci95 is None
    assert found.rmse == 1
