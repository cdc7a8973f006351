"""A cell of another package, added through the entry point `scanline.cells`, works wherever cells do."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from websockets.sync.client import connect

import scanline
from scanline import cells
from scanline.errors import UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.explanation.trace import trace
from scanline.explanation.what_if import Clamp, Silence, WhatIf
from scanline.interchange.keras.write import export_keras
from scanline.interchange.onnx.write import export_onnx, export_step_graph
from scanline.model.layers import RecurrentLayers
from scanline.model.loading import load
from tests.installed import installed
from tests.serving.client import in_thread

# h moves a fraction k towards a candidate: a leaky integrator with a learned, gated rate.
LEAKY = """
from scanline.cells import Cell


def step(inputs, states, weights, intervention):
    (h,) = states
    k, m = (inputs + weights.from_state(h)).chunk(2, -1)
    k = intervention.gate("k", k.sigmoid())
    m = m.tanh()
    return {"k": k, "m": m, "h": intervention.output(h + k * (m - h))}


LEAKY = Cell(
    name="leaky",
    title="Leaky integrator",
    gates=("k", "m"),
    states=("h",),
    traced=("k", "m", "h"),
    step=step,
    titles={"k": "rate", "m": "candidate", "h": "state"},
    clampable=("k",),
)
"""
SETTINGS = {
    "model.cell": "leaky",
    "model.hidden_size": 5,
    "model.layers": 2,
    "model.bidirectional": False,
    "model.readout": "mean",
    "train.samples": 0,
    "train.steps": 12,
    "train.batch_size": 8,
    "split.validation": 0.2,
}


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory):
    entry_points = "[scanline.cells]\nleaky = leaky_cell:LEAKY\n"
    with installed(tmp_path_factory.mktemp("site-packages"), "leaky_cell", entry_points, LEAKY):
        yield
    cells._load.cache_clear()


def sequences(n=40, seed=0):
    """Sequences of 2 to 7 steps of 2 features whose classes are the sign of a drift."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    values = [
        (draw.normal(size=(int(draw.integers(2, 8)), 2)) + 2 * label - 1).astype(np.float32)
        for label in labels
    ]
    return values, labels


@pytest.fixture(scope="module")
def run(tmp_path_factory, _package):
    values, labels = sequences()
    folder = tmp_path_factory.mktemp("runs") / "leaky"
    arrays = scanline.Arrays(values, np.array(["down", "up"])[labels])
    return scanline.train(arrays, recipe="sequences", settings=SETTINGS, run=folder, log=None)


@pytest.fixture(scope="module")
def model(run):
    return load(run.path)


def test_it_is_listed_and_named_in_errors():
    assert cells.names() == ("lstm", "gru", "rnn", "gru-reset-before", "leaky")
    with pytest.raises(
        UsageError, match=r"one of 'lstm', 'gru', 'rnn', .*'leaky', got 'leeky'; did you mean 'leaky'"
    ):
        scanline.train(scanline.Arrays(*sequences()), settings={"model.cell": "leeky"}, log=None)


def test_it_is_trained_and_evaluated(run, tmp_path):
    assert run.model.network.recurrent.cell.name == "leaky"
    values, labels = sequences(20, seed=5)
    rows = [
        f"{name},{step},{a},{b},{('down', 'up')[label]}"
        for name, (sequence, label) in enumerate(zip(values, labels, strict=True))
        for step, (a, b) in enumerate(sequence)
    ]
    (tmp_path / "new.csv").write_text("\n".join(["id,time,a,b,label", *rows]))
    evaluated = evaluate_run(str(run.path), str(tmp_path / "new.csv"))
    assert evaluated.metrics.accuracy == 1.0  # the drift is large


def test_native_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"backend=native .*computes LSTM, GRU, RNN, not Leaky integrator"):
        scanline.train(
            scanline.Arrays(*sequences()),
            recipe="sequences",
            settings=SETTINGS | {"train.backend": "native"},
            run=tmp_path / "run",
            log=None,
        )


def test_a_prediction_does_not_depend_on_padding_or_batch(model):
    values, _ = sequences(9, seed=1)
    alone = np.concatenate([model.predict_proba([each]) for each in values])
    assert np.array_equal(model.predict_proba(values), alone)
    for filler in (0.0, np.nan, 1e30):
        padded = np.full((9, 11, 2), filler, np.float32)
        for row, each in zip(padded, values, strict=True):
            row[: len(each)] = each
        assert np.array_equal(model.predict_proba(padded, [len(each) for each in values]), alone)


def test_both_directions_read_each_sequence_as_if_it_were_alone():
    torch.manual_seed(0)
    layers = RecurrentLayers("leaky", 2, 5, 2, bidirectional=True).eval()
    values, lengths = torch.randn(3, 6, 2), torch.tensor([6, 1, 4])
    together = layers(values, lengths)
    for n, length in enumerate(lengths.tolist()):
        assert torch.equal(together[n, :length], layers(values[n : n + 1, :length])[0])
        assert not together[n, length:].any()


def test_its_gates_and_states_are_traced_and_changed(model):
    (values,), _ = sequences(1, seed=2)
    traced = trace(model.network, values, model.task)
    assert [tuple(each.values) for each in traced.directions] == [("k", "m", "h")] * 2
    np.testing.assert_allclose(traced.probabilities[-1], model.predict_proba([values])[0], atol=1e-6)
    what_if = WhatIf(clamp=(Clamp("k", 0.25, layer=1),), silence=(Silence(3, layer=2),))
    changed = trace(model.network, values, model.task, what_if=what_if)
    first, second = changed.directions
    assert (first.values["k"] == 0.25).all()
    assert not second.values["h"][:, 3].any()
    with pytest.raises(UsageError, match="must be one of k, the clampable gates of leaky"):
        trace(model.network, values, model.task, what_if=WhatIf(clamp=(Clamp("f", 0),)))


def test_it_is_explained(model, tmp_path):
    (values,), _ = sequences(1, seed=2)
    explained = scanline.explain(model, values)
    assert explained.label == model.predict([values])[0]
    assert explained.attribution.values.shape == values.shape
    assert abs(explained.attribution.error) < 0.05
    assert "k" in explained.to_json()["layers"][0]


def test_it_streams_and_resumes(model):
    (values,), _ = sequences(1, seed=3)
    session = model.stream()
    first = session.feed(values[:1])
    again = model.resume(session.to_bytes())
    rest = session.feed(values[1:])
    assert np.array_equal(rest, again.feed(values[1:]))
    prefixes = [model.predict_proba([values[: end + 1]])[0] for end in range(len(values))]
    np.testing.assert_allclose(np.concatenate([first, rest]), prefixes, atol=1e-6)


def test_it_is_served(model):
    (values,), _ = sequences(1, seed=4)
    with in_thread(model) as server:
        body = json.dumps({"inputs": [values.tolist()], "trace": True}).encode()
        response = server.post(body)
        assert response.status == 200
        (prediction,) = json.loads(response.body)["predictions"]
        assert prediction["label"] == model.predict([values])[0]
        assert set(prediction["trace"]["layers"][0]) == {"layer", "direction", "k", "m", "h"}
        with connect(f"ws://127.0.0.1:{server.port}/v1/stream", compression=None, open_timeout=20) as stream:
            stream.send(json.dumps({"steps": values.tolist()}))
            received = json.loads(stream.recv(20))
    assert received["predictions"][-1]["label"] == prediction["label"]


@pytest.mark.parametrize(
    ("export", "suffix", "name"),
    [
        (export_onnx, "onnx", "ONNX"),
        (export_step_graph, "onnx", "ONNX"),
        (export_keras, "keras", "Keras"),
    ],
)
def test_exports_refuse_it_by_name(model, tmp_path, export, suffix, name):
    with pytest.raises(UsageError, match=re.escape(f"cell 'leaky' has no equivalent in {name}")):
        export(model, tmp_path / f"model.{suffix}")
    assert not list(tmp_path.iterdir())
