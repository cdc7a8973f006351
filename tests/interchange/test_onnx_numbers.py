"""The ONNX graph of a regression: the number in the unit of the labels, with its interval."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import scanline
from scanline.errors import ModelError, UsageError
from scanline.tasks.regression import Regression

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

SETTINGS = {
    "train.samples": 0,
    "train.steps": 20,
    "train.epochs": 0,
    "train.validate_every": 10,
    "model.hidden_size": 8,
    "model.bidirectional": False,
    "split.validation": 0.25,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    values = np.random.default_rng(0).normal(size=(80, 6, 2)).astype(np.float32)
    # A mean that is large beside the deviation.
    data = scanline.Arrays(values, 1e6 + values[:, :, 0].sum(1).astype(np.float64))
    path = tmp_path_factory.mktemp("runs") / "run"
    return scanline.train(data, task="regression", settings=SETTINGS, run=path, log=None).model


def run(path, feed):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_the_graph_computes_the_number_and_its_interval(model, tmp_path):
    found = scanline.export(model, tmp_path / "model.onnx")
    assert found["difference"] < 1e-4
    values = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    lengths = np.array([5, 2, 1])
    outputs = run(tmp_path / "model.onnx", {"steps": values, "lengths": lengths})
    expected = model.predict(values, lengths)
    assert set(outputs) == {"number", "low", "high"}
    assert outputs["number"].dtype == np.float64
    np.testing.assert_allclose(outputs["number"], expected, atol=1e-4 * model.task.scale)
    np.testing.assert_allclose(outputs["high"] - outputs["low"], 2 * model.task.half_width)
    properties = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert properties["task"] == "regression"
    assert json.loads(properties["number"]) == model.task.to_json()
    assert "classes" not in properties


def test_a_graph_of_one_step_computes_the_number_after_each(model, tmp_path):
    found = scanline.export(model, tmp_path / "step.onnx", step=True)
    assert found["difference"] < 1e-4


def test_without_an_interval_there_is_only_the_number(model, tmp_path):
    plain = replace(model, task=replace(model.task, half_width=None))
    scanline.export(plain, tmp_path / "model.onnx")
    feed = {"steps": np.zeros((1, 2, 2), np.float32), "lengths": np.array([2])}
    assert set(run(tmp_path / "model.onnx", feed)) == {"number"}


@pytest.mark.parametrize("wrong", ["mean", "scale", "half_width"])
def test_a_graph_with_another_scale_is_not_written(model, tmp_path, monkeypatch, wrong):
    from scanline.interchange.onnx import parts

    def declare(graph, standardised, task: Regression, every_step=False):
        changed = replace(task, **{wrong: getattr(task, wrong) + 0.5})
        return declare_numbers(graph, standardised, changed, every_step)

    declare_numbers = parts.declare_numbers
    monkeypatch.setattr(parts, "declare_numbers", declare)
    with pytest.raises(ModelError, match="its outputs differ"):
        scanline.export(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_keras_refuses_the_task_by_name(model, tmp_path):
    with pytest.raises(UsageError, match="supports the task classification only, got regression"):
        scanline.export(model, tmp_path / "model.keras")
