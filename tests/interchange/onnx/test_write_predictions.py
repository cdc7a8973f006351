"""Exported ONNX files give the predictions of the model in ONNX Runtime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import scanline
from scanline.data import catalogue as catalog
from scanline.interchange.onnx.write import DEFAULT_OPSET, OLDEST_OPSET, export_onnx
from scanline.model.predictor import Predictor
from tests.interchange.onnx.models import CELLS, READOUTS, F, build, form, pad, run_file, session, unlabelled

NETWORKS = list(itertools.product(CELLS, (1, 2), (False, True), READOUTS))
# Outside campaigns: one plain and one deep bidirectional network of each cell and readout.
BATCHED = [
    pytest.param(*each, marks=() if (each[1] == 2) == each[2] else pytest.mark.campaign) for each in NETWORKS
]


@pytest.mark.parametrize(("cell", "layers", "bidirectional", "readout"), BATCHED)
def test_random_batches_get_the_predictions_of_the_model(
    cell, layers, bidirectional, readout, tmp_path, newest
):
    """28 batches for each of 48 networks: 1,344."""
    number = NETWORKS.index((cell, layers, bidirectional, readout))
    draw = np.random.default_rng(number)
    model = build(cell, layers, bidirectional, readout, seed=number, hidden=int(draw.integers(1, 20)))
    runs = []
    for opset in (OLDEST_OPSET, newest):
        export_onnx(model, tmp_path / f"{opset}.onnx", opset=opset)
        runs.append(session(tmp_path / f"{opset}.onnx"))
    difference = 0.0
    for batch in range(28):
        N, T = int(draw.integers(1, 10)), int(draw.integers(1, 41))
        sequences = [
            draw.normal(1, 2, (length, F)).astype(np.float32) for length in draw.integers(1, T + 1, N)
        ]
        feed = pad(sequences, draw, extra=batch % 3)
        logits, probabilities = runs[batch % 2].run(["logits", "probabilities"], feed)
        ours = Predictor(model.network).outputs(unlabelled(sequences))
        difference = max(
            difference,
            np.abs(logits - ours).max(),
            np.abs(probabilities - model.predict_proba(sequences)).max(),
        )
        clear = np.ptp(np.sort(ours, 1)[:, -2:], 1) > 1e-4
        assert (logits.argmax(1) == ours.argmax(1))[clear].all(), f"batch {batch} of network {number}"
    assert difference <= 1e-4, f"network {number}"


def test_a_network_worked_by_hand(tmp_path):
    model = build("rnn", hidden=1, classes=2, read=form(1), temperature=2.0, calibrated=True)
    values = {
        "shift": [1.0],
        "scale": [2.0],
        "recurrent.weight_ih_l0": [[1.0]],
        "recurrent.weight_hh_l0": [[0.0]],
        "recurrent.bias_ih_l0": [0.5],
        "recurrent.bias_hh_l0": [0.0],
        "head.weight": [[2.0], [0.0]],
        "head.bias": [0.0, 1.0],
    }
    model.network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    export_onnx(model, tmp_path / "m.onnx")
    feed = {"steps": np.array([[[9.0], [2.0]]], np.float32), "lengths": np.array([2])}
    logits, probabilities = run_file(tmp_path / "m.onnx", feed)
    h = np.tanh((2 - 1) / 2 + 0.5)  # of the last step; the recurrent weight is 0
    assert logits[0] == pytest.approx([2 * h, 1], abs=1e-6)
    assert probabilities[0, 1] == pytest.approx(1 / (1 + np.exp((2 * h - 1) / 2)), abs=1e-6)


def test_real_pictures_by_rows_get_the_same_predictions(trained, tmp_path):
    model, digits = scanline.load(trained, calibrated=True), catalog.load("digits").test
    exported = export_onnx(model, tmp_path / "digits.onnx")
    assert exported.verification.same_class
    assert exported.verification.difference <= 1e-4
    images = digits.values.astype(np.float32)
    feed = {"steps": images, "lengths": np.full(len(images), 8)}
    logits, probabilities = run_file(tmp_path / "digits.onnx", feed)
    ours = model.predict_proba(digits.values)
    assert np.abs(probabilities - ours).max() <= 1e-4
    assert (model.classes[logits.argmax(1)] == model.predict(digits.values)).all()


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_no_bit(cell, readout, tmp_path):
    model = build(cell, 2, True, readout)
    export_onnx(model, tmp_path / "m.onnx")
    draw = np.random.default_rng(5)
    lengths = np.array([1, 7, 4])
    real = np.arange(9)[None, :, None] < lengths[:, None, None]
    steps = draw.normal(size=(3, 9, F)).astype(np.float32)
    results = [
        run_file(tmp_path / "m.onnx", {"steps": np.where(real, steps, padding), "lengths": lengths})
        for padding in map(np.float32, (0, np.nan, np.inf, 1e38))
    ]
    for logits, probabilities in results:
        assert np.isfinite(logits).all()
        assert np.array_equal(logits, results[0][0])
        assert np.array_equal(probabilities, results[0][1])


def test_a_mean_over_very_many_steps_is_exact(tmp_path):
    """A plain sum in float32 is wrong by a thousandth after so many steps."""
    model = build("rnn", readout="mean", hidden=1, classes=2, read=form(1), seed=1)
    with torch.no_grad():
        model.network.head.weight.fill_(1.0)
    export_onnx(model, tmp_path / "m.onnx")
    steps = np.full((1, 400_000, 1), 1.7, np.float32)
    logits, _ = run_file(tmp_path / "m.onnx", {"steps": steps, "lengths": np.array([steps.shape[1]])})
    ours = Predictor(model.network).outputs(unlabelled([steps[0]]))
    assert np.abs(logits - ours).max() < 1e-6


@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET])
def test_the_last_step_of_both_directions_is_exported(tmp_path, opset):
    model = build("lstm", readout="last-step", bidirectional=True)
    assert export_onnx(model, tmp_path / "it.onnx", opset=opset).verification.difference <= 1e-5
