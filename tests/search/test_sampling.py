"""The settings of a trial: a function of the seed, its number and what is known."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scanline.search.definition import Definition
from scanline.search.records import RungScore, TrialRecord
from scanline.search.sampling import STARTUP, Sampler, params_within
from scanline.search.space import Choices, Range, Space

SPACE = Space(
    {
        "model.cell": Choices(("lstm", "gru")),
        "model.hidden_size": Range(8, 64, step=8),
        "model.bidirectional": Choices((False, True)),
        "train.learning_rate": Range(0.0001, 0.1, log=True),
    },
    first=({"model.cell": "gru", "train.learning_rate": 0.5},),
)
OWN = {
    "model.cell": "lstm",
    "model.hidden_size": 20,
    "model.bidirectional": True,
    "train.learning_rate": 0.01,
}
STUDY = Definition("waves", "", "", 40, "classification", "accuracy", "", SPACE, 7, 0, 0.3)


def score_of(settings: dict) -> float:
    """More units and a rate near 0.01 are better."""
    return settings["model.hidden_size"] / 64 - abs(settings["train.learning_rate"] - 0.01)


def history(count: int, sampler: Sampler) -> list[TrialRecord]:
    """Trials 2, 3, ... that were drawn one after the other, of all states."""
    trials: list[TrialRecord] = []
    for number in range(2, count + 2):
        settings = sampler.draw(number, trials)
        score = score_of(settings)
        scores = tuple(RungScore(rung, part, score, 0.5, None, 40) for rung, part in enumerate(STUDY.rungs))
        state = ("complete", "stopped", "stopped", "diverged", "invalid")[number % 5]
        reached = {"complete": 3, "stopped": 1}.get(state, 0)
        trials.append(TrialRecord(number, number // 8, settings, state, scores[:reached]))
    return trials


def test_the_first_trials_have_the_settings_of_the_recipe_and_of_the_space():
    sampler = Sampler(STUDY, OWN)
    assert sampler.draw(0, []) == OWN
    assert sampler.draw(1, []) == OWN | {"model.cell": "gru", "train.learning_rate": 0.5}
    assert sampler.draw(2, []) != OWN


def test_drawn_values_are_in_the_space_and_plain():
    for number in range(2, 40):
        drawn = Sampler(STUDY, OWN).draw(number, [])
        assert params_within(SPACE, drawn) == drawn
        assert [type(each) for each in drawn.values()] == [str, int, bool, float]


def test_a_sampler_that_is_kept_draws_what_a_new_one_draws():
    kept = Sampler(STUDY, OWN)
    trials = history(30, kept)
    for count in (STARTUP + 5, 20, 30):
        assert Sampler(STUDY, OWN).draw(50, trials[:count]) == kept.draw(50, trials[:count])
    # Earlier trials are known again: the history is made anew.
    assert kept.draw(50, trials[5:]) == Sampler(STUDY, OWN).draw(50, trials[5:])


def test_another_seed_number_or_history_draws_others():
    trials = history(25, Sampler(STUDY, OWN))
    other = replace(STUDY, seed=8)
    draws = [
        Sampler(STUDY, OWN).draw(30, trials),
        Sampler(STUDY, OWN).draw(31, trials),
        Sampler(other, OWN).draw(30, trials),
        Sampler(STUDY, OWN).draw(30, trials[:12]),
    ]
    assert len({repr(each) for each in draws}) == 4


def test_the_draw_does_not_depend_on_the_process():
    program = (
        "from tests.search.test_sampling import *\n"
        "sampler = Sampler(STUDY, OWN)\nprint(sampler.draw(30, history(20, sampler)))"
    )
    here = Sampler(STUDY, OWN)
    expected = here.draw(30, history(20, here))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=_environment()
    )
    assert done.stdout.strip() == repr(expected)


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "123"}


def test_the_sampler_learns_what_is_better():
    trials = history(60, Sampler(STUDY, OWN))
    early, late = trials[:STARTUP], trials[-20:]
    mean = [sum(score_of(each.settings) for each in part) / len(part) for part in (early, late)]
    assert mean[1] > mean[0] + 0.1


@pytest.mark.parametrize(
    ("settings", "inside"),
    [
        ({"model.cell": "rnn"}, {}),
        ({"model.hidden_size": 24}, {"model.hidden_size": 24}),
        ({"model.hidden_size": 20}, {}),
        ({"model.hidden_size": True}, {}),
        ({"model.bidirectional": 1}, {}),
        ({"train.learning_rate": 0.5}, {}),
        ({"train.noise": 0.5}, {}),
    ],
)
def test_settings_outside_of_the_space_are_left_out(settings, inside):
    assert params_within(SPACE, settings) == inside
