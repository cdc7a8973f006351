"""Trains a trial up to a rung: an ordinary run, or one for each fold, paused there and resumed exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.data.partition import partition
from scanline.errors import DataError, ModelError, ScanlineError, UsageError
from scanline.recipe import Missing, Recipe, SplitSettings
from scanline.search.definition import Definition
from scanline.search.records import RungScore, TrialRecord
from scanline.training.preparation import sample_count
from scanline.training.run import TrainingRun
from scanline.training.run_directory import RunDirectory
from scanline.training.run_files import EvaluatedLine
from scanline.training.step import Diverged

_UNUSABLE = "unusable"  # end of the name of a run directory that cannot be resumed


class Invalid(Exception):
    """The settings of a trial are refused."""


class Stopped(Exception):
    """Training was paused before the rung, since the worker has to stop."""


class TrialRunner:
    """Trains the trials of a study in this process.

    The data are read once. All trials see the same sequences, and none sees the test split.
    """

    def __init__(
        self, definition: Definition, data: Dataset, folder: Path, stop: Callable[[], bool], device: str
    ) -> None:
        """Prepare to train.

        Args:
            definition: The study.
            data: The data set as it was read, without the test split.
            folder: Where the run directories are.
            stop: Asked after each step whether to pause.
            device: Device to compute on.
        """
        self._definition, self._data, self._folder = definition, data, folder
        self._stop, self._device = stop, device
        self._last: tuple[tuple[SplitSettings, Missing], Dataset] | None = None

    def train(self, trial: TrialRecord, rung: int) -> RungScore:
        """Train a trial up to a rung, all folds, and return its validation there.

        Raises:
            Invalid: If its settings are refused.
            Diverged: If the loss becomes infinite.
            Stopped: If `stop` has returned True before the rung.
            Interrupted: After a signal.
        """
        folds = range(max(1, self._definition.folds))
        return pooled(rung, self._definition.rungs[rung], [self._fold(trial, rung, fold) for fold in folds])

    def _fold(self, trial: TrialRecord, rung: int, fold: int) -> EvaluatedLine:
        path = self._folder / run_name(trial.number, fold, self._definition.folds)
        try:
            recipe = self._definition.trial_recipe(trial.settings, fold)
            data = self._split(recipe)
            recipe = _with_rungs(recipe, sample_count(recipe, data), self._definition)
        except (UsageError, DataError) as error:
            raise Invalid(str(error)) from error
        step = rung_steps(recipe, self._definition)[rung]
        known = _validated(path, recipe, step)
        return known or self._continue(path, recipe, data, step)

    def _split(self, recipe: Recipe) -> Dataset:
        """Return the splits of a recipe; with one split for all trials they are made once."""
        wanted = recipe.split, recipe.input.missing
        if self._last is None or self._last[0] != wanted:
            self._last = wanted, partition(self._data, *wanted)
        return self._last[1]

    def _continue(self, path: Path, recipe: Recipe, data: Dataset, step: int) -> EvaluatedLine:
        """Train a run up to a step, and return the validation there."""
        run = self._open(path, recipe, data)
        for _ in run.events(lambda done: done >= step or self._stop()):
            pass
        found = _validated(path, recipe, step)
        if found is None:
            raise Stopped
        if not math.isfinite(found.loss):
            raise Diverged(step, "the validation loss became infinite", 0.0)
        return found

    def _open(self, path: Path, recipe: Recipe, data: Dataset) -> TrainingRun:
        if (path / "recipe.toml").is_file() and any((path / "checkpoints").glob("step-*")):
            try:
                return TrainingRun.resume(data, run=path, device=self._device)
            except ModelError:
                # Its bits are the same if it is trained again. It is kept aside, to be looked at.
                _set_aside(path)
        try:
            return TrainingRun.start(recipe, data, path, self._device)
        except (UsageError, DataError) as error:
            if path.exists():
                raise ScanlineError(str(error)) from error
            raise Invalid(str(error)) from error


def pooled(rung: int, fraction: float, lines: Sequence[EvaluatedLine]) -> RungScore:
    """Return the validations of all folds as one: the means over all sequences."""
    total = sum(line.total for line in lines)
    loss = sum(line.loss * line.total for line in lines) / total
    if lines[0].score_name == "accuracy":
        # Counts are exact: trials with as many correct predictions in other folds have equal scores.
        correct = sum(line.correct for line in lines)
        return RungScore(rung, fraction, correct / total, loss, correct, total)
    return RungScore(
        rung, fraction, sum(line.value * line.total for line in lines) / total, loss, None, total
    )


def rung_steps(recipe: Recipe, definition: Definition) -> list[int]:
    """Return the step of each rung of a run, ascending."""
    total, unit = recipe.train.total_steps, max(1, recipe.train.validate_every)
    # Rounded up to a validation; a little less, since 3 times a third may be above 1.
    return [min(total, math.ceil(fraction * total / unit - 1e-9) * unit) for fraction in definition.rungs]


def run_name(number: int, fold: int, folds: int) -> str:
    """Return the name of the run directory of a trial, or of a fold of it."""
    return f"{number:04d}" + (f"-fold-{fold}" if folds else "")


def _with_rungs(recipe: Recipe, n_train: int, definition: Definition) -> Recipe:
    """Return a recipe that validates at each rung; how often a run validates changes nothing else."""
    train = recipe.train.limited(n_train)
    if not train.patience:
        first = max(1, math.ceil(definition.rungs[0] * train.total_steps - 1e-9))
        train = train.model_copy(update={"validate_every": first})
    return recipe.model_copy(update={"train": train})


def _validated(path: Path, recipe: Recipe, step: int) -> EvaluatedLine | None:
    """Return the validation of a run at a step that it has passed; None if it has not.

    A run that has ended earlier, or keeps its best weights, has the validation of its model.
    """
    if not path.is_dir():
        return None
    directory = RunDirectory(path)
    result = directory.read_result()
    ended = result is not None and result.training.has_ended
    if result is None or (step >= recipe.train.total_steps and not ended):
        return None
    lines = [
        line
        for line in directory.read_metrics()
        if isinstance(line, EvaluatedLine) and line.part == "validation" and line.step <= step
    ]
    if ended and result.training.steps <= step and recipe.train.patience:
        return next((line for line in reversed(lines) if line.best), None)
    return next((line for line in reversed(lines) if line.step == step), None)


def _set_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}-{_UNUSABLE}-{number}")).exists():
        number += 1
    path.rename(aside)
