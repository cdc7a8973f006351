"""Verification of an exported graph before it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from scanline.errors import ModelError
from scanline.interchange.onnx.verify import Comparison, verify_sequences
from scanline.interchange.onnx.write import export_onnx
from scanline.model.artifact import Model
from tests.interchange.onnx.models import build, form, picture_form

# --- the check before it is written


def test_the_verification_is_reported(tmp_path):
    found = export_onnx(build(), tmp_path / "m.onnx", opset=13)
    assert found.to_json() | {"difference": 0} == {
        "file": str(tmp_path / "m.onnx"),
        "kind": "onnx",
        "opset": 13,
        "difference": 0,
        "batches": 12,
        "longest": 500,
        "same_class": True,
    }
    assert 0 < found.verification.difference <= 1e-5


def spoil(path: Path, name: str) -> bytes:
    """Return the graph with one number of the constant `name` changed by about a tenth."""
    made = onnx.load(path)
    held = next(each for each in made.graph.initializer if each.name == name)
    array = numpy_helper.to_array(held).copy()
    array.reshape(-1)[-1] = array.reshape(-1)[-1] * 1.1 + 0.05
    held.CopyFrom(numpy_helper.from_array(array, name))
    return made.SerializeToString()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Model, Path]:
    """A model with every kind of constant, and its graph, which verifies."""
    read = form(missing="mean", means=(1.0, 2.0, 3.0))
    model = build("gru", 2, True, "mean", read=read, temperature=2.0, calibrated=True)
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    export_onnx(model, path)
    assert verify_sequences(path.read_bytes(), model).same_class
    return model, path


@pytest.mark.parametrize(
    "name",
    ["shift", "scale", "means", "temperature", "head_weight", "head_bias"]
    + [f"layer_{layer}_{weight}" for layer in (0, 1) for weight in "WRB"],
)
def test_one_wrong_number_is_detected(name, exported):
    model, path = exported
    with pytest.raises(
        ModelError, match=r"outputs differ from Scanline's, expected a difference of at most 0\.0001, found"
    ):
        verify_sequences(spoil(path, name), model)


def test_one_misplaced_pixel_is_detected(tmp_path):
    model = build("gru", read=picture_form("permuted", 1, 1))
    export_onnx(model, tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    held = next(each for each in made.graph.initializer if each.name == "view_order")
    order = numpy_helper.to_array(held).copy()
    order[[-1, -2]] = order[[-2, -1]]
    held.CopyFrom(numpy_helper.from_array(order, "view_order"))
    with pytest.raises(ModelError, match="pictures"):
        verify_sequences(made.SerializeToString(), model)


def test_a_graph_that_reads_padding_is_detected(tmp_path):
    model = build("lstm", readout="mean")
    export_onnx(model, tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    mask = next(node for node in made.graph.node if node.name == "outputs_or_zero")
    mask.input[0] = "real_everywhere"
    everywhere = numpy_helper.from_array(np.ones((1, 1, 1), bool), "real_everywhere")
    made.graph.initializer.append(everywhere)
    ends = next(node for node in made.graph.node if node.op_type == "LSTM")
    ends.input[4] = ""
    with pytest.raises(ModelError, match="outputs differ"):
        verify_sequences(made.SerializeToString(), model)


@pytest.mark.parametrize(("second", "fits"), [(0.5e-5, True), (1.5e-5, False)])
def test_another_class_is_detected_where_the_margin_is_large(second, fits):
    """A difference of 1e-5 may swap only logits that are closer than that."""
    ours = np.array([[0.0, second], [1.0, 0.0]], np.float32)
    theirs = np.array([[1e-5, second - 1e-5], [1.0, 0.0]], np.float32)
    compared = Comparison(1.0)
    compared.add({"logits": theirs}, ours, 1, "two sequences")
    if fits:
        assert compared.finish().same_class
    else:
        with pytest.raises(ModelError, match="predicts another class than Scanline"):
            compared.finish()


def test_outputs_of_another_shape_are_detected():
    with pytest.raises(ModelError, match=r"shape \(1, 2\) for one sequence, found \(1, 3\)"):
        Comparison(1.0).add({"logits": np.zeros((1, 3))}, np.zeros((1, 2), np.float32), 1, "one sequence")


def test_a_chaotic_network_is_compared_over_fewer_steps(tmp_path):
    """The last bit of a weight changes the outputs after 500 steps, but not after ten."""
    model = build("rnn", hidden=32)
    with torch.no_grad():
        model.network.recurrent.weight_hh_l0 *= 1.3
    found = export_onnx(model, tmp_path / "m.onnx")
    assert 4 <= found.verification.longest <= 62
    assert found.verification.difference <= 1e-4


def test_an_invalid_graph_is_refused_in_one_line():
    with pytest.raises(ModelError, match=r"^ONNX Runtime .* cannot run the graph: .*; nothing was written$"):
        verify_sequences(b"no graph", build())


def test_a_model_that_float32_cannot_compute_leaves_the_old_file(tmp_path):
    model = build()
    target = tmp_path / "m.onnx"
    target.write_bytes(b"before")
    with torch.no_grad():
        model.network.head.weight *= 1e5
    with pytest.raises(ModelError, match=r"found .* sequences of .* steps\); nothing was written"):
        export_onnx(model, target)
    assert target.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = build()
    with torch.no_grad():
        model.network.head.bias[0] = torch.nan
    with pytest.raises(ModelError, match="found inf"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
