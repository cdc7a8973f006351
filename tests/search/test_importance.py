"""Importance of settings, for trials whose scores follow from known settings alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest

from scanline.search.importance import MIN_TRIALS, Importances, setting_importance
from scanline.search.records import RungScore, StudyRecord, TrialRecord


def study(n: int, seed: int = 0) -> StudyRecord:
    """Trials whose score is that of the cell, a little of the rate, and nothing of the rest."""
    generator = np.random.default_rng(seed)
    trials = []
    for number in range(n):
        settings = {
            "cell": str(generator.choice(["gru", "lstm"])),
            "rate": float(10 ** generator.uniform(-4, -1)),
            "size": int(generator.integers(8, 257)),
            "both": bool(generator.integers(2)),
            "same": 3,
        }
        score = 0.5 + 0.3 * (settings["cell"] == "gru") + 0.03 * math.log10(settings["rate"])
        trials.append(TrialRecord(number, 0, settings, "complete", (_score(score),)))
    return StudyRecord("s", "d", "t", "accuracy", "", dict.fromkeys(settings, ""), 0, "", 9, tuple(trials))


def _score(score: float, rung: int = 2) -> RungScore:
    return RungScore(rung, 1.0, score, 1 - score, None, 100)


def fractions(found: Importances) -> dict[str, float]:
    return {each.key: each.fraction for each in found.settings}


def test_the_setting_that_decides_explains_most():
    found = setting_importance(study(60))
    assert [each.key for each in found.settings][:2] == ["cell", "rate"]
    assert fractions(found)["cell"] > 0.6
    assert 0.02 < fractions(found)["rate"] < 0.4
    assert fractions(found)["both"] < 0.03
    assert sum(fractions(found).values()) <= 1
    assert (found.trials, found.note) == (60, "")


def test_a_setting_with_one_value_is_left_out():
    assert "same" not in fractions(setting_importance(study(20)))


def test_the_same_trials_have_the_same_importance():
    assert setting_importance(study(20)) == setting_importance(study(20))


@pytest.mark.parametrize("n", [0, 1, MIN_TRIALS - 1])
def test_too_few_trials_are_reported(n):
    found = setting_importance(study(MIN_TRIALS))
    assert found.settings
    few = replace(study(MIN_TRIALS), trials=study(MIN_TRIALS).trials[:n])
    assert setting_importance(few) == Importances(
        (), n, f"The importance of settings needs {MIN_TRIALS} validated trials; there are {n}."
    )


def test_few_trials_for_many_settings_are_noted():
    assert setting_importance(study(19)).note.startswith("19 trials are few for 4 settings")


def test_trials_with_the_same_settings_have_no_importance():
    record = study(12)
    same = tuple(replace(each, settings=record.trials[0].settings) for each in record.trials)
    assert setting_importance(replace(record, trials=same)).note == "All trials have the same settings."


def test_ranks_decide_and_not_scores_of_different_rungs():
    """Trials with "lstm" were stopped early, with scores that are higher than all at the end."""
    record = study(40)

    def stopped(trial: TrialRecord) -> TrialRecord:
        if trial.settings["cell"] == "gru":
            return trial
        return replace(
            trial, state="stopped", scores=(_score(0.9 + 0.1 * trial.settings["size"] / 256, rung=0),)
        )

    found = setting_importance(replace(record, trials=tuple(map(stopped, record.trials))))
    assert found.settings[0].key == "cell"
    assert found.settings[0].fraction > 0.6


def test_diverged_trials_are_the_worst_and_invalid_ones_do_not_count():
    def with_state(state: str) -> StudyRecord:
        record = study(40)
        trials = [
            replace(each, state=state, scores=()) if each.settings["both"] else each for each in record.trials
        ]
        return replace(record, trials=tuple(trials))

    found = setting_importance(with_state("diverged"))
    assert found.trials == 40
    assert found.settings[0].key == "both"
    valid = sum(not each.settings["both"] for each in study(40).trials)
    assert setting_importance(with_state("invalid")).trials == valid


def test_many_trials_are_thinned_out():
    found = setting_importance(study(1000))
    assert found.trials == 150
    assert [each.key for each in found.settings][:2] == ["cell", "rate"]


def test_optuna_prints_as_before(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    setting_importance(study(10))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr().err == ""
