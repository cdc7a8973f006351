"""Metrics of several classes at once, beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, precision_recall_fscore_support

from scanline.metrics.multilabel import best_thresholds, multilabel_metrics


def draw(n=80, seed=0):
    random = np.random.default_rng(seed)
    true = random.random((n, 4)) < [0.5, 0.2, 0.05, 0.8]
    probabilities = np.clip(true * 0.3 + random.random((n, 4)) * 0.7, 0, 1)
    return probabilities, true


def test_values_are_those_of_scikit_learn():
    probabilities, true = draw()
    thresholds = np.array([0.5, 0.4, 0.6, 0.5])
    predicted = probabilities >= thresholds
    found = multilabel_metrics(probabilities, true, thresholds, "abcd", 0.3)
    assert found.subset_accuracy == pytest.approx((predicted == true).all(1).mean())
    assert found.hamming_loss == pytest.approx(hamming_loss(true, predicted))
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro"), ("samples_f1", "samples")):
        assert getattr(found, name) == pytest.approx(
            f1_score(true, predicted, average=average, zero_division=1)
        )
    precision, recall, f1, n = precision_recall_fscore_support(true, predicted, zero_division=np.nan)
    assert [each.precision for each in found.classes] == pytest.approx(list(precision))
    assert [each.recall for each in found.classes] == pytest.approx(list(recall))
    assert [each.f1 for each in found.classes] == pytest.approx(list(f1))
    assert [each.n for each in found.classes] == n.tolist()
    assert found.mean_average_precision == pytest.approx(average_precision_score(true, probabilities))
    assert found.micro_f1_ci95 is not None
    assert found.micro_f1_ci95[0] < found.micro_f1 < found.micro_f1_ci95[1]


def test_a_class_that_does_not_occur_has_no_recall_and_no_average_precision():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.1]])
    true = np.array([[True, False], [False, False]])
    found = multilabel_metrics(probabilities, true, np.array([0.5, 0.5]), "ab", 0.1)
    absent = found.classes[1]
    assert absent.precision is absent.recall is absent.f1 is absent.average_precision is None
    assert (found.macro_f1, found.mean_average_precision, found.samples_f1) == (1, 1, 1)
    assert found.errors == []


def test_thresholds_have_the_highest_f1():
    probabilities, true = draw(60, 1)
    thresholds = best_thresholds(probabilities, true)
    for k in range(4):
        f1 = [f1_score(true[:, k], probabilities[:, k] >= each) for each in np.append(probabilities[:, k], 0)]
        assert f1_score(true[:, k], probabilities[:, k] >= thresholds[k]) == max(f1)
    assert best_thresholds(probabilities, np.zeros_like(true)).tolist() == [0.5] * 4
    # Equal probabilities are on one side of the threshold.
    tied = best_thresholds(np.array([[0.7], [0.7], [0.1]]), np.array([[True], [False], [False]]))
    assert tied.tolist() == pytest.approx([0.4])
