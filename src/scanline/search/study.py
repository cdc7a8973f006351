"""A search from its request to its winner: `Search.begin`, then `run`, then `finish`."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from scanline import recipe as recipes
from scanline.clusters import check_reachable
from scanline.data.dataset import ALL, Dataset
from scanline.data.download import Progress
from scanline.data.partition import partition
from scanline.data.readers.arrays import Arrays
from scanline.device import choose_device
from scanline.errors import Interrupted, ModelError, UsageError
from scanline.recipe import Recipe
from scanline.search.cluster import RemoteStudy, work_on_ray
from scanline.search.default_space import default_space
from scanline.search.definition import GENERATION, Definition
from scanline.search.ending import Ending, best_trials
from scanline.search.final import final_recipe, train_final
from scanline.search.processes import Processes
from scanline.search.records import FINAL, StudyRecord, TrialRecord
from scanline.search.space import Space, read_space
from scanline.search.storage import MEMORY, StudyStorage, open_study, record_of, sqlite_url, study_folder
from scanline.search.study_files import StudyFiles
from scanline.search.table import table
from scanline.search.validation import choose_validation
from scanline.search.worker import LIMIT, OPEN, Worker, check_digest, data_digest
from scanline.storage.atomic import write_atomic
from scanline.training.inputs import read_unsplit
from scanline.training.preparation import Prepared, prepare
from scanline.training.run_directory import RunDirectory, claim
from scanline.training.run_files import Result, SplitMetrics

Engine = Literal["local", "ray"]
STUDIES = "studies"
_LOOK_S = 1.0  # between two looks at the storage for the progress


@dataclass(frozen=True)
class Request:
    """What to search.

    Attributes:
        data: Name or path of a data set, or arrays; None leaves it to the recipe.
        recipe: Name of a recipe or a TOML file, which may have a table [search].
        settings: Changes of the recipe, dotted key to value.
        space: What is searched, as in a table [search]; None: the table of the recipe, or a default space.
        trials: Number of trials; None: no limit.
        minutes: Duration of the search; None: no limit.
        workers: Number of processes on this machine; 0: trials are trained in this one. On a cluster, the
            number of workers; 0: one for each core.
        study: Name of the study in `studies`, or its folder; None takes the first free name.
        storage: Address of a database; "memory": none, for a search in this process; None: SQLite in the
            study's folder.
        seed: Seed of the search.
        folds: Number of folds to validate on; 0: one split; None: chosen by the data.
        ordered: Whether the trials must not depend on the number of workers.
        ensemble: Number of best trials whose settings make an ensemble; 0: none.
        baselines: Whether plain baselines are measured at the end.
        device: Device to compute on.
        engine: "local", or "ray" for workers on a Ray cluster.
        address: The cluster: "local", "auto" or "HOST:PORT".
    """

    data: str | Arrays | None = None
    recipe: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    space: Mapping[str, object] | None = None
    trials: int | None = None
    minutes: float | None = None
    workers: int = 1
    study: str | None = None
    storage: str | None = None
    seed: int = 0
    folds: int | None = None
    ordered: bool = True
    ensemble: int = 0
    baselines: bool = True
    device: str = "auto"
    engine: Engine = "local"
    address: str = "auto"

    @property
    def in_process(self) -> bool:
        """Whether trials are trained in this process."""
        return self.workers == 0 and self.engine == "local"


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        study: The study with its trials.
        folder: Its folder.
        winner: The best trial.
        result: Result of the winner's run, with its test metrics.
        ensemble: The test metrics of the ensemble; None if none was wanted.
        notes: Messages for the user.
    """

    study: StudyRecord
    folder: Path
    winner: TrialRecord
    result: Result
    ensemble: SplitMetrics | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the outcome as a JSON object."""
        last = self.winner.last
        return {
            "study": self.study.name,
            "folder": str(self.folder),
            "trials": len(self.study.trials),
            "metric": self.study.metric,
            "winner": {
                "number": self.winner.number,
                "settings": self.winner.settings,
                "score": None if last is None else last.score,
                "run": str(self.folder / "winner"),
            },
            "ensemble": None if self.ensemble is None else self.ensemble.to_json(),
            **self.result.to_json(),
        }


class Search:
    """A search in a folder `studies/<name>`.

    Attributes:
        request: What to search.
        definition: The study.
        storage: Where it is kept.
        files: Its folder.
        notes: Messages for the user.
    """

    def __init__(
        self, request: Request, definition: Definition, storage: StudyStorage, files: StudyFiles, url: str
    ) -> None:
        self.request, self.definition, self.storage, self.files = request, definition, storage, files
        self.notes: list[str] = []
        self._url, self._looked = url, 0.0
        self._record: StudyRecord | None = None

    @classmethod
    def begin(cls, request: Request, on_progress: Progress | None = None) -> Search:
        """Create a study, or open the one of this name. Everything is checked before anything is written.

        Args:
            request: What to search.
            on_progress: Called with (received, total) bytes of a download.

        Raises:
            UsageError: If the request is not valid, or the study of this name is another one.
            DataError: If the data cannot be read.
            ScanlineError: If the storage cannot be used.
        """
        _check(request)
        device = choose_device(request.device)
        request = replace(request, device=device)
        definition, data = _define(request, on_progress)
        folder = _folder(request, data, definition)
        files, url = StudyFiles(folder), request.storage or sqlite_url(folder)
        if request.storage in (None, MEMORY):
            folder.mkdir(parents=True, exist_ok=True)
        storage = StudyStorage(url, folder.name)
        with storage.held():
            present = storage.find()
            if present is None:
                storage.create(definition)
            else:
                present.check_same(definition, f"study {folder.name}")
            if not files.exists():
                arrays = request.data if isinstance(request.data, Arrays) else None
                files.create(folder.name, storage.url if request.storage else None, arrays)
        search = cls(request, present or definition, storage, files, url)
        search.notes += data.notes
        return search

    def close(self) -> None:
        """Close the connections to the storage."""
        self.storage.close()

    def run(self, on_change: Callable[[StudyRecord], None] = lambda study: None) -> bool:
        """Search until the number of trials or the time is reached.

        Args:
            on_change: Called with the study whenever a trial has come further.

        Returns:
            Whether the number of trials was reached.

        Raises:
            Interrupted: After Ctrl-C, once all trials are paused.
            ScanlineError: If a worker fails, or the storage cannot be used.
        """
        request, storage = self.request, self.storage
        deadline = None if request.minutes is None else time.monotonic() + 60 * request.minutes
        with storage.held():
            storage.set_attribute(LIMIT, request.trials)
            storage.set_attribute(OPEN, True)
        processes = self._processes()

        def progress() -> int:
            if time.monotonic() - self._looked < _LOOK_S:
                return -1 if self._record is None else _progress(self._record)
            self._looked, before = time.monotonic(), self._record
            self._record = record_of(storage, self.definition)
            if before is None or _progress(before) != _progress(self._record):
                on_change(self._record)
            return _progress(self._record)

        try:
            if request.in_process:
                ended = self._work(deadline, progress)
            elif request.engine == "ray":
                ended = self._work_on_ray(deadline, progress)
            else:
                ended = processes.run([("worker",)] * request.workers, request.workers, deadline, progress)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command continues the search") from None
        finally:
            storage.set_attribute(OPEN, False)
        self._write_table()
        return ended

    def _work(self, deadline: float | None, progress: Callable[[], object]) -> bool:
        """Train trials in this process; return whether the number of trials was reached."""

        def stop() -> bool:
            progress()
            return deadline is not None and time.monotonic() >= deadline

        data = self.files.read_data(self.definition)
        folder, device = self.files.folder, self.request.device
        Worker(self.storage, self.definition, data, folder, stop, device).work()
        return not stop()

    def _work_on_ray(self, deadline: float | None, progress: Callable[[], object]) -> bool:
        """Train trials on a cluster; return whether the number of trials was reached."""
        folder, request = str(self.files.folder.resolve()), self.request
        study = RemoteStudy(folder, self.storage.name, self._url, request.device, socket.gethostname())

        def close() -> None:
            self.storage.set_attribute(OPEN, False)

        return work_on_ray(study, request.workers, request.address, deadline, progress, close)

    def finish(self) -> Found:
        """Train the winner again on training and validation sequences, and test it.

        With an ensemble, its other members are trained in the same way, and the ensemble is tested. Plain
        baselines are measured at the end.

        Raises:
            ModelError: If no trial has come to a validation.
            Interrupted: After Ctrl-C.
        """
        study = record_of(self.storage, self.definition)
        winner = study.best
        if winner is None:
            states = {each.state: each.message for each in study.trials}
            reason = next((message for message in states.values() if message), "none has come to a rung")
            raise ModelError(f"study {study.name} has no validated trial ({reason}); search longer")
        data = self.files.read_data(self.definition)
        text = final_recipe(self.definition, winner, data).to_toml()
        # A longer search may have another winner: the run of the former one is not resumed.
        if self.files.recipe.is_file() and self.files.recipe.read_text(encoding="utf-8") != text:
            shutil.rmtree(self.files.winner, ignore_errors=True)
        write_atomic(self.files.recipe, text)
        members, notes = best_trials(study, max(1, self.request.ensemble))
        self._train(members)
        result = RunDirectory(self.files.winner).read_result()
        if result is None:
            raise ModelError(f"{self.files.winner} has no result")
        ended = Ending(self.definition, self.files, data, members)
        ended.calibrate_winner()
        tested = ended.make_ensemble() if len(members) > 1 else None
        if self.request.baselines:
            ended.measure_baselines()
        return Found(study, self.files.folder, winner, result, tested, tuple(notes))

    def _train(self, trials: Sequence[TrialRecord]) -> None:
        """Train the final models of trials; the first is the winner, which is tested."""
        paths = [self.files.final(trial.number, rank) for rank, trial in enumerate(trials)]
        if self.request.in_process:
            for rank, trial in enumerate(trials):
                data = self.files.read_data(self.definition, with_test=rank == 0)
                device = self.request.device
                train_final(self.definition, trial, paths[rank], data, rank, lambda: False, device)
            return
        programs = [
            ["final", str(trial.number), str(path.relative_to(self.files.folder)), str(rank)]
            for rank, (trial, path) in enumerate(zip(trials, paths, strict=True))
        ]
        try:
            # The final models of a search on a cluster are trained here, where the data are.
            at_once = self.request.workers or 1
            self._processes().run(programs, min(at_once, os.cpu_count() or 1))
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command continues the training") from None

    def _processes(self) -> Processes:
        definition, files = self.definition, self.files
        return Processes(files.folder, files.logs, self._url, self.request.device, definition.threads)

    def _write_table(self) -> None:
        write_atomic(self.files.table, table(record_of(self.storage, self.definition)))


def join(
    study: str, storage: str | None, data: str | None, workers: int, device: str = "auto"
) -> tuple[str, str]:
    """Work on the trials of a search that another machine has begun, until it ends.

    Args:
        study: Folder of the study, which may be shared with that machine, or its name.
        storage: Address of the database; None: as the study's folder says.
        data: Where the data are on this machine, if not where the study was begun.
        workers: Number of processes.
        device: Device to compute on.

    Returns:
        Name of the study, and address of its storage without a password.

    Raises:
        ModelError: If there is no such study.
        DataError: If the data are not those of the study.
        Interrupted: After Ctrl-C, once all trials are paused.
    """
    device = choose_device(device)
    folder = study_folder(study)
    if storage is not None and not folder.exists():
        folder = Path(STUDIES) / folder.name
    files = StudyFiles(folder)
    if files.exists():
        files.check_machine(storage or files.storage())
    opened, definition = open_study(str(folder), storage)
    if not files.exists():
        where = "" if data is None else str(Path(data).resolve()) if Path(data).exists() else data
        files.create(folder.name, opened.url, data=where)
    opened.close()
    check_digest(definition, files.read_data(definition))
    url = storage or files.storage()
    processes = Processes(folder, files.logs, url, device, definition.threads)
    try:
        processes.run([("worker",)] * workers, workers)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command joins the search again") from None
    return opened.name, opened.url


def _progress(study: StudyRecord) -> int:
    """Return a number that grows whenever a trial comes further."""
    return sum(1 + len(each.scores) + 3 * (each.state in FINAL) for each in study.trials)


def _check(request: Request) -> None:
    if request.trials is None and request.minutes is None:
        raise UsageError("expected the size of the search: --trials or --minutes")
    if request.trials is not None and request.trials < 1:
        raise UsageError(f"--trials must be at least 1, got {request.trials}")
    if request.minutes is not None and not 0 < request.minutes < 1e6:
        raise UsageError(f"--minutes must be above 0, got {request.minutes}")
    if request.workers < 0:
        raise UsageError(f"--workers must be at least 1, got {request.workers}")
    if request.storage == MEMORY and not request.in_process:
        raise UsageError(f"--storage {MEMORY} is for a search in this process, got {request.workers} workers")
    if request.engine == "ray":
        check_reachable(request.address)
    if request.folds is not None and (request.folds == 1 or not 0 <= request.folds <= 100):
        raise UsageError(f"--folds must be 0 or from 2 to 100, got {request.folds}")
    for key in request.settings:
        if key in ("split.folds", "split.fold", "split.use_test", "split.use_validation"):
            raise UsageError(f"{key} must not be set for a search, which sets it itself")


def _define(request: Request, on_progress: Progress | None) -> tuple[Definition, Dataset]:
    """Return the study that a request asks for, and the data without their test split."""
    settings = dict(request.settings) | {"split.use_test": False}
    recipe, data = read_unsplit(request.data, request.recipe, settings, on_progress)
    tree, where = request.space, "space"
    if tree is None and request.recipe is not None:
        tree, where = recipes.load_search(request.recipe), request.recipe
    recipe = recipe.model_copy(update={"split": recipe.split.model_copy(update={"use_test": True})})
    folds, fraction = choose_validation(recipe, data, request.folds)
    definition = Definition(
        data=data.title,
        address=data.address,
        digest=data_digest(data),
        n_train=_count(recipe, data),
        task=recipe.task,
        metric="",
        recipe=recipe.to_toml(),
        space=Space({}),
        seed=request.seed,
        folds=folds,
        validation=fraction,
        ordered=request.ordered,
        generation=GENERATION,
        # Trials in this process use its threads, which other parts of a program may use, too.
        threads=torch.get_num_threads() if request.in_process else 1,
    )
    # The recipe itself must work: nothing is written before.
    trial = definition.trial_recipe({})
    split = partition(data, trial.split, trial.input.missing)
    prepared = prepare(trial, split)
    if split.validation is None:
        raise UsageError("a search requires a validation split: set split.validation above 0, or --folds")
    space = default_space(recipe, prepared) if tree is None else read_space(tree, recipe, where)
    return replace(definition, space=space, metric=_metric(prepared)), data


def _metric(prepared: Prepared) -> str:
    """Return the name of the task's score."""
    task, source = prepared.task, prepared.data.train
    # Any outputs do.
    outputs = torch.zeros((len(source), task.output_size), dtype=torch.float64)
    return task.score(outputs, torch.from_numpy(task.encode(source))).name


def _count(recipe: Recipe, data: Dataset) -> int:
    split = recipe.split.model_copy(update={"use_test": False, "use_validation": False})
    whole = data if ALL not in data.splits else partition(data, split, recipe.input.missing)
    return sum(len(each) for name, each in whole.splits.items() if name != "test")


def _folder(request: Request, data: Dataset, definition: Definition) -> Path:
    if request.study is None:
        return claim(Path(STUDIES), f"{data.name}-{definition.base().name}")
    path = Path(request.study)
    return path if len(path.parts) > 1 or path.is_absolute() else Path(STUDIES) / path
