"""Accuracy against steps read, compared with sequences that are cut off one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.evaluation import early
from scanline.evaluation.early import THRESHOLDS
from scanline.evaluation.evaluate import evaluate_run
from scanline.model.initialisation import initialise
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.model.prefixes import outputs_by_step
from scanline.tasks.classification import Classification

F, H, K = 3, 5, 4
NETWORKS = list(itertools.product(["lstm", "gru", "rnn"], [False, True], ["last", "mean", "max"]))


def network(cell="lstm", bidirectional=False, readout="last", layers=1) -> Network:
    classifier = Network(Architecture(cell, F, H, layers, bidirectional, 0.0, "between", readout, K))
    initialise(classifier, "orthogonal", "xavier", 1.0, torch.Generator().manual_seed(3))
    with torch.no_grad():
        classifier.head.weight *= 4  # some answers are sure, others are not
    return classifier.eval()


def sequences(lengths: list[int], seed: int = 0) -> MemorySource:
    """Random sequences of these lengths, with random labels."""
    draw = np.random.default_rng(seed)
    values = [draw.normal(size=(length, F)).astype(np.float32) for length in lengths]
    return MemorySource.from_list(values, draw.integers(0, K, len(lengths)), tuple(range(K)), "made up")


def accuracy_by_step(classifier: Network, source: MemorySource, *options) -> dict:
    return early.accuracy_by_step(classifier, Classification(source.classes), source, *options).to_json()


def cut_off(classifier: Network, source: MemorySource) -> np.ndarray:
    """(N, T, K) logits of each sequence, alone, after its first 1, 2, ... T steps."""
    logits = np.empty((len(source), source.max_length, len(source.classes)), np.float32)
    for row in range(len(source)):
        one = source.take(np.array([row]))
        for step in range(source.max_length):
            end = min(step + 1, int(one.lengths[0]))
            shorter = MemorySource.from_list([one.values[0, :end]], one.targets, source.classes, "cut off")
            logits[row, step] = Predictor(classifier).outputs(shorter)[0]
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    probabilities = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return probabilities / probabilities.sum(-1, keepdims=True)


def accuracies_by_loops(
    probabilities: np.ndarray, source: MemorySource, thresholds: tuple[float, ...] = THRESHOLDS
) -> dict:
    """What `read_along` should tell of probabilities (N, T, K) along the steps, by plain loops."""
    N = len(source)
    steps = []
    for step in range(source.max_length):
        right = sum(probabilities[row, step].argmax() == source.targets[row] for row in range(N))
        steps.append((step + 1, sum(length > step for length in source.lengths), right / N))
    stops = []
    for threshold in thresholds:
        right, read, early = 0, [], 0
        for row, length in enumerate(source.lengths):
            stop = next((t + 1 for t in range(length) if probabilities[row, t].max() >= threshold), length)
            right += probabilities[row, stop - 1].argmax() == source.targets[row]
            read.append((stop, stop / length))
            early += stop < length
        mean_steps, fraction = np.mean(read, axis=0)
        stops.append((threshold, right / N, mean_steps, fraction, early / N))
    return {"steps": steps, "stops": stops}


def check(actual: dict, expected: dict, N: int) -> None:
    for each, (step, n, accuracy) in zip(actual["steps"], expected["steps"], strict=True):
        assert (each["step"], each["n"], each["accuracy"]) == (step, n, pytest.approx(accuracy))
        limits = proportion_confint(round(accuracy * N), N, method="wilson")
        assert each["ci95"] == pytest.approx(limits, abs=1e-9)
    for each, (threshold, accuracy, *others) in zip(actual["stops"], expected["stops"], strict=True):
        assert (each["threshold"], each["accuracy"]) == (threshold, pytest.approx(accuracy))
        assert [each[key] for key in ("mean_steps", "share_read", "stopped")] == pytest.approx(others)
        limits = proportion_confint(round(accuracy * N), N, method="wilson")
        assert each["ci95"] == pytest.approx(limits, abs=1e-9)


@pytest.mark.parametrize("which", NETWORKS, ids=str)
@pytest.mark.parametrize("lengths", [[1, 4, 9, 2, 9, 6, 1, 7], [5, 5, 5], [1]], ids=str)
def test_the_prediction_after_each_step_is_that_of_the_truncated_sequence(which, lengths):
    classifier, source = network(*which), sequences(lengths)
    expected = cut_off(classifier, source)
    values, own = torch.tensor(source.values), torch.tensor(source.lengths)
    along = outputs_by_step(classifier, values, own).numpy()
    assert along.shape == expected.shape
    assert np.abs(along - expected).max() <= 1e-6
    if source.uniform:
        assert np.array_equal(outputs_by_step(classifier, values, None).numpy(), along)
    check(accuracy_by_step(classifier, source), accuracies_by_loops(softmax(expected), source), len(source))


@pytest.mark.parametrize(
    "which", [("lstm", False, "max", 2), ("gru", True, "last", 2), ("rnn", False, "mean", 3)]
)
def test_a_stack_of_layers_is_read_along_too(which):
    classifier, source = network(*which), sequences([3, 8, 1, 5], seed=1)
    along = outputs_by_step(classifier, torch.tensor(source.values), torch.tensor(source.lengths)).numpy()
    assert np.abs(along - cut_off(classifier, source)).max() <= 1e-6


@pytest.mark.parametrize("which", NETWORKS, ids=str)
@pytest.mark.parametrize("padding", [math.nan, math.inf, 7.0])
def test_padding_does_not_matter_along_the_way(which, padding):
    classifier, source = network(*which), sequences([2, 6, 4])
    padded = np.full((3, 8, F), padding, np.float32)
    for row, length in enumerate(source.lengths):
        padded[row, :length] = source.values[row, :length]
    along = outputs_by_step(classifier, torch.tensor(padded), torch.tensor(source.lengths)).numpy()
    expected = cut_off(classifier, source)
    assert np.abs(along[:, :6] - expected).max() <= 1e-6
    assert np.abs(along[:, 6:] - expected[:, -1:]).max() <= 1e-6


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_the_last_prediction_is_that_of_the_classifier(which):
    classifier, source = network(*which), sequences([9, 1, 30, 17], seed=2)
    along = outputs_by_step(classifier, torch.tensor(source.values), torch.tensor(source.lengths)).numpy()
    assert np.abs(along[:, -1] - Predictor(classifier).outputs(source)).max() <= 1e-6


@pytest.mark.parametrize(("bidirectional", "n"), [(False, 1100), (True, 600)])
def test_many_sequences_of_many_lengths_are_read_in_batches(bidirectional, n):
    """Batches are of alike lengths: the first ends before the longest sequence does."""
    lengths = np.random.default_rng(4).integers(1, 13, n).tolist()
    classifier, source = network("gru", bidirectional, "mean"), sequences(lengths)
    along = outputs_by_step(classifier, torch.tensor(source.values), torch.tensor(source.lengths)).numpy()
    for row in (0, 1, 2):
        expected = cut_off(classifier, source.take(np.array([row])))[0]
        assert np.abs(along[row, : len(expected)] - expected).max() <= 1e-6
    accuracies = accuracy_by_step(classifier, source)
    check(accuracies, accuracies_by_loops(softmax(along), source), n)
    shuffled = accuracy_by_step(classifier, source.take(np.random.default_rng(5).permutation(n)))
    check(shuffled, accuracies_by_loops(softmax(along), source), n)
    assert shuffled["enough"] == accuracies["enough"]


def signs() -> Network:
    """A network that says "yes" with the probability sigmoid(10 tanh(x)), x its newest step alone."""
    classifier = Network(Architecture("rnn", 1, 1, 1, False, 0.0, "between", "last", 2))
    with torch.no_grad():
        for weight, value in zip(classifier.recurrent.weights(0, 0), (1.0, 0.0, 0.0, 0.0), strict=True):
            weight.fill_(value)
        classifier.head.weight.copy_(torch.tensor([[-5.0], [5.0]]))
        classifier.head.bias.zero_()
    return classifier.eval()


def steps_of(values: list[list[float]], labels: list[int]) -> MemorySource:
    steps = [np.array(row, np.float32)[:, None] for row in values]
    return MemorySource.from_list(steps, np.array(labels), ("no", "yes"), "made up")


# sigmoid(10 tanh(x)): 0.1 gives 0.730, 0.3 gives 0.948, 0.5 gives 0.990
THREE = steps_of([[0.1, 0.3, 0.5], [-0.3, 0.1], [-0.1]], [1, 1, 0])


def test_accuracy_by_step_computed_by_hand():
    """Right after step 1: yes, no; no is right of one that ended: 2 of 3. After step 2 all are, and stay."""
    accuracies = accuracy_by_step(signs(), THREE)
    assert [(each["step"], each["n"], each["accuracy"]) for each in accuracies["steps"]] == [
        (1, 3, pytest.approx(2 / 3)),
        (2, 2, 1.0),
        (3, 1, 1.0),
    ]


@pytest.mark.parametrize(
    ("threshold", "temperature", "stops", "right"),
    [
        (0.5, 1.0, (1, 1, 1), 2),
        (0.73, 1.0, (1, 1, 1), 2),
        (0.74, 1.0, (2, 1, 1), 2),  # the third is never so sure: it ends by itself
        (0.94, 1.0, (2, 1, 1), 2),
        (0.95, 1.0, (3, 2, 1), 3),
        (0.99, 1.0, (3, 2, 1), 3),
        (1.0, 1.0, (3, 2, 1), 3),
        # by two: 0.1 gives sigmoid(0.498) = 0.622, 0.3 gives sigmoid(1.457) = 0.811
        (0.8, 1.0, (2, 1, 1), 2),
        (0.8, 2.0, (2, 1, 1), 2),
        (0.73, 2.0, (2, 1, 1), 2),
        (0.9, 2.0, (3, 2, 1), 3),  # 0.5 gives sigmoid(2.311) = 0.910
    ],
)
def test_early_stops_computed_by_hand(threshold, temperature, stops, right):
    (accuracies,) = accuracy_by_step(signs(), THREE, (threshold,), temperature)["stops"]
    assert accuracies["accuracy"] == pytest.approx(right / 3)
    assert accuracies["mean_steps"] == pytest.approx(sum(stops) / 3)
    assert accuracies["share_read"] == pytest.approx((stops[0] / 3 + stops[1] / 2 + stops[2]) / 3)
    assert accuracies["stopped"] == pytest.approx(((stops[0] < 3) + (stops[1] < 2)) / 3)
    assert accuracies["ci95"] == pytest.approx(proportion_confint(right, 3, method="wilson"))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_changes_when_reading_stops_but_not_the_predictions(temperature):
    classifier, source = network("lstm"), sequences([1, 4, 9, 2, 9, 6, 1, 7] * 5)
    along = outputs_by_step(classifier, torch.tensor(source.values), torch.tensor(source.lengths)).numpy()
    accuracies = accuracy_by_step(classifier, source, (0.4, 0.6, 0.8), temperature)
    check(accuracies, accuracies_by_loops(softmax(along / temperature), source, (0.4, 0.6, 0.8)), len(source))
    assert accuracies["steps"] == accuracy_by_step(classifier, source)["steps"]


def right_in(probabilities: list[int], n: int = 20) -> MemorySource:
    """n sequences, all true yes, of which so many say yes after each step."""
    return steps_of([[0.5 if row < right else -0.5 for right in probabilities] for row in range(n)], [1] * n)


@pytest.mark.parametrize(
    ("right", "enough"),
    [
        # all 20 right at the end: Wilson's lower limit is 20 / (20 + 3.8415) = 0.839, so 17 of 20 will do
        ([16, 18, 15, 17, 20], 4),
        ([17, 17, 17, 17, 20], 1),
        ([16, 16, 16, 16, 20], 5),
        ([0, 17, 20], 2),
        ([20], 1),
        # none right at the end: 0 is in every interval
        ([0, 0, 0], 1),
        # 10 right at the end: 0.299 to 0.701
        ([5, 6, 10], 2),
        ([5, 6, 5, 10], 4),
    ],
)
def test_enough_is_the_step_from_which_on_the_accuracy_is_as_good_as_at_the_end(right, enough):
    accuracies = accuracy_by_step(signs(), right_in(right))
    assert [each["accuracy"] for each in accuracies["steps"]] == [fraction / 20 for fraction in right]
    assert accuracies["enough"] == enough


def test_the_last_figures_equal_the_evaluation_of_the_run(trained):
    test = evaluate_run(str(trained), None).metrics.to_json()
    model = load(trained)
    source = model.align(catalog.load("digits").test)
    accuracies = accuracy_by_step(model.network, source)
    assert len(accuracies["steps"]) == 8
    assert accuracies["steps"][-1]["accuracy"] == test["accuracy"]
    assert accuracies["steps"][-1]["ci95"] == test["ci95"]
    assert accuracies["steps"][0]["accuracy"] < test["ci95"][0]
    assert 1 < accuracies["enough"] <= 8
    read = [each["mean_steps"] for each in accuracies["stops"]]
    assert read == sorted(read)
    assert [each["threshold"] for each in accuracies["stops"]] == list(THRESHOLDS)
