"""Exported ONNX files: their opsets, names, outputs and metadata, and models that cannot be exported."""

from __future__ import annotations

import itertools
import json
import sys

import numpy as np
import onnx
import pytest
import torch

import scanline
from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError
from scanline.interchange.onnx.write import OLDEST_OPSET, export_onnx
from scanline.model.artifact import Model
from scanline.model.description import Provenance
from scanline.model.description import TestResult as Figures
from scanline.model.model_files import describe_tensors
from scanline.model.network import Architecture, Network
from scanline.tasks.classification import Classification
from tests.interchange.onnx.models import PAIRS, F, K, build, form, picture_form, run_file, session

# --- the file


@pytest.mark.parametrize(("cell", "readout"), PAIRS)
def test_the_file_passes_the_checker_in_every_opset(cell, readout, tmp_path, newest):
    models = [
        build(cell, 2, True, readout),
        build(cell, readout=readout, read=form(missing="forward-fill", means=(0.0,) * F)),
        build(cell, readout=readout, read=picture_form("patches:2", 1, 4)),
    ]
    for opset, model in zip(range(OLDEST_OPSET, newest + 1), itertools.cycle(models), strict=False):
        export_onnx(model, tmp_path / "m.onnx", opset=opset)
        made = onnx.load(tmp_path / "m.onnx")
        assert [each.version for each in made.opset_import] == [opset]
        onnx.checker.check_model(made, full_check=True)


def test_batch_and_time_are_dynamic_and_names_are_plain(tmp_path):
    export_onnx(build("lstm", 2, True), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    shapes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.output)
    }
    assert shapes == {
        "steps": ["N", "T", F],
        "lengths": ["N"],
        "logits": ["N", K],
        "probabilities": ["N", K],
    }
    assert {each.name for each in graph.initializer} >= {"shift", "scale", "layer_1_W", "head_weight"}
    assert len({each.name for each in graph.node}) == len(graph.node)


def test_probabilities_can_be_left_out(tmp_path):
    export_onnx(build(), tmp_path / "m.onnx", probabilities=False)
    assert [each.name for each in onnx.load(tmp_path / "m.onnx").graph.output] == ["logits"]


def test_calibration_changes_only_the_probabilities(tmp_path):
    plain, calibrated = build(temperature=3.0), build(temperature=3.0, calibrated=True)
    export_onnx(plain, tmp_path / "plain.onnx")
    export_onnx(calibrated, tmp_path / "calibrated.onnx")
    steps = np.random.default_rng(0).normal(size=(2, 5, F)).astype(np.float32)
    feed = {"steps": steps, "lengths": np.array([5, 5])}
    logits, probabilities = run_file(tmp_path / "calibrated.onnx", feed)
    assert np.array_equal(logits, run_file(tmp_path / "plain.onnx", feed)[0])
    assert np.abs(probabilities - calibrated.predict_proba(steps)).max() < 1e-6
    assert np.abs(probabilities - plain.predict_proba(steps)).max() > 1e-3


def test_the_metadata_describe_the_model(tmp_path):
    tested = Figures(n=10, correct=9, accuracy=0.9, ci95=(0.6, 0.98))
    provenance = Provenance(made="by hand", licence="CC-BY-4.0", test=tested)
    model = build(temperature=1.5, calibrated=True, provenance=provenance)
    export_onnx(model, tmp_path / "m.onnx")
    read = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(read["classes"]) == ["class 0", "class 1", "class 2", "class 3"]
    assert json.loads(read["input"]) == {"name": "steps", "shape": ["N", "T", F], "missing": "error"}
    assert json.loads(read["accuracy"])["accuracy"] == 0.9
    assert (read["scanline"], read["data"], read["made"]) == (scanline.__version__, "made up", "by hand")
    assert (read["licence"], read["temperature"]) == ("CC-BY-4.0", "1.5")
    weights = describe_tensors(model.network.state_dict())
    assert json.loads(read["sha256"]) == {name: each.sha256 for name, each in weights.items()}


def test_the_digests_are_those_of_the_bundle(trained, tmp_path):
    export_onnx(scanline.load(trained), tmp_path / "m.onnx")
    read = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    tensors = json.loads((trained / "model" / "model.json").read_text())["tensors"]
    assert json.loads(read["sha256"]) == {name: each["sha256"] for name, each in tensors.items()}
    assert json.loads(read["input"])["picture"]["levels"] == 16
    assert json.loads(read["classes"]) == list(range(10))


def test_the_same_model_gives_the_same_file(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export_onnx(build("gru", 2, True, "max"), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- what cannot be exported


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, 0, 99, True, "17"])
def test_an_opset_out_of_range_is_refused(opset, tmp_path, newest):
    with pytest.raises(UsageError, match=rf"^opset must be 11 to {newest}, .* got {opset}$"):
        export_onnx(build(), tmp_path / "m.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_the_packages_the_error_names_the_extra(name, tmp_path, monkeypatch):
    model = build()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"requires {name}, .* pip install '\.\[onnx\]'"):
        export_onnx(model, tmp_path / "m.onnx")


def test_forward_fill_before_the_cut_is_refused(tmp_path):
    model = build(read=form(4, 1, missing="forward-fill", means=(0.0,) * 4))
    with pytest.raises(
        UsageError, match=r"cuts steps of 1 values into steps of 4 after .* missing values forward"
    ):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_of_more_than_two_gigabytes_are_refused(tmp_path):
    with torch.device("meta"):
        classifier = Network(Architecture("lstm", F, 16_384, 1, False, 0.0, "between", "last", K))
    model = Model(classifier, Classification(tuple("abcd")), form(), "made up")
    with pytest.raises(ModelError, match=r"4\.0 GiB; .* holds at most 2 GiB"):
        export_onnx(model, tmp_path / "m.onnx")


def test_a_missing_folder_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ScanlineError, match=r"cannot write .*m\.onnx: No such file"):
        export_onnx(build(), tmp_path / "nowhere" / "m.onnx")
    assert not list(tmp_path.iterdir())
