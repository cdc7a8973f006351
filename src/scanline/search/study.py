"""A search from its request to its winner: `Search.begin`, then `run`, then `finish`."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.data.download import Progress
from scanline.data.readers.arrays import Arrays
from scanline.device import choose_device
from scanline.errors import Interrupted, ModelError
from scanline.search.cluster import RemoteStudy, work_on_ray
from scanline.search.definition import Definition
from scanline.search.ending import Ending, best_trials
from scanline.search.final import final_recipe, train_final
from scanline.search.processes import Processes
from scanline.search.records import FINAL, StudyRecord, TrialRecord
from scanline.search.request import STUDIES, Request, define
from scanline.search.storage import MEMORY, StudyStorage, record_of, sqlite_url
from scanline.search.study_files import StudyFiles
from scanline.search.table import table
from scanline.search.worker import LIMIT, OPEN, Worker
from scanline.storage.atomic import write_atomic
from scanline.training.run_directory import RunDirectory, claim
from scanline.training.run_files import Result, SplitMetrics

_LOOK_S = 1.0  # between two looks at the storage for the progress


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        study: The study with its trials.
        folder: Its folder.
        winner: The best trial.
        result: Result of the winner's run, with its test metrics.
        members: Number of members of the ensemble; 1: there is none.
        ensemble: The test metrics of the ensemble; None without an ensemble or a test split.
        notes: Messages for the user.
    """

    study: StudyRecord
    folder: Path
    winner: TrialRecord
    result: Result
    members: int = 1
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
            "members": self.members,
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
        request.check()
        device = choose_device(request.device)
        request = replace(request, device=device)
        definition, data = define(request, on_progress)
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
            raise self._interrupted("search") from None
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
            raise ModelError(
                f"study {study.name} has no validated trial ({reason}); repeat the command with "
                f"--study {study.name} and more --minutes or --trials"
            )
        data = self.files.read_data(self.definition)
        text = final_recipe(self.definition, winner, data).to_toml()
        self._forget_another_winner(text)
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
        return Found(study, self.files.folder, winner, result, len(members), tested, tuple(notes))

    def _forget_another_winner(self, recipe: str) -> None:
        """Remove what belongs to the winner of a shorter search, if it has another recipe."""
        files = self.files
        if files.recipe.is_file() and files.recipe.read_text(encoding="utf-8") == recipe:
            return
        # The recipe first: without it, what a kill leaves here is removed the next time.
        files.recipe.unlink(missing_ok=True)
        files.baselines.unlink(missing_ok=True)
        for folder in (files.winner, files.ensemble):
            shutil.rmtree(folder, ignore_errors=True)

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
            raise self._interrupted("training") from None

    def _interrupted(self, what: str) -> Interrupted:
        name = "" if self.request.study else f" with --study {shlex.quote(self.storage.name)}"
        return Interrupted(f"interrupted; the same command{name} continues the {what}")

    def _processes(self) -> Processes:
        definition, files = self.definition, self.files
        return Processes(files.folder, files.logs, self._url, self.request.device, definition.threads)

    def _write_table(self) -> None:
        write_atomic(self.files.table, table(record_of(self.storage, self.definition)))


def _progress(study: StudyRecord) -> int:
    """Return a number that grows whenever a trial comes further."""
    return sum(1 + len(each.scores) + 3 * (each.state in FINAL) for each in study.trials)


def _folder(request: Request, data: Dataset, definition: Definition) -> Path:
    if request.study is None:
        return claim(Path(STUDIES), f"{data.name}-{definition.base().name}")
    path = Path(request.study)
    return path if len(path.parts) > 1 or path.is_absolute() else Path(STUDIES) / path
