"""Interventions: predictions with blank steps, clamped gates and silenced units."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from scanline import cells
from scanline.explanation import trace as module
from scanline.explanation.attribution import baseline
from scanline.explanation.trace import trace
from scanline.explanation.what_if import Clamp, Silence, WhatIf
from tests.explanation.test_trace import NETWORKS, TASK, F, H, T, network

CELLS, READOUTS = ["rnn", "gru", "lstm"], ["last", "mean", "max"]
TRACED = {name: cells.get(name).traced for name in cells.names()}
CLAMPABLE = {name: cells.get(name).clampable for name in cells.names()}
GATED = [which for which in NETWORKS if which[0] != "rnn"]
DIRECTIONS = {None: (False, True), "forward": (False,), "backward": (True,)}


def sequence(steps=T, seed=1):
    return np.random.default_rng(seed).normal(size=(steps, F)).astype(np.float32)


def same(one, other):
    """Whether two traces are alike to the last bit."""
    one, other = one.arrays(), other.arrays()
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


class Forced(WhatIf):
    """Changes nothing, and is computed as if it did."""

    inside = True


# --- the same networks written down once more, with what is held and silenced


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def states_by_hand(cell, x, w_ih, w_hh, b_ih, b_hh, held, silent):
    """Traced values of each step of x (T, F). held: gates by name. silent: units."""
    size = w_hh.shape[1]
    h, c, rows = np.zeros(size), np.zeros(size), []

    def gate(name, total):
        return np.full(size, held[name]) if name in held else sigmoid(total)

    for step in x:
        read, hidden_part = w_ih @ step + b_ih, w_hh @ h + b_hh
        if cell == "lstm":
            i, f, g, o = np.split(read + hidden_part, 4)
            i, f, g, o = gate("i", i), gate("f", f), np.tanh(g), gate("o", o)
            c = f * c + i * g
            h = o * np.tanh(c)
        elif cell == "gru":
            reads, keeps = np.split(read, 3), np.split(hidden_part, 3)
            r, z = gate("r", reads[0] + keeps[0]), gate("z", reads[1] + keeps[1])
            n = np.tanh(reads[2] + r * keeps[2])
            h = (1 - z) * n + z * h
        elif cell == "gru-reset-before":
            reads, (w_r, w_z, w_n), (b_r, b_z, b_n) = np.split(read, 3), np.split(w_hh, 3), np.split(b_hh, 3)
            r, z = gate("r", reads[0] + w_r @ h + b_r), gate("z", reads[1] + w_z @ h + b_z)
            n = np.tanh(reads[2] + w_n @ (r * h) + b_n)
            h = (1 - z) * n + z * h
        else:
            h = np.tanh(read + hidden_part)
        h = np.array([0.0 if unit in silent else value for unit, value in enumerate(h)])
        own = (h,) if cell == "rnn" else (i, f, g, o, c, h) if cell == "lstm" else (r, z, n, h)
        rows.append(dict(zip(TRACED[cell], own, strict=True)))
    return {name: np.stack([row[name] for row in rows]) for name in TRACED[cell]}


def predict_by_hand(classifier, values, what_if):
    """Parts of all layers and directions, and the probabilities (K,) of the whole sequence."""
    # In float32, as the network standardises; all else in float64.
    read = ((values - classifier.shift.numpy()) / classifier.scale.numpy()).astype(np.float64)
    layers, collected = classifier.recurrent, []
    for layer in range(layers.layers):
        outputs = []
        for backward in range(layers.directions):

            def meant(each, layer=layer, backward=backward):
                return each.layer in (None, layer + 1) and backward in DIRECTIONS[each.direction]

            held = {each.gate: each.value for each in what_if.clamp if meant(each)}
            silent = {each.unit for each in what_if.silence if meant(each)}
            weights = [each.detach().double().numpy() for each in layers.weights(layer, backward)]
            parts = states_by_hand(layers.cell.name, read[::-1] if backward else read, *weights, held, silent)
            collected.append({name: split[::-1] if backward else split for name, split in parts.items()})
            outputs.append(collected[-1]["h"])
        read = np.concatenate(outputs, axis=1)
    how = classifier.architecture.readout
    if how == "last":
        ends = [each[0 if backward else -1] for backward, each in enumerate(outputs)]
        seen = np.concatenate(ends)
    else:
        seen = read.mean(0) if how == "mean" else read.max(0)
    head = classifier.head
    logits = head.weight.detach().double().numpy() @ seen + head.bias.detach().double().numpy()
    probabilities = np.exp(logits - logits.max())
    return collected, probabilities / probabilities.sum()


def check_against_reference(classifier, values, what_if):
    traced = trace(classifier, values, TASK, what_if=what_if)
    parts, probabilities = predict_by_hand(classifier, values, what_if)
    for each, expected in zip(traced.directions, parts, strict=True):
        for name, split in expected.items():
            assert each.values[name] == pytest.approx(split, abs=1e-6), f"{each.title} {name}"
    for step in range(1, len(values) + 1):
        probabilities = predict_by_hand(classifier, values[:step], what_if)[1]
        assert traced.probabilities[step - 1] == pytest.approx(probabilities, abs=1e-9), f"after step {step}"


# --- nothing changed


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_an_empty_intervention_gives_the_prediction_of_the_network(which):
    classifier, values = network(*which), sequence()
    plain, forced = (trace(classifier, values, TASK, 1.5, each) for each in (None, Forced()))
    assert forced.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    assert not np.array_equal(forced.probabilities, plain.probabilities)  # it was computed anew
    for one, other in zip(forced.directions, plain.directions, strict=True):
        assert all(np.array_equal(one.values[name], other.values[name]) for name in TRACED[which[0]])


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_an_empty_what_if_is_the_plain_trace_to_the_last_bit(which):
    classifier, values = network(*which), sequence()
    assert same(trace(classifier, values, TASK, 1.0, WhatIf()), trace(classifier, values, TASK))


@pytest.mark.parametrize(("cell", "gate"), [(cell, gate) for cell in CELLS for gate in CLAMPABLE[cell]])
def test_clamping_a_gate_to_its_own_value_changes_nothing(cell, gate):
    classifier = network(cell, 2, True, "mean")
    at = {"lstm": "ifgo", "gru": "rzn"}[cell].index(gate)
    with torch.no_grad():  # whatever is read, this gate's inputs add up to log 3, whose sigmoid is 3/4
        for layer, direction in itertools.product((0, 1), (0, 1)):
            for weight in classifier.recurrent.weights(layer, direction)[:2]:
                weight[at * H : (at + 1) * H] = 0
            classifier.recurrent.weights(layer, direction)[2][at * H : (at + 1) * H] = math.log(3)
            classifier.recurrent.weights(layer, direction)[3][at * H : (at + 1) * H] = 0
    plain = trace(classifier, sequence(), TASK)
    held = trace(classifier, sequence(), TASK, what_if=WhatIf(clamp=(Clamp(gate, 0.75),)))
    assert held.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    for one, other in zip(held.directions, plain.directions, strict=True):
        for name in TRACED[cell]:
            assert one.values[name] == pytest.approx(other.values[name], abs=1e-6)


# --- gates held


@pytest.mark.parametrize("value", [0, 0.25, 1])
@pytest.mark.parametrize("which", GATED, ids=str)
def test_clamped_gates_give_the_states_of_a_reference_cell(which, value):
    for gate in CLAMPABLE[which[0]]:
        check_against_reference(network(*which), sequence(), WhatIf(clamp=(Clamp(gate, value),)))


def test_an_lstm_with_closed_forget_gates_keeps_the_last_step_only():
    traced_values = (
        trace(network(), sequence(), TASK, what_if=WhatIf(clamp=(Clamp("f", 0),))).directions[0].values
    )
    assert (traced_values["f"] == 0).all()
    assert traced_values["c"] == pytest.approx(traced_values["i"] * traced_values["g"], abs=1e-6)


def test_an_lstm_with_open_forget_gates_accumulates_its_input():
    traced_values = (
        trace(network(), sequence(), TASK, what_if=WhatIf(clamp=(Clamp("f", 1),))).directions[0].values
    )
    assert (traced_values["f"] == 1).all()
    assert traced_values["c"] == pytest.approx((traced_values["i"] * traced_values["g"]).cumsum(0), abs=1e-6)


@pytest.mark.parametrize("direction", [None, "forward", "backward"])
@pytest.mark.parametrize("layer", [None, 1, 2])
def test_a_gate_is_clamped_only_in_the_named_layer_and_direction(layer, direction):
    what_if = WhatIf(clamp=(Clamp("f", 0.125, layer, direction),))
    traced = trace(network("lstm", 2, True), sequence(), TASK, what_if=what_if)
    clamped = [each for each in traced.directions if (each.values["f"] == 0.125).all()]
    held = [(each.layer + 1, each.backward) for each in clamped]
    expected = itertools.product((1, 2) if layer is None else (layer,), DIRECTIONS[direction])
    assert held == list(expected)


@pytest.mark.parametrize("readout", READOUTS)
def test_interventions_of_several_kinds_can_be_combined(readout):
    what_if = WhatIf(
        clamp=(Clamp("f", 1, 1), Clamp("f", 0.5, 2, "backward"), Clamp("o", 0.75)),
        silence=(Silence(0), Silence(3, 1, "forward"), Silence(2, 2)),
    )
    check_against_reference(network("lstm", 2, True, readout), sequence(), what_if)


# --- units silenced: as if nobody had a weight for them


def without(classifier, what_if):
    """A copy whose weights for the silenced units' outputs are 0: of the next step, layer and the head."""
    edited = copy.deepcopy(classifier)
    layers = edited.recurrent
    with torch.no_grad():
        for each in what_if.silence:
            for layer, direction in itertools.product(range(layers.layers), range(layers.directions)):
                if each.layer not in (None, layer + 1) or direction not in DIRECTIONS[each.direction]:
                    continue
                layers.weights(layer, direction)[1][:, each.unit] = 0
                column = direction * layers.hidden_size + each.unit
                if layer + 1 == layers.layers:
                    edited.head.weight[:, column] = 0
                else:
                    for above in range(layers.directions):
                        layers.weights(layer + 1, above)[0][:, column] = 0
    return edited


def prefixes(classifier, values):
    """(T, K) probabilities that the network itself gives for each beginning."""
    with torch.no_grad():
        rows = [classifier(torch.from_numpy(values[None, :step])) for step in range(1, len(values) + 1)]
    return torch.cat(rows).double().softmax(1).numpy()


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_a_silenced_unit_has_no_effect_on_anything_that_reads_it(which):
    classifier, values = network(*which), sequence()
    ways = [None, "forward", "backward"] if which[2] else [None, "forward"]
    places = itertools.product([None, *range(1, which[1] + 1)], ways)
    for layer, direction in places:
        what_if = WhatIf(silence=(Silence(1, layer, direction), Silence(3, layer, direction)))
        expected = prefixes(without(classifier, what_if), values)
        traced = trace(classifier, values, TASK, what_if=what_if)
        assert traced.probabilities == pytest.approx(expected, abs=1e-6), (layer, direction)
        for each in traced.directions:
            meant = layer in (None, each.layer + 1) and each.backward in DIRECTIONS[direction]
            silent = (each.values["h"] == 0).all(0).tolist()
            assert silent == [False, meant, False, meant]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_with_all_units_silenced_the_logits_are_the_heads_bias(cell, bidirectional):
    classifier = network(cell, bidirectional=bidirectional)
    what_if = WhatIf(silence=tuple(Silence(unit) for unit in range(H)))
    bias = classifier.head.bias.detach().double().softmax(0).numpy()
    probabilities = trace(classifier, sequence(), TASK, what_if=what_if).probabilities
    assert probabilities == pytest.approx(np.tile(bias, (T, 1)), abs=1e-9)


def test_the_cell_state_of_a_silenced_unit_is_still_updated():
    traced_values = (
        trace(network(), sequence(), TASK, what_if=WhatIf(silence=(Silence(2),))).directions[0].values
    )
    c = np.zeros(H)
    for step in range(T):
        c = traced_values["f"][step] * c + traced_values["i"][step] * traced_values["g"][step]
        assert traced_values["c"][step] == pytest.approx(c, abs=1e-6)
    assert (traced_values["c"][:, 2] != 0).all()
    assert (traced_values["h"][:, 2] == 0).all()


# --- beginnings read by both directions


@pytest.mark.parametrize("steps", [1, 2, 3, 13])
@pytest.mark.parametrize("readout", READOUTS)
def test_prefixes_of_any_length_are_predicted_in_both_directions(readout, steps):
    classifier, values = network("gru", 2, True, readout), sequence(steps)
    what_if = WhatIf(silence=(Silence(0),))
    expected = prefixes(without(classifier, what_if), values)
    assert trace(classifier, values, TASK, what_if=what_if).probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("numbers", [1, 300])
def test_prefixes_that_do_not_fit_in_memory_together_get_the_same_predictions(monkeypatch, numbers):
    classifier, what_if = network("lstm", 2, True, "max"), WhatIf(clamp=(Clamp("i", 0.5),))
    expected = trace(classifier, sequence(), TASK, what_if=what_if).probabilities
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    traced = trace(classifier, sequence(), TASK, what_if=what_if).probabilities
    assert traced == pytest.approx(expected, abs=1e-12)


def test_the_temperature_applies_to_changed_probabilities():
    classifier, what_if = network("lstm", readout="mean"), WhatIf(clamp=(Clamp("f", 0),))
    plain, softer = (trace(classifier, sequence(), TASK, each, what_if).probabilities for each in (1.0, 2.5))
    expected = plain ** (1 / 2.5)
    assert softer == pytest.approx(expected / expected.sum(1, keepdims=True), abs=1e-9)


# --- blank steps


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_blank_steps_are_read_as_the_baseline(which):
    classifier, values = network(*which), sequence()
    nothing = baseline(classifier, False)
    by_hand = values.copy()
    by_hand[2], by_hand[6] = classifier.shift.numpy(), classifier.shift.numpy()
    what_if, before = WhatIf(blank=(3, 7, 3)), values.copy()
    assert same(trace(classifier, values, TASK, 1.0, what_if, nothing), trace(classifier, by_hand, TASK))
    assert np.array_equal(values, before)
    both = WhatIf(blank=(3, 7), silence=(Silence(1),))
    assert same(
        trace(classifier, values, TASK, 1.0, both, nothing),
        trace(classifier, by_hand, TASK, 1.0, WhatIf(silence=(Silence(1),))),
    )


def test_blank_steps_of_bytes_take_a_fractional_mean():
    classifier = network()
    values = np.arange(T * F, dtype=np.uint8).reshape(T, F)
    by_hand = values.astype(np.float32)
    by_hand[0] = nothing = np.array([-1.5, 0.25, 300], np.float32)
    traced = trace(classifier, values, TASK, what_if=WhatIf(blank=(1,)), baseline=nothing)
    assert same(traced, trace(classifier, by_hand, TASK))


def test_blank_steps_require_a_baseline():
    with pytest.raises(ValueError, match="blank steps need a baseline"):
        trace(network(), sequence(), TASK, what_if=WhatIf(blank=(1,)))
