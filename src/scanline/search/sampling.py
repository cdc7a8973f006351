"""Draws the settings of trials with Optuna's samplers, reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from scanline.search.definition import Definition
from scanline.search.records import RungScore, TrialRecord, Value
from scanline.search.space import Choices, Parameter, Space
from scanline.seeding import numpy_generator

STARTUP = 10  # trials that are drawn at random before the sampler learns from them
_PER_LOSS = 1e-6  # of two trials with the same score, that of lower loss is better


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution for a parameter."""
    if isinstance(parameter, Choices):
        return CategoricalDistribution(parameter.values)
    if parameter.whole:
        low, high = int(parameter.low), int(parameter.high)
        return IntDistribution(low, high, log=parameter.log, step=parameter.step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution for each parameter of a space."""
    return {key: distribution(each) for key, each in space.parameters.items()}


def params_within(space: Space, settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return the settings that lie in the space: the first trials may lie outside of it."""
    found: dict[str, Value] = {}
    for key, parameter in space.parameters.items():
        if key not in settings:
            continue
        value, drawn = settings[key], distribution(parameter)
        if isinstance(parameter, Choices):
            inside = any(type(each) is type(value) and each == value for each in parameter.values)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            inside = number and drawn._contains(float(value))
        if inside:
            found[key] = value
    return found


def objective(score: RungScore) -> float:
    """Return the number that the sampler maximises."""
    return score.score - _PER_LOSS * min(score.loss, 1000.0)


class _Sampler(optuna.samplers.TPESampler):
    """Optuna's sampler for a space that is known: otherwise it looks it up in all trials."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(n_startup_trials=STARTUP, multivariate=True, constant_liar=False, seed=seed)
        self._known = {key: each for key, each in sorted(distributions.items()) if not each.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space, sorted by key as Optuna does."""
        return self._known


class Sampler:
    """Draws the settings of new trials from what is known of earlier ones.

    The draw is a function of the study's seed, the number of the trial and the trials that are known. The
    object may be kept for later generations: it then adds what has become known since.
    """

    def __init__(self, definition: Definition, recipe_values: Mapping[str, Value]) -> None:
        """Prepare a sampler.

        Args:
            definition: The study.
            recipe_values: Value of each searched setting in the recipe.
        """
        self._definition, self._recipe_values = definition, dict(recipe_values)
        self._distributions = distributions(definition.space)
        self._study: optuna.Study | None = None
        self._known: list[int] = []

    def draw(self, number: int, known: Sequence[TrialRecord]) -> dict[str, Value]:
        """Return the settings of a new trial.

        Args:
            number: Its number. The first have fixed settings: those of the recipe, then those of the space.
            known: Final trials that it may depend on, in the order of their numbers.
        """
        first = self._definition.space.first
        if number <= len(first):
            return self._recipe_values | (dict(first[number - 1]) if number else {})
        with quiet():
            study = self._history(known)
            seed = int(numpy_generator(self._definition.seed, "trial", number).integers(2**32))
            study.sampler = _Sampler(self._distributions, seed)
            asked = study.ask(self._distributions)
            # It is none of the known trials: the sampler must not see it again.
            study._storage.set_trial_state_values(asked._trial_id, TrialState.FAIL)
        return {key: _plain(asked.params[key]) for key in self._distributions}

    def _history(self, known: Sequence[TrialRecord]) -> optuna.Study:
        """Return a study in memory with the known trials, in the order of their numbers."""
        numbers = [each.number for each in known]
        study, have = self._study, self._known
        if study is None or numbers[: len(have)] != have:
            study, have = optuna.create_study(direction="maximize"), []
        for trial in known[len(have) :]:
            frozen = self._frozen(trial)
            if frozen is not None:
                study.add_trial(frozen)
        self._study, self._known = study, numbers
        return study

    def _frozen(self, trial: TrialRecord) -> FrozenTrial | None:
        params = params_within(self._definition.space, trial.settings)
        if len(params) < len(self._distributions) or trial.state == "invalid":
            return None
        values = {score.rung: objective(score) for score in trial.scores}
        if trial.state == "diverged":
            values = {0: -1.0}
        complete = trial.state == "complete"
        return create_trial(
            state=TrialState.COMPLETE if complete else TrialState.PRUNED,
            value=values[self._definition.last_rung] if complete else None,
            params=params,
            distributions=self._distributions,
            intermediate_values=values,
        )


def _plain(value: Any) -> Value:
    """Return a value without NumPy types."""
    if isinstance(value, bool | str):
        return value
    return int(value) if isinstance(value, int) else float(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's log lines and its warnings about experimental features."""
    import warnings

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
