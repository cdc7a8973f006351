"""The graph of one step, run step by step and compared with the graph of whole sequences and the model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import scanline
from scanline.data import catalogue as catalog
from scanline.errors import MissingExtraError, ModelError, UsageError
from scanline.interchange.onnx.verify import verify_steps
from scanline.interchange.onnx.write import OLDEST_OPSET, export_onnx, export_step_graph, newest_opset
from scanline.model.artifact import Model
from scanline.model.predictor import Predictor
from tests.interchange.onnx.models import (
    CELLS,
    PAIRS,
    READOUTS,
    F,
    build,
    form,
    picture_form,
    session,
    unlabelled,
)
from tests.interchange.onnx.test_verify import spoil

MEANS = (0.5, -2.0, 7.0)


class Stream:
    """N sequences, read step by step with only the metadata of the graph."""

    def __init__(self, path: Path, N: int) -> None:
        self.session = session(path)
        described = json.loads(self.session.get_modelmeta().custom_metadata_map["states"])
        self.new = {name: state["new"] for name, state in described.items()}
        self.states = {
            name: np.full(
                [N if size == "N" else size for size in state["shape"]],
                float(state["first"]),
                state["dtype"],
            )
            for name, state in described.items()
        }

    def feed(self, step: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(names, {"step": step} | self.states), strict=True))
        self.states = {name: outputs[new] for name, new in self.new.items()}
        return outputs


def draw_steps(N: int, T: int, features: int = F, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, (N, T, features)).astype(np.float32)


def so_far(model: Model, steps: np.ndarray) -> np.ndarray:
    """Return the logits (N, K) of the model for `steps` (N, t, F)."""
    part = model.preprocessing.prepare(unlabelled(list(steps)))
    return Predictor(model.network).outputs(part)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("layers", [2, pytest.param(1, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("cell", CELLS)
def test_every_step_equals_the_graph_of_whole_sequences(cell, layers, readout, tmp_path):
    model = build(cell, layers, readout=readout, temperature=2.0, calibrated=True)
    for opset in (OLDEST_OPSET, newest_opset()):
        found = export_step_graph(model, tmp_path / "step.onnx", opset=opset)
        assert found.verification.difference <= 1e-5
        export_onnx(model, tmp_path / "whole.onnx", opset=opset)
        steps, stream, whole = (
            draw_steps(3, 10),
            Stream(tmp_path / "step.onnx", 3),
            session(tmp_path / "whole.onnx"),
        )
        for t in range(1, 11):
            outputs = stream.feed(steps[:, t - 1])
            feed = {"steps": steps, "lengths": np.full(3, t)}
            logits, probabilities = whole.run(["logits", "probabilities"], feed)
            assert np.abs(outputs["logits"] - logits).max() < 1e-6, f"step {t}"
            assert np.abs(outputs["probabilities"] - probabilities).max() < 1e-6, f"step {t}"
            assert np.abs(outputs["logits"] - so_far(model, steps[:, :t])).max() < 1e-6, f"step {t}"


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_missing_values_are_filled_step_by_step(missing, tmp_path):
    read = form(missing=missing, means=() if missing == "zero" else MEANS)
    model = build("lstm", 2, readout="max", read=read)
    export_step_graph(model, tmp_path / "step.onnx")
    steps, stream = draw_steps(4, 12), Stream(tmp_path / "step.onnx", 4)
    steps[np.random.default_rng(1).random(steps.shape) < 0.4] = np.nan
    steps[0, :3] = np.nan
    for t in range(1, 13):
        outputs = stream.feed(steps[:, t - 1])
        assert np.abs(outputs["logits"] - so_far(model, steps[:, :t])).max() < 1e-6, f"step {t}"


def test_the_step_graph_predicts_as_a_session_does(trained, tmp_path):
    model, digits = scanline.load(trained, calibrated=True), catalog.load("digits").test
    export_step_graph(model, tmp_path / "step.onnx")
    images = digits.values[:5].astype(np.float32)
    stream, probabilities = Stream(tmp_path / "step.onnx", 5), model.stream(5).feed(images)
    for row in range(8):
        outputs = stream.feed(images[:, row])
        assert np.abs(outputs["probabilities"] - probabilities[:, row]).max() < 1e-5
    assert np.abs(outputs["probabilities"] - model.predict_proba(digits.values[:5])).max() < 1e-5


@pytest.mark.parametrize("readout", READOUTS)
def test_sequences_of_different_lengths_continue_in_one_batch(readout, tmp_path):
    model = build("gru", 2, readout=readout)
    export_step_graph(model, tmp_path / "step.onnx")
    steps = draw_steps(2, 9)
    old, young = Stream(tmp_path / "step.onnx", 1), Stream(tmp_path / "step.onnx", 1)
    for t in range(6):
        old.feed(steps[:1, t])
    both = Stream(tmp_path / "step.onnx", 2)
    deep = {"h", "c"}  # (layers, N, H)
    both.states = {
        name: np.concatenate([state, young.states[name]], axis=1 if name in deep else 0)
        for name, state in old.states.items()
    }
    for t in range(3):
        outputs = both.feed(np.stack([steps[0, 6 + t], steps[1, t]]))
    assert np.abs(outputs["logits"][0] - so_far(model, steps[:1])[0]).max() < 1e-6
    assert np.abs(outputs["logits"][1] - so_far(model, steps[1:, :3])[0]).max() < 1e-6


def test_a_mean_over_many_steps_is_exact(tmp_path):
    model = build("rnn", readout="mean", hidden=1, classes=2, read=form(1), seed=1)
    with torch.no_grad():
        model.network.head.weight.fill_(1.0)
    export_step_graph(model, tmp_path / "step.onnx")
    stream, step = Stream(tmp_path / "step.onnx", 1), np.full((1, 1), 1.7, np.float32)
    for _ in range(20_000):
        outputs = stream.feed(step)
    steps = np.full((1, 20_000, 1), 1.7, np.float32)
    assert np.abs(outputs["logits"] - so_far(model, steps)).max() < 1e-6


@pytest.mark.parametrize(("view", "features"), [("rows", 6), ("rows", 3), ("pixels", 1)])
def test_views_in_reading_order_are_read_step_by_step(view, features, tmp_path):
    model = build("gru", read=picture_form(view, 1, features))
    export_step_graph(model, tmp_path / "step.onnx")
    pictures = np.random.default_rng(0).integers(0, 17, (3, 4, 6)).astype(np.uint8)
    steps, stream = pictures.reshape(3, -1, features).astype(np.float32), Stream(tmp_path / "step.onnx", 3)
    for t in range(steps.shape[1]):
        outputs = stream.feed(steps[:, t])
    assert np.abs(outputs["probabilities"] - model.predict_proba(pictures)).max() < 1e-6


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_step_that_is_not_finite_gets_no_prediction_and_is_ignored(readout, wrong, tmp_path):
    model = build("lstm", 2, readout=readout)
    export_step_graph(model, tmp_path / "step.onnx")
    steps, stream = draw_steps(2, 6), Stream(tmp_path / "step.onnx", 2)
    for t in range(3):
        stream.feed(steps[:, t])
    bad = steps[:, 3].copy()
    bad[0, 1] = wrong
    outputs = stream.feed(bad)
    assert np.isnan(outputs["logits"][0]).all()
    assert np.abs(outputs["logits"][1] - so_far(model, steps[1:, :4])[0]).max() < 1e-6
    outputs = stream.feed(steps[:, 4])
    without = steps[:1, [0, 1, 2, 4]]
    assert np.abs(outputs["logits"][0] - so_far(model, without)[0]).max() < 1e-6
    assert np.abs(outputs["logits"][1] - so_far(model, steps[1:, :5])[0]).max() < 1e-6


# --- the file


@pytest.mark.parametrize(("cell", "readout"), PAIRS)
def test_the_file_passes_the_checker_in_every_opset(cell, readout, tmp_path):
    model = build(cell, 2, readout=readout, read=form(missing="forward-fill", means=MEANS))
    for opset in range(OLDEST_OPSET, newest_opset() + 1, 3):
        export_step_graph(model, tmp_path / "m.onnx", opset=opset)
        onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)


@pytest.mark.parametrize(
    ("cell", "readout", "missing", "states"),
    [
        ("rnn", "last", "error", {"h": ["float32", "0"]}),
        ("lstm", "max", "zero", {"h": ["float32", "0"], "c": ["float32", "0"], "max": ["float32", "-inf"]}),
        (
            "gru",
            "mean",
            "forward-fill",
            {
                "h": ["float32", "0"],
                "sum": ["float64", "0"],
                "count": ["int64", "0"],
                "last": ["float32", "nan"],
            },
        ),
    ],
)
def test_the_metadata_describe_the_initial_states(cell, readout, missing, states, tmp_path):
    means = MEANS if missing == "forward-fill" else ()
    export_step_graph(
        build(cell, 2, readout=readout, read=form(missing=missing, means=means)), tmp_path / "m"
    )
    graph = onnx.load(tmp_path / "m").graph
    read = session(tmp_path / "m").get_modelmeta().custom_metadata_map
    described = json.loads(read["states"])
    assert {name: [state["dtype"], state["first"]] for name, state in described.items()} == states
    assert described["h"]["shape"] == [2, "N", 6]
    assert json.loads(read["input"]) == {"name": "step", "shape": ["N", F], "missing": missing}
    assert [each.name for each in graph.input] == ["step", *states]
    new = [f"new_{name}" for name in states]
    assert [each.name for each in graph.output] == ["logits", "probabilities", *new]


def test_probabilities_can_be_left_out(tmp_path):
    export_step_graph(build("gru"), tmp_path / "m.onnx", probabilities=False)
    assert [each.name for each in onnx.load(tmp_path / "m.onnx").graph.output] == ["logits", "new_h"]


def test_the_verification_is_reported(tmp_path):
    found = export_step_graph(build(), tmp_path / "m.onnx")
    assert (found.file, found.kind, found.opset) == (str(tmp_path / "m.onnx"), "onnx", 17)
    assert found.verification.batches == 1 + 48 + 17
    assert found.verification.same_class is True


# --- what is refused


def refused(model: Model, folder: Path, error: Any, match: str, **options: Any) -> None:
    with pytest.raises(error, match=match):
        export_step_graph(model, folder / "m.onnx", **options)
    assert not list(folder.iterdir())


def test_both_directions_are_refused(tmp_path):
    refused(build("lstm", 1, True), tmp_path, UsageError, "both directions: .* whole graph, or train")


@pytest.mark.parametrize(("view", "features"), [("columns", 4), ("permuted", 1), ("patches:2", 4)])
def test_views_of_the_whole_picture_are_refused(view, features, tmp_path):
    model = build(read=picture_form(view, 1, features))
    refused(
        model,
        tmp_path,
        UsageError,
        f"with the view {view}: .* needs the whole picture; export the whole graph",
    )


@pytest.mark.parametrize("read", [form(4, 1, missing="forward-fill", means=(0.0,) * 4)])
def test_forward_fill_before_the_cut_is_refused(read, tmp_path):
    refused(build(read=read), tmp_path, UsageError, "cuts steps of 1 values into steps of 4 after")


def test_pixels_of_a_picture_that_is_filled_by_rows_are_refused(tmp_path):
    model = build(read=picture_form("pixels", 1, 1, missing="forward-fill", means=(0.0,)))
    refused(model, tmp_path, UsageError, "cuts steps of 6 values into steps of 1 after")
    export_onnx(model, tmp_path / "m.onnx")  # the graph of whole sequences has the rows


def test_an_opset_out_of_range_is_refused(tmp_path):
    refused(build(), tmp_path, UsageError, "opset must be 11 to", opset=10)


def test_without_the_packages_the_error_names_the_extra(tmp_path, monkeypatch):
    model = build()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(model, tmp_path, MissingExtraError, r"requires onnxruntime, .* pip install '\.\[onnx\]'")


def test_predictions_that_differ_leave_no_file(tmp_path):
    model = build("gru")
    with torch.no_grad():
        model.network.head.weight *= 1e5
    refused(model, tmp_path, ModelError, r"\(step \d+ of \d sequences of .* steps\); nothing was written")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Model, Path]:
    """A model of two layers and its step graph."""
    model = build("lstm", 2, readout="mean")
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    export_step_graph(model, path)
    return model, path


@pytest.mark.parametrize("name", ["layer_0_W", "layer_1_R", "layer_1_B", "head_weight", "shift"])
def test_one_wrong_number_is_detected(name, exported):
    model, path = exported
    with pytest.raises(ModelError, match="outputs differ from Scanline's"):
        verify_steps(spoil(path, name), model)


@pytest.mark.parametrize("state", ["h", "c", "sum", "count", "last"])
def test_a_state_that_is_not_passed_on_is_detected(state, tmp_path):
    """A state that is returned unchanged makes every step the first."""
    model = build("lstm", readout="mean", read=form(missing="forward-fill", means=MEANS))
    export_step_graph(model, tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = ["hidden_away" if name == f"new_{state}" else name for name in names]
    made.graph.node.append(onnx.helper.make_node("Identity", [state], [f"new_{state}"]))
    with pytest.raises(ModelError, match="outputs differ from Scanline's"):
        verify_steps(made.SerializeToString(), model)
