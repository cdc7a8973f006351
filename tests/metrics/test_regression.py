"""Metrics of a regression: worked by hand, or beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from scanline.metrics.regression import (
    conformal_half_width,
    paired_difference,
    r_squared,
    regression_metrics,
)


def _measure(predicted, true, **options):
    names = list(range(len(true)))
    return regression_metrics(np.array(predicted, float), np.array(true, float), 2.0, names, **options)


def test_errors_of_four_predictions_worked_by_hand():
    found = _measure([1, 2, 3, 8], [1, 3, 5, 4])  # errors 0, -1, -2, 4
    assert (found.n, found.mae, found.median_absolute_error, found.mean_error) == (4, 7 / 4, 1.5, 0.25)
    assert found.rmse == pytest.approx((21 / 4) ** 0.5)
    assert found.loss == pytest.approx(21 / 4 / 4)
    assert found.r2 == pytest.approx(1 - 21 / (2.25**2 + 0.25**2 + 1.75**2 + 0.75**2))
    assert [(each.index, each.error) for each in found.errors] == [(3, 4), (2, -2), (1, -1), (0, 0)]
    assert found.interval is None


def test_metrics_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    true = draw.normal(size=101)
    predicted = true + draw.normal(size=101) / 3
    found = _measure(predicted, true)
    assert found.rmse == pytest.approx(reference.root_mean_squared_error(true, predicted))
    assert found.mae == pytest.approx(reference.mean_absolute_error(true, predicted))
    assert found.median_absolute_error == pytest.approx(reference.median_absolute_error(true, predicted))
    assert found.r2 == pytest.approx(reference.r2_score(true, predicted))
    for name in ("rmse", "mae", "median_absolute_error", "r2"):
        low, high = getattr(found, f"{name}_ci95")
        assert low < getattr(found, name) < high


def test_equal_targets_and_few_sequences_have_no_r2():
    found = _measure([1, 2, 3], [5, 5, 5])
    assert (found.r2, found.r2_ci95, found.median_absolute_error_ci95) == (None, None, None)
    single = _measure([1], [5])
    assert (single.rmse, single.rmse_ci95) == (4, (4, 4))


def test_intervals_of_a_mean_contain_it_as_often_as_they_say():
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = _measure(draw.normal(size=50), np.zeros(50)).mae_ci95
        hits += low <= (2 / np.pi) ** 0.5 <= high
    assert 86 <= hits <= 100


def test_coverage_is_counted_inside_the_interval():
    found = _measure([0, 0, 0, 0], [1, -2, 3, 2], half_width=2.0, level=0.9).interval
    assert (found.covered, found.coverage, found.level, found.half_width) == (3, 0.75, 0.9, 2.0)


@pytest.mark.parametrize(("n", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90)])
def test_the_half_width_is_the_order_statistic_of_the_finite_sample_correction(n, rank):
    sizes = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert conformal_half_width(sizes, 0.9) == rank


def test_too_few_sequences_have_no_finite_half_width():
    assert conformal_half_width(np.ones(8), 0.9) is None
    assert conformal_half_width(np.ones(0), 0.9) is None
    assert conformal_half_width(np.ones(18), 0.95) is None


def test_conformal_intervals_contain_new_targets_at_their_level():
    draw = np.random.default_rng(2)
    inside = [
        abs(draw.standard_t(3)) <= conformal_half_width(np.abs(draw.standard_t(3, size=39)), 0.9)
        for _ in range(4000)
    ]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_the_difference_of_two_models_is_paired():
    draw = np.random.default_rng(3)
    shared = draw.normal(size=200)
    differences = paired_difference(shared * 1.1, shared)
    value, (low, high) = differences["rmse"]
    assert value == pytest.approx(0.1 * (shared**2).mean() ** 0.5)
    assert 0 < low < value < high  # unpaired, the interval would contain 0
    assert differences["mae"][0] == pytest.approx(0.1 * np.abs(shared).mean())
    assert paired_difference(shared, shared)["rmse"] == (0, (0, 0))


def test_r_squared_may_be_negative():
    assert r_squared(np.array([3.0, 1.0]), np.array([1.0, 3.0])) == -3
