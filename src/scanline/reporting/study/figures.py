"""Figures of a study: converts its trials to the input of `scanline.plots`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scanline import plots
from scanline.evaluation.baseline_methods import MAJORITY
from scanline.plots import Estimates, SettingAxis, TrialScores
from scanline.reporting.study.facts import StudyFacts, short_names, shown
from scanline.reporting.study.findings import test_metrics
from scanline.search.records import TrialRecord, Value

if TYPE_CHECKING:
    from scanline.plots import Figure

MAX_AXES = 12  # of the parallel coordinates
_MAX_LINES = 200
_MAX_CHOICES = 5  # more distinct numbers are placed by their size


def charts(facts: StudyFacts) -> dict[str, str]:
    """Return the charts as SVG, by name; a chart without data is left out."""
    wanted: dict[str, tuple[Callable[[], Figure], str]] = {}
    metric, best = facts.study.metric, facts.ranked[0] if facts.ranked else None
    if best is not None and best.last is not None:
        n = len(facts.study.trials)
        title = f"Validation {metric} of {n} trials; the best is trial {best.number}"
        wanted["history"] = (lambda: _history(facts), title)
        title = f"Settings and {metric} of the trials, the best highlighted"
        wanted["parallel"] = (lambda: _parallel(facts), title)
    important = facts.importances.settings
    if important:
        title = f"Importance of the settings; {important[0].key} matters most"
        wanted["importance"] = (lambda: _importance(facts), title)
    if len(_tested(facts)) > 1:
        wanted["baselines"] = (lambda: _baselines(facts), "Test accuracy of the winner and of the baselines")
    # Drawn one at a time: a figure takes much more memory than its SVG.
    return {name: plots.to_svg(draw(), title) for name, (draw, title) in wanted.items()}


def _history(facts: StudyFacts) -> Figure:
    def of(trials: Sequence[TrialRecord]) -> TrialScores:
        return TrialScores(np.array([each.number for each in trials], np.int64), _scores(trials))

    trials = [each for each in facts.study.trials if each.last]
    stopped: dict[float, list[TrialRecord]] = {}
    for each in trials:
        if each.state == "stopped" and each.last:
            stopped.setdefault(each.last.fraction, []).append(each)
    diverged = [each.number for each in facts.study.trials if each.state == "diverged"]
    return plots.trial_history(
        of([each for each in trials if each.state == "complete"]),
        {fraction: of(group) for fraction, group in stopped.items()},
        diverged,
        facts.study.metric,
    )


def _scores(trials: Sequence[TrialRecord]) -> Estimates:
    last = [each.last for each in trials if each.last]
    ends = [each.interval or (math.nan, math.nan) for each in last]
    return Estimates(
        np.array([each.score for each in last], float),
        np.array([low for low, _ in ends], float),
        np.array([high for _, high in ends], float),
    )


def _parallel(facts: StudyFacts) -> Figure:
    trials = facts.ranked[:_MAX_LINES]
    keys = [key for key in facts.keys if len({each.settings.get(key) for each in trials}) > 1][:MAX_AXES]
    names = short_names(facts.keys)
    # The best trials only: more lines could not be distinguished.
    # A setting that only some trials have is left out: a line cannot skip an axis.
    complete = [key for key in keys if all(key in each.settings for each in trials)]
    axes = [
        setting_axis(names[key], [each.settings[key] for each in trials], facts.study.is_logarithmic(key))
        for key in complete
    ]
    scores = [each.last.score for each in trials if each.last]
    axes.append(number_axis(f"validation {facts.study.metric}", scores))
    return plots.parallel_coordinates(axes, range(len(trials)))


def setting_axis(name: str, values: Sequence[Value], log: bool = False) -> SettingAxis:
    """Return values of a setting as places on an axis: equally spaced if they are few, or not all numbers.

    Args:
        name: Name of the setting.
        values: The n values.
        log: Whether the scale is logarithmic.
    """
    distinct = _sorted(values)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(distinct) > _MAX_CHOICES and len(numbers) == len(values):
        return number_axis(name, numbers, log)
    # Equal distances, as choices have no scale: 16, 32, 64 are neighbours.
    place = {value: index / max(len(distinct) - 1, 1) for index, value in enumerate(distinct)}
    ticks = [(place[value], shown(value)) for value in distinct]
    return SettingAxis(name, np.array([place[value] for value in values]), _thinned(ticks))


def number_axis(name: str, numbers: Sequence[float], log: bool = False) -> SettingAxis:
    """Return numbers as places between the smallest and the largest of them.

    Args:
        name: Name of the axis.
        numbers: The n numbers.
        log: Whether the scale is logarithmic.
    """
    low, high = min(numbers), max(numbers)
    if low == high:
        return SettingAxis(name, np.full(len(numbers), 0.5), [(0.5, shown(low))])
    if log and low > 0:
        positions = np.log(np.array(numbers) / low) / math.log(high / low)
        middle = math.sqrt(low * high)
    else:
        positions = (np.array(numbers) - low) / (high - low)
        middle = (low + high) / 2
    return SettingAxis(name, positions, [(0.0, shown(low)), (0.5, shown(middle)), (1.0, shown(high))])


def _sorted(values: Sequence[Value]) -> list[Value]:
    return sorted(set(values), key=lambda value: (isinstance(value, str), value))


def _thinned(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return as many labels as fit side by side."""
    room = 42  # characters
    # Every second or third label if all of them would overlap.
    step = math.ceil(sum(len(label[:14]) + 2 for _, label in ticks) / room)
    return ticks[:: max(step, 1)]


def _importance(facts: StudyFacts) -> Figure:
    names = short_names(facts.keys)
    settings = facts.importances.settings
    return plots.setting_importance(
        [names[each.key] for each in settings], [each.fraction for each in settings]
    )


def _tested(facts: StudyFacts) -> list[tuple[str, float, tuple[float, float]]]:
    """Return names, test accuracies and intervals: of the winner, the ensemble and the baselines.

    The majority class is left out: beside it, the others could not be distinguished.
    """
    test = test_metrics(facts)
    if test is None or test.accuracy is None or test.ci95 is None or facts.baselines is None:
        return []
    found = [("winner of the search", test.accuracy, (test.ci95[0], test.ci95[1]))]
    if facts.ensemble is not None and facts.ensemble.test is not None:
        own = facts.ensemble.test
        found.append((facts.ensemble.name, own.accuracy, (own.ci95[0], own.ci95[1])))
    baselines = ((each.name, each.test) for each in facts.baselines.measured if each.name != MAJORITY)
    return found + [
        (name, score.value, score.interval) for name, score in baselines if score and score.interval
    ]


def _baselines(facts: StudyFacts) -> Figure:
    tested = _tested(facts)
    scores = Estimates(
        np.array([value for _, value, _ in tested]),
        np.array([low for _, _, (low, _) in tested]),
        np.array([high for _, _, (_, high) in tested]),
    )
    return plots.compared_scores([name for name, _, _ in tested], scores)
