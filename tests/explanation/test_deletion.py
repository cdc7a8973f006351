"""The deletion check: whether removing the values with the largest attributions matters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import scanline
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.explanation import deletion
from scanline.explanation.attribution import baseline
from scanline.explanation.deletion import check_by_deletion
from scanline.tasks.classification import Classification
from tests.explanation.test_attribution import CLASSES, F, K, network, no_memory

TASK = Classification(CLASSES)


@pytest.fixture(scope="module")
def digits(trained):
    """Network, task and test pictures, as its steps, of the run on the digits."""
    model = scanline.load(trained)
    return model.network, model.task, model.align(catalog.load("digits").test)


def test_values_with_large_attributions_matter_more_than_random_ones(digits):
    classifier, task, source = digits
    check = check_by_deletion(classifier, task, source, baseline(classifier, True))
    assert (check.n, check.share) == (360, 0.1)
    assert check.before > 0.9
    assert check.by_attribution > 3 * check.at_random_present > 3 * check.at_random > 0


def test_shuffled_attributions_do_no_better_than_random_ones(digits, monkeypatch):
    real, draw = deletion._ranking_attributions, np.random.default_rng(0)

    def shuffled(*arguments):
        for index, values, weights in real(*arguments):
            flat = weights.reshape(len(weights), -1)
            yield index, values, draw.permuted(flat, axis=1).reshape(weights.shape)

    monkeypatch.setattr(deletion, "_ranking_attributions", shuffled)
    classifier, task, source = digits
    check = check_by_deletion(classifier, task, source, baseline(classifier, True))
    assert abs(check.by_attribution - check.at_random) < 0.03
    assert check.by_attribution < check.at_random_present + 0.03


def test_a_constant_network_loses_no_probability():
    classifier, draw = network(features=8), np.random.default_rng(0)
    values = draw.normal(size=(40, 6, 8)).astype(np.float32)
    source = MemorySource.from_list(list(values), np.zeros(40, np.int64), CLASSES, "made up")
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.zero_()
    check = check_by_deletion(classifier, TASK, source, baseline(classifier, False))
    assert check.before == pytest.approx(1 / K)
    assert (check.by_attribution, check.at_random, check.at_random_present) == (0, 0, 0)


def test_removing_all_values_is_the_same_in_any_order(digits):
    classifier, task, source = digits
    check = check_by_deletion(
        classifier, task, source.take(slice(0, 50)), baseline(classifier, True), share=1.0
    )
    assert check.by_attribution == pytest.approx(check.at_random, abs=1e-12)
    assert check.by_attribution == pytest.approx(check.at_random_present, abs=1e-12)


def test_the_random_choices_depend_on_the_seed_only(digits):
    classifier, task, source = digits
    few, background = source.take(slice(0, 50)), baseline(classifier, True)
    one, same, other = (check_by_deletion(classifier, task, few, background, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.by_attribution == other.by_attribution
    assert one.at_random != other.at_random


def test_sequences_of_different_lengths_are_checked_as_each_alone():
    classifier, draw = network(readout="mean", spread=1.0), np.random.default_rng(0)
    sequences = [draw.normal(size=(length, F)).astype(np.float32) for length in (5, 1, 9, 3, 7, 2)]
    labels, background = np.zeros(6, np.int64), baseline(classifier, False)
    together = check_by_deletion(
        classifier, TASK, MemorySource.from_list(sequences, labels, CLASSES, "made up"), background, share=0.3
    )
    alone = [
        check_by_deletion(
            classifier,
            TASK,
            MemorySource.from_list([each], labels[:1], CLASSES, "made up"),
            background,
            share=0.3,
        )
        for each in sequences
    ]
    assert together.n == 6
    assert together.before == pytest.approx(np.mean([each.before for each in alone]), abs=1e-6)
    expected = np.mean([each.by_attribution for each in alone])
    assert together.by_attribution == pytest.approx(expected, abs=1e-6)


def test_the_deciding_value_is_removed_first():
    """Without the first feature of the last step, both classes have the same logit."""
    classifier = no_memory("last", w=(3.0, 0.0), bias=0.0, out=4.0)
    values = np.full((10, 2), 0.9, np.float32)
    source = MemorySource(values, np.array([10]), np.zeros(1, np.int64), ("a", "b"), "made up")
    check = check_by_deletion(
        classifier, Classification(("a", "b")), source, np.zeros(2, np.float32), share=0.05
    )  # one of 20
    before = 1 / (1 + math.exp(-4 * math.tanh(2.7)))
    assert check.before == pytest.approx(before, abs=1e-6)
    assert check.by_attribution == pytest.approx(before - 0.5, abs=1e-6)
