"""Figures of unusual data: one class, one sequence, one step, missing values, odd names."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from scanline.evaluation.early import StepAccuracies, StepAccuracy, accuracy_by_step
from scanline.explanation.attribution import Attribution
from scanline.reporting import figures
from scanline.reporting.activity import gate_activity
from tests.conftest import make_sequences
from tests.explanation.test_trace import network
from tests.plots.samples import (
    all_charts,
    data_of,
    drawn,
    evaluated,
    evaluated_line,
    logged,
    of_class,
    plot_explanation,
    plot_mistake,
    sequence,
    task_of,
    written,
)


def test_data_of_one_class_alone_is_drawn():
    test = evaluated(["a", "b"], [0] * 20, [[2.0, 0.0]] * 20)
    assert test.classes[1].recall is None
    drawn(*all_charts(test))


def test_an_undefined_precision_has_no_dot():
    test = evaluated(["a", "b", "c"], [0, 1, 2] * 6, [[2.0, 1.0, 0.0]] * 18)  # always a
    assert [each.precision is None for each in test.classes] == [False, True, True]
    figure = figures.class_metrics(test.classes)
    recall, precision = figure.axes[0].lines
    assert len(recall.get_xdata()) == 3
    assert len(precision.get_xdata()) == 1
    drawn(*all_charts(test))


def test_figures_that_are_all_undefined_are_drawn():
    drawn(figures.class_metrics([of_class("a"), of_class("b")]))


def test_one_sequence_is_drawn():
    drawn(*all_charts(evaluated(["a", "b"], [1], [[0.0, 1.0]])))
    source = make_sequences(n=1, features=3)
    classifier = network()
    drawn(
        figures.accuracy_by_step(accuracy_by_step(classifier, task_of(classifier), source)),
        figures.gate_activity(gate_activity(classifier, task_of(classifier), source)),
    )


def test_each_of_thirty_classes_has_a_row():
    classes = [f"class number {number}" for number in range(30)]
    logits = np.random.default_rng(0).normal(size=(90, 30)) + 3 * np.eye(30)[np.arange(90) % 30]
    test = evaluated(classes, np.arange(90) % 30, logits)
    drawn(*all_charts(test))
    figure = figures.class_metrics(test.classes)
    assert {name[:13] + "…" for name in classes} <= set(written(figure))
    height = figure.get_figheight() / 30
    assert height > 0.2  # inches a class
    drawn(
        plot_explanation(*sequence(4, tuple(classes))), plot_mistake(*sequence(4, tuple(classes)), None, 29)
    )


@pytest.mark.parametrize(
    "which", list(itertools.product(["lstm", "gru", "rnn"], [1, 3], [False, True])), ids=str
)
def test_gates_of_every_network_are_drawn(which):
    classifier = network(*which)
    activity = gate_activity(classifier, task_of(classifier), make_sequences(n=5))
    assert len(activity.gates) == {"lstm": 3, "gru": 2, "rnn": 0}[which[0]] * which[1] * (1 + which[2])
    drawn(figures.gate_activity(activity))


def test_sequences_of_one_step_are_drawn_and_seen():
    given = sequence(1)
    for figure in (
        plot_explanation(*given),
        plot_explanation(*given[:3], upto=1),
        plot_mistake(*given, None, 1),
    ):
        drawn(figure)
    source = make_sequences(n=8, steps=1)
    drawn(
        figures.accuracy_by_step(accuracy_by_step(network(), task_of(network()), source)),
        figures.gate_activity(gate_activity(network(), task_of(network()), source)),
    )
    drawn(*all_charts(evaluated(["a", "b"], [0, 1] * 4, [[1.0, 0.0]] * 8, steps=1)))


@pytest.mark.parametrize("upto", [None, 1])
def test_the_values_of_a_single_step_are_dots(upto):
    """A line through one point is none: whoever reads the first step should see where it stands."""
    trace, picture, values, attribution = sequence(1 if upto is None else 5)
    axes = plot_explanation(trace, picture, values, attribution, upto=upto).axes
    for place in (axes[0], axes[2]):
        assert place.lines
        for line in place.lines:
            if len(line.get_xdata()) == 1:
                assert line.get_marker() not in (None, "None", "", " ")


def test_a_sequence_of_many_features_and_steps_is_drawn():
    figure = plot_explanation(*sequence(300, features=40))
    assert "input, 12 of 40 features" in written(figure)
    drawn(figure)


def test_attributions_of_zero_are_drawn():
    trace, _, values, attribution = sequence(4)
    nothing = Attribution(np.zeros_like(attribution.values), 0, 0.0, 0.0)
    drawn(plot_explanation(trace, None, values, nothing), plot_mistake(trace, None, values, nothing, None, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_grey_and_of_colour_are_drawn(channels):
    trace, _, values, attribution = sequence(4)
    shape = (6, 5) if channels == 1 else (6, 5, 3)
    picture = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    seen = np.random.default_rng(1).normal(size=(6, 5))
    drawn(
        plot_explanation(trace, picture, values, attribution, seen),
        plot_mistake(trace, picture, values, attribution, seen, 1),
    )
    shown = plot_explanation(trace, picture, values, attribution, seen).axes[0].images[0]
    assert np.array_equal(np.asarray(shown.get_array()), picture)


def test_a_dark_picture_is_shown_dark():
    trace, _, values, attribution = sequence(4)
    dark = np.full((6, 5), 20, np.uint8)
    for figure in (
        plot_explanation(trace, dark, values, attribution, np.zeros((6, 5))),
        plot_mistake(trace, dark, values, attribution, np.zeros((6, 5)), 1),
    ):
        assert figure.axes[0].images[0].get_clim() == (0, 255)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [logged(50, 1.2), logged(100, 0.6)],
        [evaluated_line(100, 0.6)],
        [logged(50, 1.2)],
        [logged(50, 0.0), logged(100, 0.0), evaluated_line(100, 0.0)],
        [logged(50, 1.0), logged(100, 0.0), evaluated_line(100, 0.5)],
        [logged(50, 1.0), evaluated_line(100, 0.5, part="test")],
        [logged(50, 1e30), evaluated_line(100, 1e-30)],
    ],
    ids=[
        "empty",
        "no validation",
        "validation alone",
        "one step",
        "loss of 0",
        "a loss of 0",
        "test",
        "wide",
    ],
)
def test_a_history_of_any_kind_is_drawn(history):
    drawn(figures.learning_curve(history))


def test_evaluations_of_the_test_split_are_not_in_the_learning_curve():
    loss, _ = figures.learning_curve(
        [logged(1, 1.0), evaluated_line(2, 0.5), evaluated_line(2, 0.1, part="test")]
    ).axes
    assert [data_of(line) for line in loss.lines] == [([1], [1.0]), ([2], [0.5])]


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 6])
def test_the_number_of_sufficient_steps_is_inside_the_frame(enough):
    steps = [StepAccuracy(step=t, n=9, accuracy=0.5, ci95=(0.3, 0.7)) for t in range(1, 7)]
    figure = figures.accuracy_by_step(StepAccuracies(steps=steps, enough=enough, stops=[]))
    drawn(figure)
    (axes,) = figure.axes
    (note,) = axes.texts
    assert note.get_text() == ("1 step suffices" if enough == 1 else f"{enough} steps suffice")
    frame, box = axes.get_window_extent(), note.get_window_extent()
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1


@pytest.mark.parametrize(
    "name", ["(#1)", 'id="x"', "a&b", "<i>", "$x$", "#010203", "\x00\x1b[31m", "\ud800", "中"]
)
def test_any_class_name_is_plain_text(name):
    expected = re.sub("[\x00\x1b\ud800]", "\N{REPLACEMENT CHARACTER}", name)
    assert expected in written(figures.class_metrics([of_class(name, recall=0.5)]))
    drawn(figures.class_metrics([of_class(name, recall=0.5)]))
    trace, _, values, attribution = sequence(4, (name, "b"))
    assert expected in written(plot_explanation(trace, None, values, attribution))
    assert expected in written(plot_mistake(trace, None, values, attribution, None, 0))


def test_a_long_class_name_is_cut_for_an_axis():
    figure = figures.class_metrics([of_class("walks \n upstairs slowly", recall=0.5)])
    assert "walks upstair…" in written(figure)
