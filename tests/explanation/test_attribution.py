"""Attributions: their sums, their positions and their meaning."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.transforms.views import View
from scanline.explanation.attribution import baseline, integrated_gradients, to_pixels
from scanline.explanation.deletion import check_by_deletion
from scanline.model.network import Architecture, Network
from scanline.tasks.classification import Classification

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


class ReferenceNetwork(torch.nn.Module):
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


def riemann_sum(reference, values, target, nothing, points=2000):
    """The integral as the paper writes it down: steps of equal length along the straight path."""
    end, begin = torch.tensor(values).double(), torch.tensor(nothing).double().expand(values.shape)
    along = (torch.arange(points).double() + 0.5) / points
    path = (begin + along[:, None, None] * (end - begin)).requires_grad_()
    reference(path)[:, target].sum().backward()
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
    attribution = integrated_gradients(classifier, values, target, nothing)
    reference = ReferenceNetwork(classifier)
    with torch.no_grad():
        ends = reference(torch.tensor(np.stack([values, np.broadcast_to(nothing, values.shape)])).double())
    difference = float(ends[0, target] - ends[1, target])
    assert attribution.target == target
    assert attribution.values.shape == values.shape
    assert attribution.difference == pytest.approx(difference, abs=1e-6)
    assert attribution.values.sum() == pytest.approx(difference, abs=1e-3)
    assert attribution.error == pytest.approx(
        abs(attribution.values.sum() - attribution.difference), abs=1e-12
    )


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_attributions_are_those_of_a_plain_riemann_sum(which):
    classifier = network(*which, seed=3)
    values = np.random.default_rng(4).normal(size=(6, F)).astype(np.float32)
    nothing = baseline(classifier, False)
    expected = riemann_sum(ReferenceNetwork(classifier), values, 2, nothing)
    # Where another step becomes the largest the slopes jump: values are then less certain than their sum.
    within = 5e-3 if classifier.architecture.readout == "max" else 2e-4
    assert integrated_gradients(classifier, values, 2, nothing).values == pytest.approx(expected, abs=within)


def test_a_steep_path_adds_up_too():
    """Large recurrent weights make the logit jump within a thousandth of the path: equal steps miss that."""
    classifier = network("rnn", seed=1, spread=2.5)
    values = 2 * np.random.default_rng(2).normal(size=(12, F)).astype(np.float32)
    nothing = baseline(classifier, False)
    crude = riemann_sum(ReferenceNetwork(classifier), values, 0, nothing, points=64)
    attribution = integrated_gradients(classifier, values, 0, nothing)
    assert abs(crude.sum() - attribution.difference) > 0.05
    assert attribution.values.sum() == pytest.approx(attribution.difference, abs=1e-3)


def test_values_at_the_baseline_have_no_attribution():
    classifier = network("gru", readout="mean")
    values = np.random.default_rng(0).normal(size=(4, F)).astype(np.float32)
    values[2] = classifier.shift.numpy()
    attribution = integrated_gradients(classifier, values, 0, baseline(classifier, False))
    assert not attribution.values[2].any()
    alone = integrated_gradients(classifier, values[2:3], 0, baseline(classifier, False))
    assert (alone.difference, alone.error) == (0, 0)


def test_the_network_is_left_as_it_was():
    classifier = network("lstm").train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    trained = [weight.requires_grad for weight in classifier.parameters()]
    source = MemorySource.from_list([np.ones((3, F), np.float32)], np.zeros(1, np.int64), CLASSES, "made up")
    integrated_gradients(classifier, np.ones((3, F), np.float32), 0, np.zeros(F, np.float32))
    check_by_deletion(classifier, Classification(CLASSES), source, np.zeros(F, np.float32))
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
def test_the_attribution_of_a_unit_without_memory_computed_by_hand(readout, expected):
    nothing = np.zeros(2, np.float32)
    attribution = integrated_gradients(no_memory(readout), np.array(X, np.float32), 0, nothing)
    assert attribution.values == pytest.approx(np.array(expected), abs=1e-5)
    other = integrated_gradients(no_memory(readout), np.array(X, np.float32), 1, nothing)
    assert not other.values.any()  # its logit hears nothing of the unit


def test_the_baseline_is_black_for_pictures_and_the_mean_otherwise():
    classifier = network()
    assert baseline(classifier, True).tolist() == [0, 0, 0]
    assert baseline(classifier, False).tolist() == classifier.shift.tolist()


# --- in the picture's place


def test_attributions_of_rows_and_columns_are_at_their_pixels():
    picture = np.arange(24.0).reshape(4, 6)
    assert np.array_equal(to_pixels(picture, View("rows", 4, 6)), picture)
    assert np.array_equal(to_pixels(picture.T.copy(), View("columns", 4, 6)), picture)
    assert np.array_equal(to_pixels(picture.reshape(24, 1), View("pixels", 4, 6)), picture)


def test_attributions_of_patches_are_at_their_pixels():
    picture = np.arange(64.0).reshape(8, 8)
    steps = [
        [picture[top + y, left + x] for y in range(4) for x in range(4)]
        for top in (0, 4)
        for left in (0, 4)
    ]  # fmt: skip
    assert np.array_equal(to_pixels(np.array(steps), View("patches:4", 8, 8)), picture)


def test_attributions_of_permuted_pixels_go_back_to_their_pixels():
    view = View("permuted", 5, 5, seed=3)
    for pixel in range(25):  # one lit pixel at a time, seen and put back
        picture = np.zeros((1, 5, 5))
        picture[0, pixel // 5, pixel % 5] = 1
        steps = view.apply(picture)[0]
        assert steps.shape == (25, 1)
        assert np.array_equal(to_pixels(steps, view), picture[0])
    assert np.flatnonzero(view.apply(np.arange(25).reshape(1, 5, 5))[0, :, 0] != np.arange(25)).size > 10


@pytest.mark.parametrize("name", ["rows", "columns", "pixels", "permuted", "patches:4"])
def test_attributions_of_colours_add_up_at_their_pixel(name):
    view = View(name, 4, 8, channels=3)
    colours = np.random.default_rng(0).normal(size=(4, 8, 3))
    steps = view.apply(colours.reshape(1, 4, 24))[0]
    assert to_pixels(steps, view) == pytest.approx(colours.sum(2), abs=1e-12)
