"""What the table and the report of a study show, as typed values and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from scanline.evaluation.baseline_records import Baselines
from scanline.model.description import TestResult
from scanline.search.importance import Importances
from scanline.search.records import StudyRecord, TrialRecord, Value
from scanline.training.run_files import Result

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True)
class WinnerFacts:
    """The best trial, trained again on the training and the validation split and tested.

    Attributes:
        trial: Number of the trial; None if its settings are those of no trial of the study.
        run: Its run directory.
        recipe_file: File of its recipe.
        recipe: Its recipe, as TOML.
        result: Content of its `result.json`; None while it is trained.
    """

    trial: int | None
    run: Path
    recipe_file: Path
    recipe: str
    result: Result | None


@dataclass(frozen=True)
class EnsembleFacts:
    """The ensemble of the best trials, each trained again as the winner is.

    Attributes:
        path: Its folder.
        members: Number of its members.
        test: Its result on the test split; None if there is none.
    """

    path: Path
    members: int
    test: TestResult | None

    @property
    def name(self) -> str:
        """How it is named in tables."""
        return f"ensemble of {self.members}"


@dataclass(frozen=True)
class StudyFacts:
    """What is known about a study.

    Attributes:
        study: The study with its trials.
        folder: Its folder.
        importances: Importance of its settings.
        winner: The winner; None while the search is running.
        ensemble: The ensemble; None if there is none.
        baselines: The baselines; None if they have not been measured.
    """

    study: StudyRecord
    folder: Path
    importances: Importances
    winner: WinnerFacts | None
    ensemble: EnsembleFacts | None
    baselines: Baselines | None

    @cached_property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The trials that can win, the best first: without the diverged and the invalid ones."""
        # `ranked` has every trial with a score, also one that diverged after its first rung.
        return tuple(each for each in self.study.ranked if each.state in ("complete", "stopped", "running"))

    @cached_property
    def listed(self) -> tuple[tuple[int | None, TrialRecord], ...]:
        """All trials with their ranks, the best first; those without a rank come last."""
        # Ranks by number, as two trials may have the same settings and scores.
        ranks = {each.number: rank for rank, each in enumerate(self.ranked, 1)}
        others = [each for each in self.study.trials if each.number not in ranks]
        return (*((ranks[each.number], each) for each in self.ranked), *((None, each) for each in others))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The searched keys, the most important first."""
        # The importance leaves out settings that all trials share; they come last.
        order = [each.key for each in self.importances.settings]
        return (*order, *(key for key in self.study.space if key not in order))

    def changes(self, trial: TrialRecord) -> dict[str, Value]:
        """Return the settings of a trial that are not those of the recipe, which trial 0 has."""
        first = next((each.settings for each in self.study.trials if each.number == 0), {})
        # A sentinel: None is no value of TOML, but a key may be missing from trial 0.
        missing = object()
        return {
            key: trial.settings[key]
            for key in self.keys
            if key in trial.settings and trial.settings[key] != first.get(key, missing)
        }

    def without_folders(self) -> StudyFacts:
        """Return the same with paths from the study's folder on: pages are shared, paths are private."""
        # Resolved, so that the folder "." has a name.
        name = Path(self.folder.resolve().name)

        def short(path: Path) -> Path:
            return name / path.relative_to(self.folder)

        winner, ensemble = self.winner, self.ensemble
        if winner is not None:
            winner = replace(winner, run=short(winner.run), recipe_file=short(winner.recipe_file))
        if ensemble is not None:
            ensemble = replace(ensemble, path=short(ensemble.path))
        return replace(self, folder=name, winner=winner, ensemble=ensemble)

    @property
    def overtaken(self) -> bool:
        """Whether another trial than the winner is the best by now."""
        return self.winner is not None and bool(self.ranked) and self.winner.trial != self.ranked[0].number

    def count(self, *states: str) -> int:
        """Return the number of trials that are in one of these states."""
        return sum(each.state in states for each in self.study.trials)

    def to_json(self) -> JsonObject:
        """Return all of it as JSON."""
        study = self.study
        return {
            "study": study.name,
            "folder": str(self.folder),
            "data": study.data,
            "task": study.task,
            "metric": study.metric,
            "seed": study.seed,
            "validation": study.validation,
            "n_train": study.n_train,
            "space": dict(study.space),
            "trials": [self._trial(rank, each) for rank, each in self.listed],
            "importance": {
                "settings": {each.key: each.fraction for each in self.importances.settings},
                "trials": self.importances.trials,
                "note": self.importances.note,
            },
            "winner": None if self.winner is None else self._winner(self.winner),
            "ensemble": None if self.ensemble is None else _ensemble(self.ensemble),
            "baselines": None if self.baselines is None else self.baselines.to_json(),
        }

    def _trial(self, rank: int | None, trial: TrialRecord) -> JsonObject:
        last = trial.last
        return {
            "rank": rank,
            "number": trial.number,
            "generation": trial.generation,
            "state": trial.state,
            "score": None if last is None else last.score,
            "ci95": None if last is None or last.interval is None else [*last.interval],
            "trained": None if last is None else last.fraction,
            "rungs": [dataclasses.asdict(each) for each in trial.scores],
            "settings": dict(trial.settings),
            "changes": dict(self.changes(trial)),
            "message": trial.message,
        }

    def _winner(self, winner: WinnerFacts) -> JsonObject:
        test = winner.result.test if winner.result else None
        return {
            "trial": winner.trial,
            "run": str(winner.run),
            "recipe_file": str(winner.recipe_file),
            "recipe": winner.recipe,
            "test": None if test is None else test.to_json(),
        }


def _ensemble(ensemble: EnsembleFacts) -> JsonObject:
    test = None if ensemble.test is None else ensemble.test.model_dump(mode="json")
    return {"path": str(ensemble.path), "members": ensemble.members, "test": test}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its last component, or the key itself if several share it."""
    # "model.hidden_size" is "hidden_size" unless another section has one, too.
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def shown(value: Value) -> str:
    """Return the value of a setting as TOML has it, but numbers with at most four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
