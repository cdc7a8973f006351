"""Metrics of classification, worked by hand or by another program."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from scanline.data.memory import MemorySource
from scanline.metrics import classification


def classification_metrics(logits: np.ndarray, source_of: MemorySource) -> dict:
    return classification.classification_metrics(
        logits, source_of.targets, source_of.classes, source_of.lengths, source_of.identifier
    ).to_json()


def coverage_curve(*arguments) -> list[dict]:
    return [each.to_json() for each in classification.coverage_curve(*arguments)]


def accuracy_by_length(*arguments) -> list[dict]:
    return [each.to_json() for each in classification.accuracy_by_length(*arguments)]


def most_confident_errors(probabilities: np.ndarray, source_of: MemorySource, most: int = 20) -> list[dict]:
    errors = classification.most_confident_errors(
        probabilities, source_of.targets, source_of.classes, source_of.identifier, most
    )
    return [each.to_json() for each in errors]


NAMES = ("class", "n", "correct", "accuracy", "precision", "recall", "f1")


def source_of(labels: list[int], classes: tuple[str | int, ...]) -> MemorySource:
    """Sequences of one empty step with these labels."""
    return MemorySource.from_array(
        np.zeros((len(labels), 1, 1), np.float32), np.array(labels), classes, "made up"
    )


def probabilities_of(rows: list[list[float]]) -> np.ndarray:
    """Logits of these probabilities, given in tenths."""
    return np.log(np.array(rows, np.float32) / 10)


def test_the_metrics_of_four_predictions_computed_by_hand():
    # answers a, a, b, a for true a, a, b, b; class c never comes
    logits = probabilities_of([[8, 1, 1], [6, 2, 2], [1, 8, 1], [5, 4, 1]])
    metrics = classification_metrics(logits, source_of([0, 0, 1, 1], ("a", "b", "c")))
    assert (metrics["n"], metrics["correct"], metrics["accuracy"], metrics["first128_accuracy"]) == (
        4,
        3,
        0.75,
        0.75,
    )
    assert metrics["loss"] == pytest.approx(-math.log(0.8 * 0.6 * 0.8 * 0.4) / 4, abs=1e-6)
    assert metrics["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert [[entry[name] for name in NAMES] for entry in metrics["classes"]] == [
        ["a", 2, 2, 1.0, pytest.approx(2 / 3), 1.0, pytest.approx(0.8)],
        ["b", 2, 1, 0.5, 1.0, 0.5, pytest.approx(2 / 3)],
        ["c", 0, 0, None, None, None, None],
    ]


def test_the_tutorials_measure_looks_at_the_first_128_only():
    logits = np.zeros((256, 2), np.float32)
    logits[:, 0] = 1
    metrics = classification_metrics(logits, source_of([0] * 96 + [1] * 160, (0, 1)))
    assert (metrics["first128_accuracy"], metrics["accuracy"]) == (0.75, 96 / 256)


def test_precision_recall_and_f1_of_a_confusion_matrix_computed_by_hand():
    """Rows true, columns given:   a: 6 1 0 (7)   b: 2 3 0 (5)   c: 1 0 0 (1);   given 9, 4, 0.

    a: precision 6/9, recall 6/7, F1 12/(7+9). b: 3/4, 3/5, 6/(5+4). c is never given: precision undefined,
    recall 0/1, F1 0/(1+0).
    """
    given_ = [0] * 6 + [1] + [0] * 2 + [1] * 3 + [0]
    true = [0] * 7 + [1] * 5 + [2]
    metrics = classification_metrics(np.eye(3, dtype=np.float32)[given_], source_of(true, ("a", "b", "c")))
    assert metrics["confusion"] == [[6, 1, 0], [2, 3, 0], [1, 0, 0]]
    assert [[entry[name] for name in NAMES] for entry in metrics["classes"]] == [
        ["a", 7, 6, *map(pytest.approx, (6 / 7, 6 / 9, 6 / 7, 12 / 16))],
        ["b", 5, 3, *map(pytest.approx, (3 / 5, 3 / 4, 3 / 5, 6 / 9))],
        ["c", 1, 0, 0.0, None, 0.0, 0.0],
    ]
    assert metrics["classes"][2]["precision_ci95"] is None
    for entry in metrics["classes"][:2]:
        for kind in ("precision", "recall", "f1"):
            low, high = entry[f"{kind}_ci95"]
            assert 0 <= low < entry[kind] < high <= 1


@pytest.mark.parametrize("seed", range(6))
def test_the_figures_are_those_of_scikit_learn(seed):
    draw = np.random.default_rng(seed)
    K = int(draw.integers(2, 9))
    n = int(draw.integers(20, 400))
    labels = draw.integers(0, K, n)
    if seed % 2:
        labels[labels == 1] = 0  # a class that never comes
    logits = draw.normal(size=(n, K)).astype(np.float32) * 3
    logits[np.arange(n), labels] += 2
    if seed % 3 == 0:
        logits[:, 0] = -15  # a class that is never given; scikit-learn cuts a loss off at 36
    metrics = classification_metrics(logits, source_of(labels.tolist(), tuple(range(K))))
    predicted = logits.argmax(1)
    assert metrics["accuracy"] == accuracy_score(labels, predicted)
    assert metrics["correct"] == accuracy_score(labels, predicted, normalize=False)
    exact = logits.astype(np.float64)
    proba = np.exp(exact - np.logaddexp.reduce(exact, axis=1, keepdims=True))
    # float64 rows do not add up to 1 to the last bit, and scikit-learn warns of the least of it
    assert metrics["loss"] == pytest.approx(
        log_loss(labels, proba / proba.sum(1, keepdims=True), labels=range(K)), rel=1e-9
    )
    assert metrics["confusion"] == confusion_matrix(labels, predicted, labels=range(K)).tolist()
    assert metrics["ci95"] == pytest.approx(proportion_confint(metrics["correct"], n, method="wilson"))
    expected = precision_recall_fscore_support(labels, predicted, labels=range(K), zero_division=np.nan)
    for index, entry in enumerate(metrics["classes"]):
        assert entry["n"] == expected[3][index]
        for kind, values in zip(("precision", "recall", "f1"), expected, strict=False):
            figure = math.nan if entry[kind] is None else entry[kind]
            assert figure == pytest.approx(values[index], nan_ok=True), (index, kind)
            assert (entry[f"{kind}_ci95"] is None) is math.isnan(values[index])
    assert "NaN" not in json.dumps(metrics)


def test_judging_twice_gives_the_same_to_the_last_bit():
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(60, 4)).astype(np.float32), draw.integers(0, 4, 60).tolist()
    assert classification_metrics(logits, source_of(labels, ("a", "b", "c", "d"))) == classification_metrics(
        logits.copy(), source_of(labels, ("a", "b", "c", "d"))
    )


def test_the_coverage_curve_of_ten_predictions_computed_by_hand():
    """By confidence: .95 right, .9 right, .8 wrong, .7 right, .6 right, .55 wrong, .5, .4, .35, .3 right.

    Of 10: at 1 to 9 % one answer at least; 25 % is 2.5, which Python rounds to 2; 35 % is 3.5, rounded to 4.
    """
    confidence = np.array([0.3, 0.6, 0.95, 0.8, 0.5, 0.9, 0.7, 0.55, 0.4, 0.35])
    right = np.array([1, 1, 1, 0, 1, 1, 1, 0, 1, 1], bool)
    curve = {round(100 * each["coverage"]): each for each in coverage_curve(confidence, right)}
    assert list(curve) == [1, 2, 3, 4, 5, 6, 7, 8, 9, *range(10, 101, 5)]
    for percent, n, hits, least in [
        (1, 1, 1, 0.95),
        (10, 1, 1, 0.95),
        (20, 2, 2, 0.9),
        (25, 2, 2, 0.9),
        (30, 3, 2, 0.8),
        (35, 4, 3, 0.7),
        (50, 5, 4, 0.6),
        (60, 6, 4, 0.55),
        (90, 9, 7, 0.35),
        (100, 10, 8, 0.3),
    ]:
        each = curve[percent]
        assert (each["n"], each["accuracy"], each["confidence"]) == (n, hits / n, least), percent


def test_equally_confident_predictions_keep_their_order():
    curve = coverage_curve(np.full(4, 0.5), np.array([True, False, False, False]))
    assert [each["accuracy"] for each in curve if each["coverage"] in (0.25, 0.5, 1)] == [1, 0.5, 0.25]


@pytest.mark.parametrize("seed", range(4))
def test_the_coverage_curve_is_that_of_a_plain_loop(seed):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 300))
    confidence, right = draw.uniform(0.1, 1, n), draw.random(n) < 0.7
    predicted = sorted(zip(confidence, right, strict=True), key=lambda answer: -answer[0])
    for each in coverage_curve(confidence, right):
        saved = predicted[: each["n"]]
        assert each["n"] == max(1, round(n * round(100 * each["coverage"]) / 100))
        assert each["accuracy"] == pytest.approx(sum(hit for _, hit in saved) / len(saved))
        assert each["confidence"] == min(sure for sure, _ in saved)


def test_sequences_of_one_length_are_one_group():
    (group,) = accuracy_by_length(np.full(8, 5), np.array([1, 1, 1, 0, 1, 1, 1, 1], bool))
    assert (group["from"], group["to"], group["n"], group["correct"]) == (5, 5, 8, 7)
    assert group["accuracy"] == 7 / 8
    assert group["ci95"] == pytest.approx(proportion_confint(7, 8, method="wilson"))


def groups_of(lengths: list[int], right: list[int] | None = None) -> list[tuple[int, int, int, int]]:
    hits = np.ones(len(lengths), bool) if right is None else np.array(right, bool)
    result = accuracy_by_length(np.array(lengths), hits)
    return [(group["from"], group["to"], group["n"], group["correct"]) for group in result]


def test_accuracy_by_length_computed_by_hand():
    """16 sequences of lengths 1 to 16, backwards; those of 3, 4 and 9 are wrong: eight groups of two."""
    lengths = list(range(16, 0, -1))
    right = [length not in (3, 4, 9) for length in lengths]
    assert groups_of(lengths, right) == [
        (1, 2, 2, 2), (3, 4, 2, 0), (5, 6, 2, 2), (7, 8, 2, 2), (9, 10, 2, 1), (11, 12, 2, 2), (13, 14, 2, 2),
        (15, 16, 2, 2),
    ]  # fmt: skip


def test_eight_lengths_are_eight_groups():
    assert groups_of(list(range(1, 9)) * 3) == [(length, length, 3, 3) for length in range(1, 9)]


def test_two_lengths_are_two_groups():
    assert groups_of([3, 9] * 5, [1, 0] * 5) == [(3, 3, 5, 5), (9, 9, 5, 0)]


@settings(deadline=None)
@given(
    predictions=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=120),
)
def test_groups_by_length_have_all_sequences_and_never_separate_equal_lengths(predictions):
    lengths, right = np.array([a for a, _ in predictions]), np.array([b for _, b in predictions])
    groups = accuracy_by_length(lengths, right)
    assert 1 <= len(groups) <= 8
    assert sum(group["n"] for group in groups) == len(lengths)
    assert groups[0]["from"] == lengths.min()
    assert groups[-1]["to"] == lengths.max()
    for before, after in pairwise(groups):
        assert before["to"] < after["from"]
    for group in groups:
        own = [hit for length, hit in predictions if group["from"] <= length <= group["to"]]
        assert (group["n"], group["correct"]) == (len(own), sum(own))
        assert group["accuracy"] == sum(own) / len(own)


def test_many_different_lengths_make_groups_of_about_equal_size():
    groups = groups_of(np.random.default_rng(0).permutation(np.arange(1, 801)).tolist())
    assert [n for *_, n, _ in groups] == [100] * 8


def test_the_most_confident_errors_computed_by_hand():
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7], [0.1, 0.9, 0.0], [0.2, 0.6, 0.2], [0.5, 0.4, 0.1]]
    )
    whole = source_of([0, 0, 1, 2, 2, 0], ("a", "b", "c"))
    errors = most_confident_errors(probabilities, whole)
    assert [tuple(each.values()) for each in errors] == [
        (3, 3, "c", "b", 0.9, 0.0),
        (2, 2, "b", "c", 0.7, 0.2),
        (1, 1, "a", "b", 0.6, 0.3),  # as sure as the next, and earlier
        (4, 4, "c", "b", 0.6, 0.2),
    ]
    assert list(errors[0]) == ["index", "sequence", "true", "predicted", "probability", "probability_of_true"]
    assert most_confident_errors(probabilities, whole, most=2) == errors[:2]
    named = replace(whole, ids=np.array(["p", "q", "r", "s", "t", "u"]))
    assert [(each["index"], each["sequence"]) for each in most_confident_errors(probabilities, named)] == [
        (3, "s"), (2, "r"), (1, "q"), (4, "t"),
    ]  # fmt: skip


def test_at_most_twenty_errors_are_shown():
    logits = np.eye(2, dtype=np.float32)[[0, 1] * 30] * np.arange(1, 61, dtype=np.float32)[:, None] / 30
    assert classification_metrics(logits, source_of([0, 1] * 30, ("a", "b")))["mistakes"] == []
    metrics = classification_metrics(logits, source_of([1, 0] * 30, ("a", "b")))["mistakes"]
    assert [each["index"] for each in metrics] == list(range(59, 39, -1))
    assert metrics[0]["probability"] == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)
    assert metrics[0]["probability_of_true"] == pytest.approx(1 / (1 + math.exp(2)), abs=1e-6)


def test_the_metrics_have_lengths_coverage_and_calibration_of_the_same_predictions():
    """Six sequences of 1 or 4 steps; answers with 0.9, all short ones right, one of three long ones right."""
    long, short = np.zeros((4, 1), np.float32), np.zeros((1, 1), np.float32)
    sequences = MemorySource.from_list([long, short] * 3, np.array([0, 0, 1, 0, 1, 0]), ("a", "b"), "made up")
    metrics = classification_metrics(probabilities_of([[9, 1]] * 6), sequences)
    assert [(group["from"], group["n"], group["accuracy"]) for group in metrics["by_length"]] == [
        (1, 3, 1.0), (4, 3, pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert metrics["coverage"][-1]["accuracy"] == metrics["accuracy"] == 4 / 6
    assert metrics["calibration"]["error"] == pytest.approx(0.9 - 4 / 6, abs=1e-6)
    assert [each["index"] for each in metrics["mistakes"]] == [2, 4]
