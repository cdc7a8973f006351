"""How important each setting of a study is: functional analysis of variance (fANOVA), computed by Optuna."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scanline.data.source import evenly_spaced
from scanline.search import check_installed
from scanline.search.records import StudyRecord, TrialRecord, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS = 10
_TRIALS_PER_SETTING = 5  # fewer are reported, with a note
_MOST_TRIALS = 150  # the time grows with the square of their number: 1,000 would take half a minute


@dataclass(frozen=True)
class SettingImportance:
    """A setting, and the fraction of the variance of the trials' ranks that it explains by itself."""

    key: str
    fraction: float


@dataclass(frozen=True)
class Importances:
    """Importance of the settings of a study.

    Attributes:
        settings: Every setting with more than one value, the most important first; empty if `note` says why.
        trials: Number of trials that they were computed from.
        note: What limits their meaning, "" if nothing does.
    """

    settings: tuple[SettingImportance, ...]
    trials: int
    note: str


def setting_importance(study: StudyRecord, seed: int = 0) -> Importances:
    """Return how much of the differences between trials each setting explains.

    A random forest predicts the rank of a trial from its settings; the importance of a setting is the
    fraction of the forest's variance that depends on this setting alone. Ranks are used because trials that
    were stopped at different rungs have scores that cannot be compared, but have ranks.

    Args:
        study: The study. Trials without a validation and invalid ones are left out; diverged ones come last.
            Of more than 150 trials, 150 are used.
        seed: Seed of the forest.

    Raises:
        MissingExtraError: If Optuna is not installed.

    Source: Hutter, Hoos & Leyton-Brown (2014), "An efficient approach for assessing hyperparameter
    importance".
    """
    ranked = _ranked(study)
    keys = [key for key in study.space if len({each.settings.get(key) for each in ranked}) > 1]
    if not keys or len(ranked) < MIN_TRIALS:
        few = f"The importance of settings needs {MIN_TRIALS} validated trials; there are {len(ranked)}."
        same = "All trials have the same settings."
        return Importances((), len(ranked), few if len(ranked) < MIN_TRIALS else same)
    # Evenly spaced over the ranks, the best and the worst among them.
    if len(ranked) > _MOST_TRIALS:
        ranked = [ranked[index] for index in evenly_spaced(len(ranked), _MOST_TRIALS)]
    check_installed()
    distributions = {
        key: _distribution([each.settings[key] for each in ranked], study.is_logarithmic(key)) for key in keys
    }
    found = _fanova(ranked, distributions, seed)
    note = ""
    if len(ranked) < _TRIALS_PER_SETTING * len(keys):
        note = f"{len(ranked)} trials are few for {len(keys)} settings: the order of importance is uncertain."
    settings = sorted((SettingImportance(key, found[key]) for key in keys), key=lambda each: -each.fraction)
    return Importances(tuple(settings), len(ranked), note)


def _ranked(study: StudyRecord) -> list[TrialRecord]:
    """Return the trials that are compared, the best first."""
    good = [each for each in study.ranked if each.state in ("complete", "stopped")]
    return good + [each for each in study.trials if each.state == "diverged"]


def _fanova(
    ranked: Sequence[TrialRecord], distributions: dict[str, BaseDistribution], seed: int
) -> dict[str, float]:
    """Return the importance of each key, for trials in the order of their ranks."""
    import optuna

    with _quiet(optuna):
        # In memory: the study itself has values for complete trials only.
        study = optuna.create_study()
        # In the order of their numbers, so that the forest does not depend on how they were sorted.
        for rank, trial in sorted(enumerate(ranked), key=lambda each: each[1].number):
            params = {key: trial.settings[key] for key in distributions}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=float(rank))
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        # Not `get_param_importances`, which scales the fractions so that they add up to 1.
        found = evaluator.evaluate(study)
    return {key: float(found.get(key, 0.0)) for key in distributions}


def _distribution(values: Sequence[Value], log: bool) -> BaseDistribution:
    """Return the distribution that has just these values: their range if they are numbers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    # The range of the trials, not of the space: the forest knows nothing outside of it.
    low, high = min(numbers), max(numbers)
    log = log and low > 0
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna print nothing but warnings, and restore what it printed before."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
