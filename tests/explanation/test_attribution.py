"""Attributions: what they add up to, where they stand, and whether they mean something."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scanline
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.data.transforms.views import View
from scanline.explanation import attribution
from scanline.explanation.attribution import baseline, check_by_deletion, in_place, integrated_gradients
from scanline.model.network import Architecture, Network

F, H, K = 3, 4, 5
CLASSES = tuple("abcde")
NETWORKS = list(itertools.product(["rnn", "gru", "lstm"], [1, 2], [False, True], ["last", "mean", "max"]))


def network(cell="lstm", layers=1, bidirectional=False, readout="last", seed=0, features=F, spread=0.5):
    classifier = Network(Architecture(cell, features, H, layers, bidirectional, 0.0, "between", readout, K))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in classifier.parameters():
            if weight.requires_grad:
                weight.normal_(0, spread, generator=draw)
        classifier.shift.normal_(generator=draw)
        classifier.scale.uniform_(0.5, 2, generator=draw)
    return classifier.eval()


class Peer(torch.nn.Module):
    """The same network out of torch's own modules, in float64, with nothing of ours in it."""

    def __init__(self, classifier: Network) -> None:
        super().__init__()
        a = classifier.architecture
        module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[a.cell]
        self.recurrent = module(
            a.input_size, a.hidden_size, a.layers, batch_first=True, bidirectional=a.bidirectional
        )
        self.recurrent.load_state_dict(classifier.recurrent.state_dict())
        self.head = copy.deepcopy(classifier.head)
        self.shift, self.scale = classifier.shift.double(), classifier.scale.double()
        self.readout, self.width = a.readout, a.hidden_size
        self.double()

    def forward(self, values):
        outputs, _ = self.recurrent((values - self.shift) / self.scale)
        if self.readout == "mean":
            return self.head(outputs.mean(1))
        if self.readout == "max":
            return self.head(outputs.amax(1))
        last = torch.cat([outputs[:, -1, : self.width], outputs[:, 0, self.width :]], 1)
        return self.head(last)


def riemann_sum(peer, values, target, nothing, points=2000):
    """The integral as the paper writes it down: steps of equal length along the straight path."""
    end, begin = torch.tensor(values).double(), torch.tensor(nothing).double().expand(values.shape)
    along = (torch.arange(points).double() + 0.5) / points
    path = (begin + along[:, None, None] * (end - begin)).requires_grad_()
    peer(path)[:, target].sum().backward()
    return (path.grad.mean(0) * (end - begin)).numpy()


# --- completeness


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(NETWORKS),
    steps=st.integers(1, 8),
    target=st.integers(0, K - 1),
    seed=st.integers(0, 2**16),
    bytes_=st.booleans(),
)
def test_attributions_add_up_to_the_difference_of_the_logits(which, steps, target, seed, bytes_):
    classifier, draw = network(*which, seed=seed), np.random.default_rng(seed)
    if bytes_:
        classifier.shift.fill_(0)
        classifier.scale.fill_(255)
        values = draw.integers(0, 256, size=(steps, F), dtype=np.uint8)
    else:
        values = draw.normal(size=(steps, F)).astype(np.float32)
    nothing = baseline(classifier, bytes_)
    found = integrated_gradients(classifier, values, target, nothing)
    peer = Peer(classifier)
    with torch.no_grad():
        ends = peer(torch.tensor(np.stack([values, np.broadcast_to(nothing, values.shape)])).double())
    difference = float(ends[0, target] - ends[1, target])
    assert found.target == target
    assert found.values.shape == values.shape
    assert found.difference == pytest.approx(difference, abs=1e-6)
    assert found.values.sum() == pytest.approx(difference, abs=1e-3)
    assert found.error == pytest.approx(abs(found.values.sum() - found.difference), abs=1e-12)


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_attributions_are_those_of_a_plain_riemann_sum(which):
    classifier = network(*which, seed=3)
    values = np.random.default_rng(4).normal(size=(6, F)).astype(np.float32)
    nothing = baseline(classifier, False)
    expected = riemann_sum(Peer(classifier), values, 2, nothing)
    # Where another step becomes the largest the slopes jump: values are then less certain than their sum.
    within = 5e-3 if classifier.architecture.readout == "max" else 2e-4
    assert integrated_gradients(classifier, values, 2, nothing).values == pytest.approx(expected, abs=within)


def test_a_steep_path_adds_up_too():
    """Large recurrent weights make the logit jump within a thousandth of the path: equal steps miss that."""
    classifier = network("rnn", seed=1, spread=2.5)
    values = 2 * np.random.default_rng(2).normal(size=(12, F)).astype(np.float32)
    nothing = baseline(classifier, False)
    crude = riemann_sum(Peer(classifier), values, 0, nothing, points=64)
    found = integrated_gradients(classifier, values, 0, nothing)
    assert abs(crude.sum() - found.difference) > 0.05
    assert found.values.sum() == pytest.approx(found.difference, abs=1e-3)


def test_what_lies_at_the_baseline_gets_nothing():
    classifier = network("gru", readout="mean")
    values = np.random.default_rng(0).normal(size=(4, F)).astype(np.float32)
    values[2] = classifier.shift.numpy()
    found = integrated_gradients(classifier, values, 0, baseline(classifier, False))
    assert not found.values[2].any()
    alone = integrated_gradients(classifier, values[2:3], 0, baseline(classifier, False))
    assert (alone.difference, alone.error) == (0, 0)


def test_the_network_is_left_as_it_was():
    classifier = network("lstm").train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    trained = [weight.requires_grad for weight in classifier.parameters()]
    part = MemorySource.from_list([np.ones((3, F), np.float32)], np.zeros(1, np.int64), CLASSES, "made up")
    integrated_gradients(classifier, np.ones((3, F), np.float32), 0, np.zeros(F, np.float32))
    check_by_deletion(classifier, part, np.zeros(F, np.float32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert [weight.requires_grad for weight in classifier.parameters()] == trained
    assert all(weight.grad is None for weight in classifier.parameters())


# --- solved by hand


def no_memory(readout, w=(0.8, -0.5), bias=0.3, out=1.7):
    """One tanh unit that forgets: h_t = tanh(w x_t + bias), and logit 0 is `out` times what is read out."""
    classifier = Network(Architecture("rnn", 2, 1, 1, False, 0.0, "between", readout, 2))
    layer = classifier.recurrent
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([w]))
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0.fill_(bias)
        classifier.head.weight.copy_(torch.tensor([[out], [0.0]]))
        classifier.head.bias.zero_()
    return classifier


def by_hand(x, w=(0.8, -0.5), bias=0.3, out=1.7):
    """Of one step, from a baseline of zeros: along the path the unit sees s (w x) + bias, so the integral of
    its slope is (tanh(w x + bias) - tanh(bias)) / (w x), and each value gets its share w_i x_i of that."""
    total = w[0] * x[0] + w[1] * x[1]
    return [out * (math.tanh(total + bias) - math.tanh(bias)) / total * w[i] * x[i] for i in (0, 1)]


X = [[1.0, 0.5], [-2.0, 1.5], [0.25, -3.0]]


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        ("last", [[0, 0], [0, 0], by_hand(X[2])]),
        ("mean", [[share / 3 for share in by_hand(x)] for x in X]),
        # The third step drives the unit hardest at every place of the path: w x is 0.55, -2.35, 1.7.
        ("max", [[0, 0], [0, 0], by_hand(X[2])]),
    ],
)
def test_a_unit_without_memory_is_attributed_as_solved_by_hand(readout, expected):
    nothing = np.zeros(2, np.float32)
    found = integrated_gradients(no_memory(readout), np.array(X, np.float32), 0, nothing)
    assert found.values == pytest.approx(np.array(expected), abs=1e-5)
    other = integrated_gradients(no_memory(readout), np.array(X, np.float32), 1, nothing)
    assert not other.values.any()  # its logit hears nothing of the unit


def test_nothing_is_black_in_a_picture_and_the_mean_in_other_sequences():
    classifier = network()
    assert baseline(classifier, True).tolist() == [0, 0, 0]
    assert baseline(classifier, False).tolist() == classifier.shift.tolist()


# --- in the picture's place


def test_shares_of_rows_and_columns_stand_where_their_pixels_do():
    picture = np.arange(24.0).reshape(4, 6)
    assert np.array_equal(in_place(picture, View("rows", 4, 6)), picture)
    assert np.array_equal(in_place(picture.T.copy(), View("columns", 4, 6)), picture)
    assert np.array_equal(in_place(picture.reshape(24, 1), View("pixels", 4, 6)), picture)


def test_shares_of_patches_stand_where_their_pixels_do():
    picture = np.arange(64.0).reshape(8, 8)
    steps = [
        [picture[top + y, left + x] for y in range(4) for x in range(4)]
        for top in (0, 4)
        for left in (0, 4)
    ]  # fmt: skip
    assert np.array_equal(in_place(np.array(steps), View("patches:4", 8, 8)), picture)


def test_shares_of_permuted_pixels_go_back_to_their_pixels():
    view = View("permuted", 5, 5, seed=3)
    for pixel in range(25):  # one lit pixel at a time, seen and put back
        picture = np.zeros((1, 5, 5))
        picture[0, pixel // 5, pixel % 5] = 1
        steps = view.apply(picture)[0]
        assert steps.shape == (25, 1)
        assert np.array_equal(in_place(steps, view), picture[0])
    assert np.flatnonzero(view.apply(np.arange(25).reshape(1, 5, 5))[0, :, 0] != np.arange(25)).size > 10


@pytest.mark.parametrize("name", ["rows", "columns", "pixels", "permuted", "patches:4"])
def test_shares_of_colours_add_up_at_their_pixel(name):
    view = View(name, 4, 8, channels=3)
    colours = np.random.default_rng(0).normal(size=(4, 8, 3))
    steps = view.apply(colours.reshape(1, 4, 24))[0]
    assert in_place(steps, view) == pytest.approx(colours.sum(2), abs=1e-12)


def test_shares_of_other_sequences_stay_as_they_are():
    shares = np.arange(6.0).reshape(3, 2)
    assert in_place(shares, None) is shares


# --- deletion


@pytest.fixture(scope="module")
def digits(trained):
    """The classifier of the digits' run, and its test pictures as its steps."""
    model = scanline.load(trained)
    return model.network, model.fit(catalog.load("digits").test)


def test_without_the_values_it_rests_on_an_answer_loses_more_than_without_random_ones(digits):
    classifier, part = digits
    found = check_by_deletion(classifier, part, baseline(classifier, True))
    assert (found.n, found.share) == (360, 0.1)
    assert found.before > 0.9
    assert found.by_attribution > 3 * found.at_random_present > 3 * found.at_random > 0


def test_shuffled_attributions_do_no_better_than_random_ones(digits, monkeypatch):
    real, draw = attribution._quick_attributions, np.random.default_rng(0)

    def shuffled(*arguments):
        for index, values, weights in real(*arguments):
            flat = weights.reshape(len(weights), -1)
            yield index, values, draw.permuted(flat, axis=1).reshape(weights.shape)

    monkeypatch.setattr(attribution, "_quick_attributions", shuffled)
    classifier, part = digits
    found = check_by_deletion(classifier, part, baseline(classifier, True))
    assert abs(found.by_attribution - found.at_random) < 0.03
    assert found.by_attribution < found.at_random_present + 0.03


def test_a_network_that_answers_the_same_to_everything_has_nothing_to_lose():
    classifier, draw = network(features=8), np.random.default_rng(0)
    values = draw.normal(size=(40, 6, 8)).astype(np.float32)
    part = MemorySource.from_list(list(values), np.zeros(40, np.int64), CLASSES, "made up")
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.zero_()
    found = check_by_deletion(classifier, part, baseline(classifier, False))
    assert found.before == pytest.approx(1 / K)
    assert (found.by_attribution, found.at_random, found.at_random_present) == (0, 0, 0)


def test_where_all_values_go_it_is_all_the_same_which_come_first(digits):
    classifier, part = digits
    found = check_by_deletion(classifier, part.take(slice(0, 50)), baseline(classifier, True), share=1.0)
    assert found.by_attribution == pytest.approx(found.at_random, abs=1e-12)
    assert found.by_attribution == pytest.approx(found.at_random_present, abs=1e-12)


def test_the_check_draws_from_its_seed_alone(digits):
    classifier, part = digits
    few, nothing = part.take(slice(0, 50)), baseline(classifier, True)
    one, same, other = (check_by_deletion(classifier, few, nothing, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.by_attribution == other.by_attribution
    assert one.at_random != other.at_random


def test_sequences_of_different_lengths_are_checked_as_each_alone():
    classifier, draw = network(readout="mean", spread=1.0), np.random.default_rng(0)
    parts = [draw.normal(size=(length, F)).astype(np.float32) for length in (5, 1, 9, 3, 7, 2)]
    labels, nothing = np.zeros(6, np.int64), baseline(classifier, False)
    together = check_by_deletion(
        classifier, MemorySource.from_list(parts, labels, CLASSES, "made up"), nothing, share=0.3
    )
    alone = [
        check_by_deletion(
            classifier, MemorySource.from_list([each], labels[:1], CLASSES, "made up"), nothing, share=0.3
        )
        for each in parts
    ]
    assert together.n == 6
    assert together.before == pytest.approx(np.mean([each.before for each in alone]), abs=1e-6)
    expected = np.mean([each.by_attribution for each in alone])
    assert together.by_attribution == pytest.approx(expected, abs=1e-6)


def test_the_value_that_decides_is_the_one_that_goes():
    """Logit 0 hears the last step's first feature alone: without it the two classes are even."""
    classifier = no_memory("last", w=(3.0, 0.0), bias=0.0, out=4.0)
    values = np.full((10, 2), 0.9, np.float32)
    part = MemorySource(values, np.array([10]), np.zeros(1, np.int64), ("a", "b"), "made up")
    found = check_by_deletion(classifier, part, np.zeros(2, np.float32), share=0.05)  # one of 20
    before = 1 / (1 + math.exp(-4 * math.tanh(2.7)))
    assert found.before == pytest.approx(before, abs=1e-6)
    assert found.by_attribution == pytest.approx(before - 0.5, abs=1e-6)
