"""The trace of one sequence: the prediction so far, and every gate and state."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch

import scanline
from scanline import cells
from scanline.data import catalogue as catalog
from scanline.data.preprocessing import Preprocessing
from scanline.explanation.explain import explain
from scanline.explanation.trace import Direction, Trace, trace
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

F, H, K, T = 3, 4, 5, 7
CLASSES = tuple("abcde")
TASK = Classification(CLASSES)
NETWORKS = list(itertools.product(["rnn", "gru", "lstm"], [1, 2], [False, True], ["last", "mean", "max"]))
NETWORKS.append(("gru-reset-before", 2, True, "last"))


def network(cell="lstm", layers=1, bidirectional=False, readout="last", seed=0, hidden_size=H):
    """A network with no weight of 0 but the biases that are never trained."""
    classifier = Network(
        Architecture(cell, F, hidden_size, layers, bidirectional, 0.0, "between", readout, K)
    )
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in classifier.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.7, generator=draw)
        classifier.shift.normal_(generator=draw)
        classifier.scale.uniform_(0.5, 2, generator=draw)
    return classifier.eval()


def model_of(classifier, temperature=None):
    form = Preprocessing(None, "rows", 0, F, F, "error", (), DEFAULT_DATA)
    return Model(classifier, TASK, form, "made up", temperature, calibrated=temperature is not None)


def sequence(steps=T, seed=1):
    return np.random.default_rng(seed).normal(size=(steps, F)).astype(np.float32)


# --- the same cells written down once more: one unit at a time, one step after another


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def lstm_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    size = len(w_hh) // 4
    h, c, rows = [0.0] * size, [0.0] * size, []
    for step in x:
        row = {name: [] for name in "ifgoch"}
        for unit in range(size):

            def total(gate, unit=unit, step=step, h=h):
                line = gate * size + unit
                return b_ih[line] + b_hh[line] + w_ih[line] @ step + w_hh[line] @ np.array(h)

            i, f, o = sigmoid(total(0)), sigmoid(total(1)), sigmoid(total(3))
            g = math.tanh(total(2))
            cell = f * c[unit] + i * g
            for name, value in zip("ifgoch", (i, f, g, o, cell, o * math.tanh(cell)), strict=True):
                row[name].append(value)
        h, c = row["h"], row["c"]
        rows.append(row)
    return rows


def gru_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    size = len(w_hh) // 3
    h, rows = [0.0] * size, []
    for step in x:
        row = {name: [] for name in "rznh"}
        for unit in range(size):
            read, hidden_part = w_ih @ step + b_ih, w_hh @ np.array(h) + b_hh
            r = sigmoid(read[unit] + hidden_part[unit])
            z = sigmoid(read[size + unit] + hidden_part[size + unit])
            n = math.tanh(read[2 * size + unit] + r * hidden_part[2 * size + unit])
            for name, value in zip("rznh", (r, z, n, (1 - z) * n + z * h[unit]), strict=True):
                row[name].append(value)
        h = row["h"]
        rows.append(row)
    return rows


def gru_reset_before_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    size = len(w_hh) // 3
    h, rows = np.zeros(size), []
    for step in x:
        read, hidden_part = w_ih @ step + b_ih + b_hh, w_hh[: 2 * size] @ h
        r = [sigmoid(read[unit] + hidden_part[unit]) for unit in range(size)]
        z = [sigmoid(read[size + unit] + hidden_part[size + unit]) for unit in range(size)]
        scaled = w_hh[2 * size :] @ (np.array(r) * h)
        n = [math.tanh(read[2 * size + unit] + scaled[unit]) for unit in range(size)]
        h = np.array([(1 - z[unit]) * n[unit] + z[unit] * h[unit] for unit in range(size)])
        rows.append({"r": r, "z": z, "n": n, "h": h.tolist()})
    return rows


def rnn_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    h, rows = np.zeros(len(w_hh)), []
    for step in x:
        h = np.array([math.tanh(total) for total in w_ih @ step + b_ih + w_hh @ h + b_hh])
        rows.append({"h": h.tolist()})
    return rows


BY_HAND = {
    "lstm": lstm_by_hand,
    "gru": gru_by_hand,
    "rnn": rnn_by_hand,
    "gru-reset-before": gru_reset_before_by_hand,
}


def read_by_hand(classifier, values):
    """For each layer and direction the parts (T, H) at the step that they belong to."""
    shift, scale = classifier.shift.double().numpy(), classifier.scale.double().numpy()
    read = (values.astype(np.float64) - shift) / scale
    layers, collected = classifier.recurrent, []
    for layer in range(layers.layers):
        outputs = []
        for direction in range(layers.directions):
            weights = [each.detach().double().numpy() for each in layers.weights(layer, direction)]
            rows = BY_HAND[layers.cell.name](read[::-1] if direction else read, *weights)
            rows = rows[::-1] if direction else rows
            collected.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
            outputs.append(collected[-1]["h"])
        read = np.concatenate(outputs, axis=1)
    return collected


# --- probabilities


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_the_prediction_after_each_step_is_that_of_the_sequence_ending_there(which):
    model, values = model_of(network(*which)), sequence()
    probabilities = explain(model, values).trace.probabilities
    assert probabilities.shape == (T, K)
    assert probabilities[-1] == pytest.approx(model.predict_proba(values)[0], abs=1e-6)
    for step in range(1, T + 1):
        assert probabilities[step - 1] == pytest.approx(model.predict_proba(values[:step])[0], abs=1e-6)


def test_a_sequence_of_one_step_has_one_row_of_everything():
    for cell, traced_values in ((name, cells.get(name).traced) for name in ("lstm", "gru", "rnn")):
        model = model_of(network(cell, bidirectional=True))
        traced = explain(model, sequence(1)).trace
        assert traced.probabilities == pytest.approx(model.predict_proba(sequence(1)), abs=1e-6)
        assert (traced.first_reached, traced.settled, traced.changes) == (1, 1, 0)
        for direction in traced.directions:
            assert {name: split.shape for name, split in direction.values.items()} == dict.fromkeys(
                traced_values, (1, H)
            )


def test_calibrated_probabilities_are_traced_with_their_temperature():
    classifier, values = network("lstm", readout="mean"), sequence()
    model = model_of(classifier, temperature=2.5)
    probabilities = explain(model, values).trace.probabilities
    assert probabilities[-1] == pytest.approx(model.predict_proba(values)[0], abs=1e-6)
    plain = explain(model_of(classifier), values).trace.probabilities
    softer = plain ** (1 / 2.5)
    assert probabilities == pytest.approx(softer / softer.sum(1, keepdims=True), abs=1e-6)


def test_pictures_of_bytes_are_traced_as_they_are_predicted(trained):
    model, images = scanline.load(trained), catalog.load("digits").test.values[:10]
    assert images.dtype == np.uint8
    probabilities = model.predict_proba(images)
    for image, expected in zip(images, probabilities, strict=True):
        traced = explain(model, image).trace
        assert traced.probabilities[-1] == pytest.approx(expected, abs=1e-6)
        assert traced.prediction == expected.argmax()


def test_non_contiguous_values_give_the_same_trace():
    classifier, wide = network("gru"), np.random.default_rng(0).normal(size=(2 * T, 2 * F)).astype(np.float32)
    apart = wide[::-2, ::2]
    assert not apart.flags.c_contiguous
    one, other = (trace(classifier, each, TASK) for each in (apart, np.ascontiguousarray(apart)))
    assert np.array_equal(one.probabilities, other.probabilities)


# --- gates and states


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_gates_and_states_are_those_of_a_reference_cell(which):
    classifier, values = network(*which), sequence()
    traced = trace(classifier, values, TASK)
    expected = read_by_hand(classifier, values)
    order = itertools.product(range(which[1]), [False, True][: 1 + which[2]])
    for each, traced_values, (layer, backward) in zip(traced.directions, expected, order, strict=True):
        assert (each.layer, each.backward) == (layer, backward)
        assert tuple(each.values) == tuple(traced_values) == cells.get(which[0]).traced
        for name, split in traced_values.items():
            assert each.values[name].dtype == np.float32
            assert each.values[name] == pytest.approx(split, abs=1e-5), f"{each.title} {name}"


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_second_bias_from_elsewhere_is_added(cell):
    classifier = network(cell)
    torch.nn.init.constant_(classifier.recurrent.bias_hh_l0, 0.6)
    expected = read_by_hand(classifier, sequence())[0]["h"]
    assert trace(classifier, sequence(), TASK).directions[0].values["h"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_states_agree_with_torchs_own_module(cell, layers, bidirectional):
    classifier, values = network(cell, layers, bidirectional), sequence()
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    reference = module(F, H, layers, batch_first=True, bidirectional=bidirectional)
    reference.load_state_dict(classifier.recurrent.state_dict())
    with torch.no_grad():
        read = (torch.from_numpy(values) - classifier.shift) / classifier.scale
        outputs, last = reference(read[None])
    traced = trace(classifier, values, TASK)
    own = [each for each in traced.directions if each.layer == layers - 1]
    assert np.concatenate([each.values["h"] for each in own], 1) == pytest.approx(
        outputs[0].numpy(), abs=1e-5
    )
    for name, states in zip("hc", last if cell == "lstm" else (last,), strict=False):
        for each, state in zip(traced.directions, states[:, 0].numpy(), strict=True):
            assert each.values[name][0 if each.backward else -1] == pytest.approx(state, abs=1e-5)


def test_saturated_gates_are_finite():
    classifier = network("lstm")
    with torch.no_grad():
        classifier.recurrent.weight_ih_l0.mul_(1e4)
    for name in trace(classifier, sequence(), TASK).directions[0].values.values():
        assert np.isfinite(name).all()


# --- when it made up its mind


def trace_of(predictions, classes=3):
    """A trace of these predictions, each with probability 0.6."""
    rows = np.full((len(predictions), classes), 0.4 / (classes - 1))
    rows[np.arange(len(predictions)), predictions] = 0.6
    return Trace(rows, tuple("xyz"[:classes]), ())


@pytest.mark.parametrize(
    ("predictions", "first", "settled", "changes"),
    [
        ([2], 1, 1, 0),
        ([1, 1, 1], 1, 1, 0),
        ([0, 1, 1], 2, 2, 1),
        ([0, 0, 1], 3, 3, 1),
        ([1, 0, 1], 1, 3, 2),
        ([0, 1, 2, 1, 1], 2, 4, 3),
        ([1, 1, 0, 0, 1, 1], 1, 5, 2),
        ([0, 1, 0, 1, 0, 1, 2], 7, 7, 6),
    ],
)
def test_when_a_prediction_was_first_made_settled_and_changed(predictions, first, settled, changes):
    traced = trace_of(predictions)
    assert traced.predictions.tolist() == predictions
    assert traced.prediction == predictions[-1]
    assert (traced.first_reached, traced.settled, traced.changes) == (first, settled, changes)


def test_of_equal_probabilities_the_first_class_is_predicted():
    assert Trace(np.full((2, 4), 0.25), tuple("abcd"), ()).predictions.tolist() == [0, 0]


# --- as JSON and as arrays


def test_the_json_of_a_trace_has_every_number():
    traced = trace(network("lstm", 2, True), sequence(), TASK)
    content = json.loads(json.dumps(traced.to_json(), allow_nan=False))
    assert content["label"] == CLASSES[traced.prediction]
    assert content["probability"] == traced.probabilities[-1].max()
    assert content["classes"] == list(CLASSES)
    assert np.array_equal(content["probabilities"], traced.probabilities)
    names = [(layer, way) for layer in (1, 2) for way in ("forward", "backward")]
    for entry, each, name in zip(content["layers"], traced.directions, names, strict=True):
        assert (entry.pop("layer"), entry.pop("direction")) == name
        assert list(entry) == ["i", "f", "g", "o", "c", "h"]
        for split, values in entry.items():
            assert np.array(values) == pytest.approx(each.values[split], abs=1e-7)


def test_the_arrays_of_a_trace_are_named_by_layer_and_direction():
    arrays = trace(network("gru", 2, True), sequence(), TASK).arrays()
    stems = ["l1", "l1_backward", "l2", "l2_backward"]
    assert list(arrays) == ["probabilities", *(f"{stem}_{split}" for stem in stems for split in "rznh")]
    assert all(array.shape == (T, H) for name, array in arrays.items() if name != "probabilities")


def test_a_direction_is_named_as_people_count():
    assert [Direction(0, False, {}).title, Direction(1, True, {}).title] == ["layer 1", "layer 2, backward"]


def test_a_class_named_by_a_fraction_has_a_probability():
    """Class names may be floats, as 7.0 in a text file; predictions are classes and not numbers."""
    names = tuple(float(index) for index in range(len(TASK.classes)))
    traced = trace(network("lstm"), sequence(), Classification(names))
    assert not traced.predicts_numbers
    assert traced.to_json()["probability"] == pytest.approx(traced.probabilities[-1].max())
