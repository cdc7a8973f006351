"""Static columns in ONNX graphs: inputs with a value for each sequence, verified against the model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scanline.errors import UsageError
from scanline.model.artifact import Model
from scanline.tasks.step_classification import StepClassification
from tests.model.test_static import TASK, _model

onnxruntime = pytest.importorskip("onnxruntime")

from scanline.interchange.onnx.write import export_onnx, export_step_graph  # noqa: E402


@pytest.mark.parametrize(
    ("readout", "missing", "means"),
    [("last", "error", ()), ("mean", "forward-fill", (41.0, 0.5, 0.0, 0.0)), ("every-step", "zero", ())],
)
def test_a_graph_takes_static_features_once_a_sequence(tmp_path, readout, missing, means):
    model = _model(missing, means, readout=readout)
    if readout == "every-step":
        model = replace(model, task=StepClassification(TASK.classes))
    made = export_onnx(model, tmp_path / "m.onnx")
    assert made.verification.difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    shapes = {each.name: each.shape for each in session.get_inputs()}
    assert shapes == {
        "ids": ["N", "T", 1],
        "steps": ["N", "T", 1],
        "lengths": ["N"],
        "static": ["N", 1],
        "static_ids": ["N", 1],
    }
    names = json.loads((tmp_path / "m.vocabulary.json").read_text())["features"]
    assert [each["feature"] for each in names] == [2, 3]


def test_the_graph_predicts_what_the_model_does(tmp_path):
    model: Model = _model()
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    feed = {
        "steps": np.array([[[0.5], [0.1]]], np.float32),
        "ids": np.array([[[3], [4]]]),
        "lengths": np.array([2]),
        "static": np.array([[63]], np.float32),
        "static_ids": np.array([[2]]),
    }
    (found,) = session.run(["probabilities"], feed)
    expected = model.stream().feed([[63, 0.5, "old", "two"], [63, 0.1, "old", "three"]])[-1]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    feed["static"] = np.array([[np.nan]], np.float32)
    assert np.isnan(session.run(["logits"], feed)[0]).all()


def test_a_graph_of_one_step_is_refused(tmp_path):
    with pytest.raises(UsageError, match="static columns, which a graph of one step does not take"):
        export_step_graph(_model(), tmp_path / "m.onnx")
