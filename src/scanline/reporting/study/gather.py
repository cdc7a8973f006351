"""Collecting what is known about a study: its trials, the winner's run and the baselines."""

from __future__ import annotations

from pathlib import Path

from scanline.errors import ModelError
from scanline.evaluation.baseline_records import Baselines
from scanline.model.ensemble_files import is_ensemble, read_ensemble
from scanline.reporting.study.facts import EnsembleFacts, StudyFacts, WinnerFacts
from scanline.search.importance import setting_importance
from scanline.search.records import StudyRecord
from scanline.search.study_files import StudyFiles
from scanline.storage.json_files import read_bounded
from scanline.training.run_directory import RunDirectory


def study_facts(study: StudyRecord, folder: Path) -> StudyFacts:
    """Return what is known about a study.

    Args:
        study: The study with its trials.
        folder: Its folder, with the winner and the baselines if there are any.

    Raises:
        ModelError: If a file is damaged; names it.
        MissingExtraError: If Optuna is not installed.
    """
    files = StudyFiles(folder)
    return StudyFacts(
        study=study,
        folder=folder,
        importances=setting_importance(study),
        winner=_winner(files),
        ensemble=_ensemble(files.ensemble),
        baselines=Baselines.read(files.baselines) if files.baselines.exists() else None,
    )


def _winner(files: StudyFiles) -> WinnerFacts | None:
    recipe, run = files.recipe, files.winner
    if not recipe.exists():
        return None
    try:
        text = read_bounded(recipe, "RECORD_BYTES").decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{recipe} is damaged: {error}") from None
    return WinnerFacts(run, recipe, text, RunDirectory(run).read_result() if run.is_dir() else None)


def _ensemble(folder: Path) -> EnsembleFacts | None:
    if not is_ensemble(folder):
        return None
    description = read_ensemble(folder)
    return EnsembleFacts(folder, len(description.members), description.provenance.test)
