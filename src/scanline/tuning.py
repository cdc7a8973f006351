"""The functions `scanline.tune` and `scanline.tune_report` of the Python API."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scanline.api import PathLike, Run, load
from scanline.data.data_frames import training_data
from scanline.data.readers.arrays import Arrays
from scanline.model.artifact import TrainedModel
from scanline.python_terms import in_python, python_terms
from scanline.search import check_installed
from scanline.search.records import StudyRecord, TrialRecord
from scanline.training.inputs import reading_settings


@dataclass(frozen=True)
class Study:
    """A finished search, as `scanline.tune` returns it.

    Attributes:
        record: The study with its trials, ranked by `record.ranked`.
        folder: Its folder.
        winner: The best trial.
        result: What `scanline tune --json` prints: the test metrics of the winner and of the ensemble, and
            more.
    """

    record: StudyRecord
    folder: Path
    winner: TrialRecord
    result: dict[str, Any]

    @property
    def run(self) -> Run:
        """The run that has trained the best settings on all but the test split."""
        return Run(self.folder / "winner", self.result)

    @property
    def model(self) -> TrainedModel:
        """The ensemble of the best trials if one was wanted, otherwise the model of the winner."""
        return load(self.folder / ("ensemble" if self.result["members"] > 1 else "winner"))

    def report(self, output: PathLike | None = None) -> Path:
        """Write the report of the search, by default into its folder; see `scanline.tune_report`."""
        return tune_report(self.folder, output)


def tune(
    data: PathLike | Arrays | Any | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    task: str | None = None,
    recipe: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
    study: PathLike | None = None,
    storage: str | None = None,
    seed: int = 0,
    folds: int | None = None,
    ordered: bool = True,
    ensemble: int = 0,
    baselines: bool = True,
    device: str = "auto",
    engine: Literal["local", "ray"] = "local",
    address: str = "auto",
    on_change: Callable[[StudyRecord], None] | None = None,
    log: Callable[[str], None] | None = print,
) -> Study:
    """Search for the settings that suit data, train a model with the best ones, and test it.

    The same call with the `study` of an interrupted search continues it.

    Args:
        data: As for `train`.
        trials: Number of trials; None: as many as `minutes` allows.
        minutes: Duration of the search; then the winner is trained. None: no limit.
        workers: Number of trials at a time, each in a process of one thread; 0: one, in this process.
        task: As for `train`.
        recipe: What the trials change: name of a recipe or a TOML file, whose table [search] is searched.
        settings: Changes of the recipe for all trials, dotted key to value.
        space: What is searched, instead: dotted key to a list of choices, or to a range such as
            {"low": 0.001, "high": 0.1, "log": True}. None without a table: chosen by what the data are.
        study: Name of the study in the folder `studies`, or its folder; None takes the first free name.
        storage: Database of the trials, such as "postgresql://..."; None: SQLite in the study's folder.
        seed: Seed of the search.
        folds: Number of folds that trials are validated on; 0: one split; None: folds if there are few
            sequences.
        ordered: Whether the trials are the same for any number of workers.
        ensemble: Number of best trials that also make an ensemble; 0: none.
        baselines: Whether plain baselines are measured at the end.
        device: "auto", "cpu", "cuda" or "cuda:N".
        engine: "local", or "ray" for workers on a Ray cluster; then workers=0 are all of its cores.
        address: The cluster: "local" starts one on this machine, "auto" joins the one of this machine,
            "HOST:PORT" another.
        on_change: Called with the study at times when a trial has come further.
        log: Called with each message; None is silent.

    Raises:
        UsageError: If the request is not valid, the study is another one, or Optuna is not installed.
        DataError: If the data cannot be used.
        ModelError: If no trial could be validated.
        ScanlineError: If the storage cannot be used.
        Interrupted: After Ctrl-C, once all trials are paused.
    """
    check_installed()
    from scanline.search.request import Request
    from scanline.search.study import Search

    say = log or (lambda line: None)
    changes = dict(settings or {}) | ({} if task is None else {"task": task})
    with python_terms():
        request = Request(
            data=training_data(data, reading_settings(changes)),
            recipe=None if recipe is None else os.fspath(recipe),
            settings=changes,
            space=space,
            trials=trials,
            minutes=minutes,
            workers=workers,
            study=None if study is None else os.fspath(study),
            storage=storage,
            seed=seed,
            folds=folds,
            ordered=ordered,
            ensemble=ensemble,
            baselines=baselines,
            device=device,
            engine=engine,
            address=address,
        )
        with contextlib.closing(Search.begin(request)) as search:
            for note in search.notes:
                say(in_python(note))
            search.run(on_change or (lambda study: None))
            found = search.finish()
    for note in found.notes:
        say(in_python(note))
    return Study(found.study, found.folder, found.winner, found.to_json())


def tune_report(study: PathLike, output: PathLike | None = None, *, storage: str | None = None) -> Path:
    """Write the report of a search: its trials, what mattered, the winner, and plain baselines beside it.

    Args:
        study: Folder of the study, or its name in `studies` or in the database.
        output: The .html file; None writes report.html into the study's folder. A JSON file of the same name
            with every number is written beside it.
        storage: Address of the database; None: as the study's folder says.

    Returns:
        The path of the page.

    Raises:
        ModelError: If there is no such study, or a file of it is damaged.
        UsageError: If an argument does not make sense, or an optional dependency is missing.
        ScanlineError: If the database cannot be reached, or a file cannot be written.
    """
    with python_terms():
        check_installed()
        # Imported here, since it needs Optuna.
        from scanline.reporting.study.report import write_report

        return write_report(study, output, storage)[0]
