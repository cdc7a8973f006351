"""The ONNX graph of an ensemble, run by ONNX Runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from scanline.errors import ModelError, UsageError
from scanline.interchange.onnx.write import export_onnx
from scanline.metrics.probabilities import softmax
from scanline.model.ensemble import make_ensemble
from tests.model.ensembles import CLASSES, FEATURES, member, pictures, sequences

MEMBERS = [
    member("lstm", 1),
    member("gru", 2, bidirectional=True, hidden=5),
    replace(member("rnn", 3), task=type(member().task)(("b", "d", "a", "c"))),
]


def opened(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("temperature", [None, 1.6])
@pytest.mark.parametrize("opset", [11, 17])
def test_the_graph_predicts_sequences_as_the_ensemble_does(tmp_path, temperature, opset):
    ensemble = replace(make_ensemble(MEMBERS), temperature=temperature, calibrated=bool(temperature))
    made = export_onnx(ensemble, tmp_path / "made.onnx", opset=opset)
    assert made.verification.difference < 1e-4
    onnx.checker.check_model(str(tmp_path / "made.onnx"))
    values = sequences(9)
    lengths = np.array([len(each) for each in values])
    padded = np.full((len(values), lengths.max() + 2, FEATURES), np.nan, np.float32)
    for row, each in zip(padded, values, strict=True):
        row[: len(each)] = each
    session = opened(tmp_path / "made.onnx")
    logits, probabilities = session.run(None, {"steps": padded, "lengths": lengths})
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(values), atol=1e-5)
    np.testing.assert_allclose(softmax(logits), make_ensemble(MEMBERS).predict_proba(values), atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["members"]) == ["1 x lstm 9", "1 x gru 5, bidirectional", "1 x rnn 9"]
    assert "members/3/head.weight" in json.loads(metadata["sha256"])


def test_members_with_different_views_read_whole_pictures(tmp_path):
    views = ("rows", "columns", "pixels", "permuted", "patches:2")
    ensemble = make_ensemble([member("gru", seed, view=view) for seed, view in enumerate(views)])
    export_onnx(ensemble, tmp_path / "made.onnx")
    session = opened(tmp_path / "made.onnx")
    assert [each.name for each in session.get_inputs()] == ["pictures"]
    given = pictures()
    _, probabilities = session.run(None, {"pictures": given.astype(np.float32)})
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(given), atol=1e-5)


def test_members_that_read_rows_take_steps(tmp_path):
    ensemble = make_ensemble([member("gru", seed, view="rows") for seed in (1, 2)])
    export_onnx(ensemble, tmp_path / "made.onnx", probabilities=False)
    session = opened(tmp_path / "made.onnx")
    assert [each.name for each in session.get_inputs()] == ["steps", "lengths"]
    assert [each.name for each in session.get_outputs()] == ["logits"]


def test_missing_values_are_filled_by_each_member_in_its_way(tmp_path):
    kinds = ("mean", "zero", "forward-fill")
    ensemble = make_ensemble([member("lstm", seed, missing=how) for seed, how in enumerate(kinds)])
    export_onnx(ensemble, tmp_path / "made.onnx")
    values = np.random.default_rng(0).normal(size=(4, 6, FEATURES)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    feed = {"steps": values, "lengths": np.full(4, 6)}
    _, probabilities = opened(tmp_path / "made.onnx").run(None, feed)
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(values), atol=1e-5)


def test_a_value_that_one_member_cannot_read_gives_nan(tmp_path):
    ensemble = make_ensemble([member("lstm", 1, missing="zero"), member("gru", 2)])
    export_onnx(ensemble, tmp_path / "made.onnx")
    values = np.zeros((2, 3, FEATURES), np.float32)
    values[0, 1, 2] = np.nan
    _, probabilities = opened(tmp_path / "made.onnx").run(None, {"steps": values, "lengths": np.full(2, 3)})
    assert np.isnan(probabilities[0]).all()
    assert np.isfinite(probabilities[1]).all()


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch):
    ensemble = make_ensemble(MEMBERS)
    wrong = SimpleNamespace(log=lambda count: 0.0)
    monkeypatch.setattr("scanline.interchange.onnx.ensemble_graph.math", wrong)
    with pytest.raises(ModelError, match="the ONNX graph: its outputs differ from Scanline's"):
        export_onnx(ensemble, tmp_path / "made.onnx")
    assert not (tmp_path / "made.onnx").exists()


def test_a_member_that_cuts_steps_is_refused(tmp_path):
    whole = member("lstm", 1)
    form = replace(whole.preprocessing, source_features=2 * FEATURES)
    cutting = [replace(member("lstm", seed), preprocessing=form) for seed in (1, 2)]
    with pytest.raises(UsageError, match="a member of this ensemble cuts steps of 10 values into steps of 5"):
        export_onnx(make_ensemble(cutting), tmp_path / "made.onnx")
