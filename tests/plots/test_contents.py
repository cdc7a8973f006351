"""Figures show the numbers that they are given."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from scanline import cells, plots
from scanline.explanation.trace import Direction
from scanline.plots.sequence import _on_one_axis
from tests.plots.samples import (
    Sample,
    data_of,
    pictured,
    plot_explanation,
    sequence,
    written,
)


@pytest.fixture(scope="module")
def sample(trained) -> Sample:
    return Sample(trained)


def test_the_learning_curve_shows_every_line_of_the_history(sample):
    loss, accuracy = sample.draw("learning_curve").axes
    logged = [line for line in sample.history if line.event == "logged"]
    validation = [line for line in sample.history if getattr(line, "part", "") == "validation"]
    assert len(logged) > 5
    assert len(validation) > 2
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        for line, entries in zip(axes.lines, (logged, validation), strict=True):
            assert data_of(line) == ([e.step for e in entries], [getattr(e, kind) for e in entries])


def test_the_class_metrics_show_every_class_with_its_intervals(sample):
    (axes,) = sample.draw("class_metrics").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(digit) for digit in range(10)]
    for line, kind in zip(axes.lines, ("recall", "precision"), strict=True):
        assert data_of(line)[0] == [getattr(each, kind) for each in sample.test.classes]
    for lines, kind in zip(axes.collections, ("recall", "precision"), strict=True):
        ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
        assert ends == [[*getattr(each, f"{kind}_ci95")] for each in sample.test.classes]


def test_reading_along_shows_the_accuracy_of_every_step(sample):
    (axes,) = sample.draw("accuracy_by_step").axes
    steps = [each.step for each in sample.along.steps]
    assert data_of(axes.lines[0]) == (steps, [each.accuracy for each in sample.along.steps])
    assert f"{sample.along.enough} rows suffice" in written(sample.draw("accuracy_by_step"))
    assert "rows read" in written(sample.draw("accuracy_by_step"))


def test_the_gates_of_the_figures_are_those_of_the_bars(sample):
    bars, units = sample.draw("gate_activity").axes
    widths = [bar.get_width() for bar in bars.patches]
    gates = sample.activity.gates
    expected = [getattr(each, kind) for kind in ("closed", "between", "open") for each in gates]
    assert widths == pytest.approx(expected, abs=1e-12)
    (line,) = units.lines
    assert data_of(line)[1] == sorted(sample.activity.states[0].mean_size, reverse=True)


def test_an_explanation_shows_every_gate_and_state(sample):
    texts = written(sample.draw("explanation"))
    for title in (
        "input gate i",
        "forget gate f",
        "candidate g",
        "output gate o",
        "cell state c",
        "hidden state h",
    ):
        assert title in texts
    assert f"attribution: for {sample.answer.label} (blue), against (red)" in texts


@pytest.mark.parametrize("upto", [None, 5])
def test_a_panel_has_the_values_of_every_unit_the_busiest_on_top(sample, upto):
    trace, picture, values, _, _ = pictured(sample.answer)
    panels = plot_explanation(trace, picture, values, upto=upto).axes[4:10]
    for panel, name in zip(panels, trace.directions[0].values.values(), strict=True):
        (image,) = panel.images
        order = np.argsort(-name.mean(0), kind="stable")
        assert np.array_equal(np.asarray(image.get_array())[:, :upto], name.T[order, :upto])
        assert image.get_extent() == [0.5, 8.5, 128.5, 0.5]  # step 1 and unit 1 lie at 1


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_layers_and_directions_are_named_where_there_are_several(cell):
    traced_values = {name: np.zeros((3, 4), np.float32) for name in cells.get(cell).traced}
    directions = [Direction(layer, backward, traced_values) for layer in (0, 1) for backward in (False, True)]
    drawn = plot_explanation(*sequence(3, directions=tuple(directions)), cell=cell)
    texts = written(drawn)
    for name, each in itertools.product(cells.get(cell).traced, directions):
        assert f"{cells.get(cell).title_of(name)} {name}, {each.title}" in texts


def test_a_png_is_drawn_dark_on_white(sample):
    with Image.open(io.BytesIO(plots.to_png(sample.draw("coverage_curve")))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels.max(2) < 60).sum() > 500


def test_an_animation_stays_on_its_last_frame():
    frames = [plots.coverage_curve([0.5], [accuracy]) for accuracy in (0.2, 0.5, 0.8)]
    with Image.open(io.BytesIO(plots.to_gif(frames, 100))) as film:
        times = []
        for number in range(film.n_frames):
            film.seek(number)
            times.append(film.info["duration"])
    assert times == [100, 100, 2500]


def test_features_of_different_scale_have_their_own_ranges():
    pressure, temperature = 100_000 + np.arange(5.0), np.array([20.0, 22.0, np.nan, 21.0, 20.0])
    lines, own = _on_one_axis(np.stack([pressure, temperature, np.full(5, 7.0)], axis=1))
    assert own
    np.testing.assert_allclose(lines[:, 0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(lines[:, 1], [0, 1, np.nan, 0.5, 0])
    np.testing.assert_allclose(lines[:, 2], 0.5)
    similar = np.array([[0.0, 3.0], [1.0, 9.0]])
    lines, own = _on_one_axis(similar)
    assert not own
    np.testing.assert_array_equal(lines, similar)
    assert not _on_one_axis(np.full((2, 2), np.nan))[1]


def test_the_number_of_sufficient_steps_stands_above_the_curve():
    accuracy = np.linspace(0.05, 0.95, 28)
    figure = plots.accuracy_by_step(range(1, 29), plots.Estimates(accuracy, accuracy, accuracy), 27)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert axes.texts[0].get_window_extent().y0 >= axes.get_window_extent().y1
