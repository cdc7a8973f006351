"""Activity of gates and units, of networks with weights made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from scanline.data.memory import MemorySource
from scanline.model.network import Architecture, Network
from scanline.reporting.activity import gate_activity
from scanline.tasks.classification import Classification
from tests.conftest import make_sequences


def silent(cell: str, hidden: int = 2, layers: int = 1, both: bool = False, features: int = 1) -> Network:
    """A network all of whose weights are 0."""
    shape = Architecture(
        cell=cell,
        input_size=features,
        hidden_size=hidden,
        layers=layers,
        bidirectional=both,
        dropout=0.0,
        dropout_on="between",
        readout="last",
        classes=2,
    )
    classifier = Network(shape).eval()
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.zero_()
    return classifier


def change(classifier: Network, which: int, values: list[float]) -> None:
    """Set one of (w_ih, w_hh, b_ih, b_hh) of the first layer; it is filled row by row."""
    weight = classifier.recurrent.weights(0, 0)[which]
    with torch.no_grad():
        weight.copy_(torch.tensor(values).reshape(weight.shape))


def of_one_feature(*sequences: list[float]) -> MemorySource:
    arrays = [np.array(values, np.float32)[:, None] for values in sequences]
    return MemorySource.from_list(arrays, np.zeros(len(arrays), np.int64), (0, 1), "made by hand")


def measured(classifier: Network, source: MemorySource) -> dict[str, Any]:
    task = Classification(tuple(range(classifier.head.out_features)))
    return gate_activity(classifier, task, source).to_json()


def test_without_weights_every_gate_is_half_open_and_every_unit_idle():
    activity = measured(silent("lstm", hidden=3), of_one_feature([1, 2], [3]))
    assert activity["n"] == 2
    assert activity["gates"] == [
        {"name": name, "shut": 0.0, "between": 1.0, "open": 0.0}
        for name in ("input gate", "forget gate", "output gate")
    ]
    assert activity["states"] == [{"name": "state", "mean_size": [0.0, 0.0, 0.0], "idle": 3}]


def test_large_biases_open_and_close_their_gates():
    classifier = silent("lstm")
    # Rows as torch has them: input, forget, candidate and output gate, two units each. The first unit's
    # candidate is tanh(atanh(0.5)) = 0.5; as all is forgotten its cell is 0.5, and its state 0.5 tanh(0.5).
    change(classifier, 2, [100, 100, -100, -100, math.atanh(0.5), 0, 0, 0])
    activity = measured(classifier, of_one_feature([1, -1, 5], [0]))
    fractions = {each["name"]: (each["shut"], each["between"], each["open"]) for each in activity["gates"]}
    assert fractions == {"input gate": (0, 0, 1), "forget gate": (1, 0, 0), "output gate": (0, 1, 0)}
    (state,) = activity["states"]
    assert state["mean_size"] == pytest.approx([0.5 * math.tanh(0.5), 0], abs=1e-7)
    assert state["idle"] == 1


def test_fractions_are_of_all_steps_and_units_of_all_sequences():
    classifier = silent("lstm", hidden=1)
    change(classifier, 0, [1000, 0, 0, 0])  # the input gate: open for 1, shut for -1, between for 0
    activity = measured(classifier, of_one_feature([1], [-1, -1, 0]))
    assert activity["gates"][0] == {"name": "input gate", "shut": 0.5, "between": 0.25, "open": 0.25}


def test_the_size_of_a_state_is_its_mean_over_all_steps_whatever_their_sign():
    classifier = silent("rnn")
    change(classifier, 0, [1, 0.01])
    activity = measured(classifier, of_one_feature([0.5], [-1, 2, 0]))
    mean = [sum(math.tanh(abs(x) * weight) for x in (0.5, -1, 2, 0)) / 4 for weight in (1, 0.01)]
    assert activity["gates"] == []
    assert activity["states"] == [{"name": "state", "mean_size": pytest.approx(mean, abs=1e-7), "idle": 1}]


def test_a_gru_has_its_own_gates():
    classifier = silent("gru", hidden=1)
    change(classifier, 2, [-100, 100, 0])
    activity = measured(classifier, of_one_feature([1, 2]))
    assert [(each["name"], each["shut"], each["open"]) for each in activity["gates"]] == [
        ("reset gate", 1, 0),
        ("update gate", 0, 1),
    ]


@pytest.mark.parametrize(("low", "high"), [(0.1 - 1e-4, 0.9 + 1e-4), (0.1 + 1e-4, 0.9 - 1e-4)])
def test_a_tenth_and_nine_tenths_are_the_borders(low, high):
    classifier = silent("lstm", hidden=2)
    change(classifier, 2, [math.log(p / (1 - p)) for p in (low, high)] + [0] * 6)
    (gate, *_) = measured(classifier, of_one_feature([0]))["gates"]
    beyond = 0.5 if low < 0.1 else 0.0
    assert (gate["shut"], gate["open"]) == (beyond, beyond)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("both", [False, True])
def test_fractions_sum_to_one_and_every_layer_is_named(cell, both):
    torch.manual_seed(0)
    shape = silent(cell, 5, 2, both, 3).architecture
    classifier = Network(shape).eval()
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.mul_(8)  # so that some gates are open and some shut
    activity = measured(classifier, make_sequences())
    places = [f"layer {layer}{way}" for layer in (1, 2) for way in (["", ", backward"] if both else [""])]
    gates = {"lstm": ["input", "forget", "output"], "gru": ["reset", "update"], "rnn": []}[cell]
    assert sorted(each["name"] for each in activity["gates"]) == sorted(
        f"{gate} gate, {place}" for gate in gates for place in places
    )
    for each in activity["gates"]:
        fractions = [each["shut"], each["between"], each["open"]]
        assert sum(fractions) == pytest.approx(1)
        assert all(0 < fraction < 1 for fraction in fractions)
    assert [each["name"] for each in activity["states"]] == places
    for each in activity["states"]:
        assert len(each["mean_size"]) == 5
        assert each["idle"] == sum(size < 0.05 for size in each["mean_size"])


def test_of_many_sequences_two_hundred_are_read_from_the_first_to_the_last():
    classifier = silent("lstm", hidden=1)
    change(classifier, 0, [1000, 0, 0, 0])
    activity = measured(classifier, of_one_feature([1], *[[-1]] * 448, [0]))
    assert activity["n"] == 200
    assert activity["gates"][0] == {
        "name": "input gate",
        "shut": pytest.approx(198 / 200),
        "between": pytest.approx(1 / 200),
        "open": pytest.approx(1 / 200),
    }
