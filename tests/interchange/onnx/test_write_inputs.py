"""Missing values, values that are not finite, and views of pictures in exported ONNX files."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.interchange.onnx.write import DEFAULT_OPSET, OLDEST_OPSET, export_onnx
from scanline.model.predictor import Predictor
from tests.interchange.onnx.models import (
    CELLS,
    READOUTS,
    F,
    build,
    form,
    pad,
    picture_form,
    run_file,
    unlabelled,
)


@pytest.mark.parametrize(
    ("missing", "means"),
    [("zero", ()), ("mean", (0.5, -2.0, 7.0)), ("forward-fill", (0.5, -2.0, 7.0))],
)
@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET, "newest"])
def test_missing_values_are_filled_inside_the_graph(missing, means, opset, tmp_path, newest):
    model = build("gru", 1, True, "mean", read=form(missing=missing, means=means))
    export_onnx(model, tmp_path / "m.onnx", opset=newest if opset == "newest" else opset)
    draw = np.random.default_rng(2)
    sequences = [draw.normal(size=(length, F)).astype(np.float32) for length in (1, 9, 5)]
    for each in sequences:
        each[draw.random(each.shape) < 0.4] = np.nan
    sequences[1][:3, 1] = np.nan  # none before it
    sequences[0][0, 2] = np.nan
    logits, probabilities = run_file(tmp_path / "m.onnx", pad(sequences, draw))
    assert np.isfinite(logits).all()
    assert np.abs(probabilities - model.predict_proba(sequences)).max() < 1e-6


def test_forward_fill_worked_by_hand(tmp_path):
    """A value fills the missing ones after it; the mean fills those before the first value."""
    model = build("rnn", hidden=4, read=form(2, missing="forward-fill", means=(10.0, 20.0)))
    export_onnx(model, tmp_path / "m.onnx")
    nan = np.nan
    holes = np.array([[[nan, 1], [3, nan], [nan, nan], [4, 2]]], np.float32)
    whole = np.array([[[10, 1], [3, 1], [3, 1], [4, 2]]], np.float32)
    results = [
        run_file(tmp_path / "m.onnx", {"steps": each, "lengths": np.array([4])}) for each in (holes, whole)
    ]
    assert np.array_equal(results[0][0], results[1][0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_value_that_is_not_finite_never_gets_a_prediction(cell, readout, wrong, tmp_path):
    """ONNX Runtime's LSTM turns NaN into numbers."""
    model = build(cell, 1, True, readout)
    export_onnx(model, tmp_path / "m.onnx")
    steps = np.random.default_rng(0).normal(size=(3, 4, F)).astype(np.float32)
    steps[0, 1, 0] = steps[2, 3, 2] = wrong  # the last is padding
    logits, probabilities = run_file(tmp_path / "m.onnx", {"steps": steps, "lengths": np.array([4, 4, 3])})
    assert np.isnan(logits[0]).all()
    assert np.isnan(probabilities[0]).all()
    ours = Predictor(model.network).outputs(unlabelled([steps[1], steps[2, :3]]))
    assert np.abs(logits[1:] - ours).max() < 1e-6


VIEWS = [
    ("columns", 1, 4),
    ("columns", 3, 12),
    ("pixels", 1, 1),
    ("pixels", 3, 3),
    ("permuted", 1, 1),
    ("permuted", 3, 3),
    ("patches:2", 1, 4),
    ("patches:2", 3, 12),
    ("columns", 1, 8),  # cut: two columns a step
    ("permuted", 3, 2),  # cut within a pixel
]


def draw_pictures(n: int, channels: int) -> np.ndarray:
    shape = (n, 4, 6) + ((3,) if channels == 3 else ())
    return np.random.default_rng(n).integers(0, 17, shape).astype(np.uint8)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(("view", "channels", "features"), VIEWS)
def test_each_view_of_pictures_is_computed_inside_the_graph(view, channels, features, readout, tmp_path):
    model = build("gru", 1, True, readout, read=picture_form(view, channels, features))
    export_onnx(model, tmp_path / "m.onnx")
    for n in (1, 5):
        pictures = draw_pictures(n, channels)
        given = pictures.reshape(n, 4, 6 * channels).astype(np.float32)
        _, probabilities = run_file(tmp_path / "m.onnx", {"pictures": given})
        assert np.abs(probabilities - model.predict_proba(pictures)).max() < 1e-6


@pytest.mark.parametrize(("channels", "features"), [(1, 6), (3, 18), (1, 3), (3, 24)])
def test_pictures_by_rows_are_read_as_steps(channels, features, tmp_path):
    model = build("lstm", read=picture_form("rows", channels, features))
    export_onnx(model, tmp_path / "m.onnx")
    pictures = draw_pictures(5, channels)
    steps = pictures.reshape(5, -1, features).astype(np.float32)
    feed = {"steps": steps, "lengths": np.full(5, steps.shape[1])}
    _, probabilities = run_file(tmp_path / "m.onnx", feed)
    assert np.abs(probabilities - model.predict_proba(pictures)).max() < 1e-6


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_missing_values_of_a_picture_are_filled_before_it_is_cut(missing, tmp_path):
    means = () if missing == "zero" else (1.0, 2.0, 3.0, 4.0)
    model = build("rnn", read=picture_form("columns", 1, 4, missing=missing, means=means))
    export_onnx(model, tmp_path / "m.onnx")
    pictures = draw_pictures(6, 1).astype(np.float32)
    pictures[np.random.default_rng(0).random(pictures.shape) < 0.3] = np.nan
    _, probabilities = run_file(tmp_path / "m.onnx", {"pictures": pictures})
    ours = model.probabilities(MemorySource.from_array(pictures, np.zeros(6, np.int64), (), "holes"))
    assert np.abs(probabilities - ours).max() < 1e-6


def test_sequences_cut_into_longer_steps_are_read_as_the_network_reads_them(tmp_path):
    model = build("gru", read=form(4, 1))
    export_onnx(model, tmp_path / "m.onnx")
    series = np.random.default_rng(0).normal(size=(3, 20, 1)).astype(np.float32)
    feed = {"steps": series.reshape(3, 5, 4), "lengths": np.full(3, 5)}
    _, probabilities = run_file(tmp_path / "m.onnx", feed)
    assert np.abs(probabilities - model.predict_proba(series)).max() < 1e-6
