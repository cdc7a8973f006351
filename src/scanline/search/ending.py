"""What follows the final training of a search: calibration, the ensemble, and plain baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import Dataset
from scanline.data.folds import folds
from scanline.data.memory import MemorySource
from scanline.data.partition import partition
from scanline.evaluation.baselines import measure_baselines
from scanline.evaluation.ensembling import save_ensemble
from scanline.evaluation.evaluate import evaluate_source
from scanline.model.artifact import Model
from scanline.model.ensemble import make_ensemble
from scanline.search.definition import Definition
from scanline.search.records import StudyRecord, TrialRecord
from scanline.search.study_files import StudyFiles
from scanline.search.trial import run_name
from scanline.search.worker import TRIALS
from scanline.training.run_directory import RunDirectory
from scanline.training.run_files import SplitMetrics


def best_trials(study: StudyRecord, count: int) -> tuple[list[TrialRecord], list[str]]:
    """Return the best trials with different settings, and a note if there are fewer than wanted."""
    chosen: list[TrialRecord] = []
    for trial in study.ranked:
        if all(trial.settings != each.settings for each in chosen):
            chosen.append(trial)
    if len(chosen) >= count:
        return chosen[:count], []
    if len(chosen) == 1:
        return chosen, ["no ensemble is made, as all validated trials have the same settings"]
    return chosen, [f"the ensemble has {len(chosen)} members, as only so many trials were validated"]


@dataclass(frozen=True, eq=False)
class Ending:
    """The end of a search.

    Attributes:
        definition: The study.
        files: Its folder.
        data: The data set as it was read, without the test split.
        members: The trials whose final models were trained, the winner first.
    """

    definition: Definition
    files: StudyFiles
    data: Dataset
    members: Sequence[TrialRecord]

    def calibrate_winner(self) -> None:
        """Give the winner's model the temperature of its trial.

        The final model is trained on the validation sequences, too, so that none are left to fit a
        temperature on. The models of the trial have not seen them.
        """
        folder = RunDirectory(self.files.winner).model
        model = Model.load(folder)
        known = self._validation_outputs(self.members[:1])
        if model.temperature is None and known is not None:
            (outputs,), targets, errors = known
            temperature = model.task.fit_temperature(outputs, targets)
            task = model.task if errors is None else model.task.calibrated(errors)
            replace(model, temperature=temperature, task=task).save(folder)

    def make_ensemble(self) -> SplitMetrics | None:
        """Make an ensemble of the final models, calibrate and test it; return its test metrics."""
        paths = [self.files.final(trial.number, rank) for rank, trial in enumerate(self.members)]
        models = [Model.load(RunDirectory(path).model) for path in paths]
        made = make_ensemble(models, names=[path.name for path in paths])
        known = self._validation_outputs(self.members)
        if known is not None:
            outputs, targets, _ = known
            temperature = made.task.fit_temperature(made.combined(outputs), targets)
            made = replace(made, temperature=temperature)
        recipe = self.definition.base()
        whole = self.files.read_data(self.definition, with_test=True)
        test = partition(whole, recipe.split, recipe.input.missing).test
        metrics = None
        if test is not None:
            found = evaluate_source(made, self.data.name, test).metrics
            made, metrics = made.with_test(found), SplitMetrics.model_validate(found.to_json())
        where = (recipe.data, recipe.split) if recipe.data.name else None
        save_ensemble(made, self.files.ensemble, where)
        return metrics

    def measure_baselines(self) -> None:
        """Measure plain baselines on the sequences that trials are validated on, and on the test split."""
        definition = self.definition
        whole = self.files.read_data(definition, with_test=True)
        recipe = definition.trial_recipe({})
        split = recipe.split.model_copy(update={"use_test": True, "folds": 0, "fold": 0})
        if definition.folds:
            split = split.model_copy(update={"use_validation": False})
        data = partition(whole, split, recipe.input.missing)
        divided = None
        if definition.folds and isinstance(data.train, MemorySource):
            divided = folds(data.train, definition.folds, split.seed)
        winner = Model.load(RunDirectory(self.files.winner).model)
        measure_baselines(data, divided, winner, definition.seed).write(self.files.baselines)

    def _validation_outputs(
        self, trials: Sequence[TrialRecord]
    ) -> tuple[list[NDArray[np.float32]], NDArray[Any], NDArray[np.float64] | None] | None:
        """Return the outputs of each trial's models for the sequences that they were validated on.

        Returns:
            For each trial (N, M); the (N,) targets; and the (N,) calibration errors of the first trial, None
            if the task has none. None if a trial was not trained to its end, or runs are not on this machine.
        """
        definition = self.definition
        if any(trial.state != "complete" for trial in trials):
            return None
        found: list[list[NDArray[np.float32]]] = [[] for _ in trials]
        targets, errors = [], []
        for fold in range(max(1, definition.folds)):
            recipe = definition.trial_recipe(trials[0].settings, fold)
            source = partition(self.data, recipe.split, recipe.input.missing).validation
            assert source is not None
            paths = [self._trial_run(trial, fold) for trial in trials]
            if not all(path.is_dir() for path in paths):
                return None
            models = [Model.load(RunDirectory(path).model) for path in paths]
            for outputs, model in zip(found, models, strict=True):
                outputs.append(np.asarray(model.outputs(model.steps(source)), np.float32))
            first = models[0]
            targets.append(first.task.encode(first.with_targets(first.steps(source))))
            # By the task of this fold, whose scale its outputs have.
            errors.append(first.task.calibration_errors(found[0][-1], targets[-1], source.lengths))
        known = [each for each in errors if each is not None]
        joined = np.concatenate(known) if known else None
        return [np.concatenate(each) for each in found], np.concatenate(targets), joined

    def _trial_run(self, trial: TrialRecord, fold: int) -> Path:
        return self.files.folder / TRIALS / run_name(trial.number, fold, self.definition.folds)
