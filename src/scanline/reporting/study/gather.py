"""Collecting what is known about a study: its trials, the winner's run and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scanline.errors import ModelError, UsageError
from scanline.evaluation.baseline_records import Baselines
from scanline.model.ensemble_files import is_ensemble, read_ensemble
from scanline.recipe import read_tree
from scanline.reporting.study.facts import EnsembleFacts, StudyFacts, WinnerFacts
from scanline.search.importance import setting_importance
from scanline.search.records import StudyRecord, Value
from scanline.search.study_files import StudyFiles
from scanline.storage.json_files import read_bounded
from scanline.training.run_directory import RunDirectory

_LENGTHS = ("train.epochs", "train.samples", "train.steps")


def study_facts(study: StudyRecord, folder: Path) -> StudyFacts:
    """Return what is known about a study.

    Args:
        study: The study with its trials.
        folder: Its folder, with the winner and the baselines if there are any.

    Raises:
        ModelError: If a file is damaged; names it.
        MissingExtraError: If Optuna is not installed.
    """
    # The folder is missing on a machine that only knows the database: then there are just trials.
    files = StudyFiles(folder)
    return StudyFacts(
        study=study,
        folder=folder,
        importances=setting_importance(study),
        winner=_winner(files, study),
        ensemble=_ensemble(files.ensemble),
        baselines=Baselines.read(files.baselines) if files.baselines.exists() else None,
    )


def _winner(files: StudyFiles, study: StudyRecord) -> WinnerFacts | None:
    file, run = files.recipe, RunDirectory(files.winner)
    if not file.exists():
        return None
    trained = run.recipe.is_file()
    try:
        text = read_bounded(file, "RECORD_BYTES").decode()
        wanted = read_tree(file)
        made = read_tree(run.recipe) if trained else wanted
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is damaged: {error}") from None
    except UsageError as error:
        raise ModelError(str(error)) from None
    trial = _trial_of(study, wanted, made)
    return WinnerFacts(trial, run.path, file, text, run.read_result() if trained else None)


def _trial_of(study: StudyRecord, wanted: Mapping[str, Any], made: Mapping[str, Any]) -> int | None:
    """Return the number of the trial with the settings of the winner's run, None if there is none.

    Args:
        study: The study.
        wanted: The recipe in winner.toml.
        made: The recipe of the run, which may be of an earlier winner. A run converts its length to steps.
    """
    ranked = study.ranked
    # Trials that differ in their length alone are distinguished by winner.toml.
    exact = {each.number for each in ranked if _has(wanted, each.settings)}
    found = [
        each.number
        for each in ranked
        if _has(made, {key: value for key, value in each.settings.items() if key not in _LENGTHS})
    ]
    return next((number for number in found if number in exact), next(iter(found), None))


def _has(recipe: Mapping[str, Any], settings: Mapping[str, Value]) -> bool:
    """Return whether a recipe has these values, by dotted key."""

    def value(key: str) -> Any:
        found: Any = recipe
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    return all(value(key) == setting for key, setting in settings.items())


def _ensemble(folder: Path) -> EnsembleFacts | None:
    if not is_ensemble(folder):
        return None
    description = read_ensemble(folder)
    return EnsembleFacts(folder, len(description.members), description.provenance.test)
