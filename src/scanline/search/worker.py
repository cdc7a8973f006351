"""A worker of a search: claims trials of a study, trains them and stores what they come to.

All workers are alike. Whoever holds the lock of the study settles what can be settled, asks for new trials
and claims one; the training itself needs no lock. A worker that is killed leaves its lock and its run to the
next one.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.errors import DataError, join_names
from scanline.recipe import Recipe
from scanline.search.board import Board, Outcome
from scanline.search.decisions import Job
from scanline.search.definition import Definition
from scanline.search.locks import WorkerLock, has_ended
from scanline.search.records import Value
from scanline.search.sampling import Sampler
from scanline.search.storage import StoredTrial, StudyStorage
from scanline.search.trial import Invalid, Stopped, TrialRunner
from scanline.storage.digest import sha256
from scanline.training.step import Diverged

WORKERS, TRIALS = "workers", "trials"
LIMIT, OPEN = "limit", "open"  # attributes of a study: how many trials it may have, whether to work on it
_IDLE_S = 0.02  # between two looks at a study in which nothing can be done now
_LONGEST_IDLE_S = 0.5
_BEAT_S, _GRACE_S = 10.0, 60.0  # of workers on other machines


class Worker:
    """Trains trials of a study until none is left.

    Attributes:
        name: Its name in the study.
    """

    def __init__(
        self,
        storage: StudyStorage,
        definition: Definition,
        data: Dataset,
        folder: Path,
        stop: Callable[[], bool] = lambda: False,
        device: str = "cpu",
    ) -> None:
        """Prepare to work.

        Args:
            storage: Where the study is kept.
            definition: The study.
            data: The data set as it was read, without the test split.
            folder: Folder of the study, for runs and locks.
            stop: Asked after each step; once it returns True, the trial is paused and the work ends.
            device: Device to compute on.

        Raises:
            DataError: If these are not the data of the study.
        """
        check_digest(definition, data)
        self._storage, self._definition, self._stop = storage, definition, stop
        self._folder = folder
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._runner = TrialRunner(definition, data, folder / TRIALS, self._must_pause, device)
        self._sampler = Sampler(definition, recipe_values(definition))
        self._others = _Heartbeats()
        self._beaten = 0.0

    def work(self) -> None:
        """Train trials until the study has as many as it may, or `stop` returns True.

        Raises:
            Interrupted: After SIGINT or SIGTERM, once the trial is paused.
            ScanlineError: If the storage or a run directory cannot be used.
        """
        lock = WorkerLock(self._folder / WORKERS, self.name)
        idle = _IDLE_S
        outcome: Outcome | None = None
        try:
            while not self._stop():
                claimed, done = self._claim(outcome)
                outcome = None
                if claimed is not None:
                    outcome = self._train(*claimed)
                    idle = _IDLE_S
                elif done:
                    return
                else:
                    time.sleep(idle)
                    idle = min(2 * idle, _LONGEST_IDLE_S)
            if outcome is not None:
                with self._storage.held():
                    outcome.store(self._storage)
                    limit = self._storage.attributes().get(LIMIT)
                    self._settle(Board(self._storage, self._definition), limit)
        finally:
            lock.release()

    def _claim(self, outcome: Outcome | None) -> tuple[tuple[StoredTrial, Job] | None, bool]:
        """Store the outcome of the last trial, and claim the next one.

        Returns:
            The trial and how far to train it, or None; and whether nothing is left to do.
        """
        storage = self._storage
        with storage.held():
            self._beat()
            if outcome is not None:
                outcome.store(storage)
            attributes = storage.attributes()
            limit: int | None = attributes.get(LIMIT)
            board = Board(storage, self._definition)
            board.free(lambda worker: self._is_gone(worker, attributes))
            self._settle(board, limit)
            if not attributes.get(OPEN, True):
                return None, True
            job = board.next_job(self._sampler, limit)
            if job is None:
                return None, board.is_complete(limit)
            trial = board.trials[job.number]
            storage.claim(trial, self.name)
            return (trial, job), False

    def _settle(self, board: Board, limit: int | None) -> None:
        # In this order: trials are compared with all of their generation.
        board.complete_generation(self._sampler, limit)
        board.settle()

    def _is_gone(self, worker: str, attributes: dict[str, object]) -> bool:
        if worker == self.name:
            return False
        ended = has_ended(self._folder / WORKERS, worker)
        return self._others.is_gone(worker, attributes) if ended is None else ended

    def _must_pause(self) -> bool:
        self._beat()
        return self._stop()

    def _beat(self) -> None:
        """Let workers of other machines see that this one is alive."""
        now = time.monotonic()
        if now - self._beaten > _BEAT_S:
            self._storage.set_attribute(beat_key(self.name), round(time.time(), 3))
            self._beaten = now

    def _train(self, trial: StoredTrial, job: Job) -> Outcome:
        """Train a trial up to a rung."""
        try:
            return Outcome(trial, self._runner.train(trial.record, job.rung))
        except Invalid as error:
            return Outcome(trial, failure="invalid", message=str(error))
        except Diverged as error:
            return Outcome(trial, failure="diverged", message=str(error).partition("; the model of")[0])
        except Stopped:
            return Outcome(trial)
        except BaseException:
            with self._storage.held():
                Outcome(trial).store(self._storage)
            raise


class _Heartbeats:
    """Notices that workers of other machines are gone: their heartbeat stands still for a minute.

    Only durations of this machine are measured, since clocks differ.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float]] = {}

    def is_gone(self, worker: str, attributes: dict[str, object]) -> bool:
        """Return whether a worker's heartbeat has not changed for a minute."""
        beat, now = attributes.get(beat_key(worker)), time.monotonic()
        known = self._seen.get(worker)
        if known is None or known[0] != beat:
            self._seen[worker] = beat, now
            return False
        return now - known[1] > _GRACE_S


def beat_key(worker: str) -> str:
    """Return the attribute of a study that holds the heartbeat of a worker."""
    return f"beat {worker}"


def recipe_values(definition: Definition) -> dict[str, Value]:
    """Return the value that each searched setting has in the recipe."""
    return {key: _value(definition.base(), key) for key in definition.space.parameters}


def _value(recipe: Recipe, key: str) -> Value:
    found: object = recipe
    for name in key.split("."):
        found = getattr(found, name)
    assert isinstance(found, bool | int | float | str)
    return found


def data_digest(data: Dataset) -> str:
    """Return the SHA-256 of the sequences that trials are trained and validated on."""
    names = [name for name in ("train", "validation", "all") if name in data.splits]
    return sha256(" ".join(f"{name} {data.splits[name].fingerprint()}" for name in names).encode())


def check_digest(definition: Definition, data: Dataset) -> None:
    """Raise DataError if the data are not those of the study."""
    if data_digest(data) != definition.digest:
        raise DataError(
            f"{data.title}: expected the sequences of the study, which was begun with {definition.data}, "
            f"found others in {join_names(list(data.splits))}"
        )
