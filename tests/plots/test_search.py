"""Plots of a search show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from scanline import plots
from scanline.plots import Estimates, SettingAxis, TrialScores
from scanline.plots.style import ORANGE, PAPER
from tests.plots.samples import data_of, written


def scores(numbers: list[int], values: list[float]) -> TrialScores:
    array = np.array(values, float)
    return TrialScores(np.array(numbers, np.int64), Estimates(array, array - 0.1, array + 0.1))


def test_the_history_shows_every_trial_and_the_best_so_far():
    stopped = {0.25: scores([1], [0.3]), 0.5: scores([4, 5], [0.5, 0.6])}
    (axes,) = plots.trial_history(scores([0, 2, 6], [0.7, 0.6, 0.8]), stopped, [3]).axes
    lines = {line.get_label(): data_of(line) for line in axes.lines}
    assert lines == {
        "stopped at 50 %": ([4, 5], [0.5, 0.6]),
        "stopped at 25 %": ([1], [0.3]),
        "diverged": ([3], [0.02]),
        "best so far": ([0, 2, 6, 6], [0.7, 0.7, 0.8, 0.8]),
        "trained fully": ([0, 2, 6], [0.7, 0.6, 0.8]),
    }
    (intervals,) = axes.collections
    assert [segment.tolist() for segment in intervals.get_segments()] == [
        [[number, pytest.approx(value - 0.1)], [number, pytest.approx(value + 0.1)]]
        for number, value in ((0, 0.7), (2, 0.6), (6, 0.8))
    ]


@pytest.mark.parametrize("n", [0, 1, 100])
def test_the_history_of_any_number_of_trials_is_drawn(n):
    found = scores(list(range(n)), [0.5] * n)
    figure = plots.trial_history(found, {}, [], "closeness")
    assert "validation closeness" in written(figure)
    assert plots.to_svg(figure, "t").startswith("<svg")
    assert len(figure.axes[0].collections) == (n <= 60)


def test_the_line_of_each_trial_crosses_the_axes_at_its_values():
    axes = [
        SettingAxis("cell", np.array([0, 1, 0.0]), [(0, "gru"), (1, "lstm")]),
        SettingAxis("accuracy", np.array([0.2, 0.4, 1.0]), [(0, "0.5"), (1, "0.9")]),
    ]
    figure = plots.parallel_coordinates(axes, [2, 0, 1])
    (drawn,) = figure.axes
    lines = [line for line in drawn.lines if line.get_marker() == "o"]
    # The best is drawn last, on top of the others.
    assert [data_of(line)[0] for line in lines] == [[1, 0.4], [0, 0.2], [0, 1]]
    assert [line.get_color() == ORANGE for line in lines] == [False, False, True]
    assert {"cell", "accuracy", "gru", "lstm", "0.5", "0.9"} <= set(written(figure))
    svg = plots.to_svg(figure, "t")
    assert PAPER not in svg
    assert "var(--paper, #ffffff)" in svg


def test_bars_have_their_percentages():
    figure = plots.setting_importance(["cell", "a_name_that_is_much_too_long_for_a_figure"], [0.661, 0.02])
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [pytest.approx(66.1), pytest.approx(2)]
    assert {"66 %", "2 %", "cell"} <= set(written(figure))
    assert all(len(text) <= 24 for text in written(figure) if text.startswith("a_name"))


def test_scores_are_compared_with_the_first():
    values = np.array([0.8, 0.9])
    figure = plots.compared_scores(["winner", "other"], Estimates(values, values - 0.1, values + 0.05))
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [data_of(line) for line in points] == [([0.8], [0]), ([0.9], [1])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["winner", "other"]
    assert next(line.get_xdata() for line in axes.lines if line.get_linestyle() == "--")[0] == 0.8
