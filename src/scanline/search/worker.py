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
from collections.abc import Callable, Sequence
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.errors import DataError, join_names
from scanline.recipe import Recipe
from scanline.search import decisions
from scanline.search.decisions import Job
from scanline.search.definition import Definition
from scanline.search.locks import WorkerLock, has_ended
from scanline.search.records import FINAL, RungScore, TrialRecord, Value
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
        try:
            while not self._stop():
                claimed, done = self._claim()
                if claimed is not None:
                    self._carry_out(*claimed)
                    idle = _IDLE_S
                elif done:
                    return
                else:
                    time.sleep(idle)
                    idle = min(2 * idle, _LONGEST_IDLE_S)
        finally:
            lock.release()

    def _claim(self) -> tuple[tuple[StoredTrial, Job] | None, bool]:
        """Return the trial to train and how far, or None; and whether nothing is left to do."""
        storage, definition = self._storage, self._definition
        with storage.held():
            self._beat()
            attributes = storage.attributes()
            limit = attributes.get(LIMIT)
            if not attributes.get(OPEN, True):
                return None, True
            trials = self._settled()
            found = decisions.jobs(records(trials), definition)
            if not found:
                wanted = decisions.next_generation(records(trials), definition, limit)
                if wanted is not None:
                    trials = self._ask(trials, *wanted)
                    found = decisions.jobs(records(trials), definition)
            if not found:
                open_trials = any(each.record.state not in FINAL for each in trials)
                return None, not open_trials and limit is not None and len(trials) >= limit
            job = found[0]
            storage.claim(trials[job.number], self.name)
            return (trials[job.number], job), False

    def _ask(self, trials: list[StoredTrial], generation: int, count: int) -> list[StoredTrial]:
        """Add trials of a generation, and return all trials."""
        known = decisions.known(records(trials), self._definition, generation)
        assert known is not None
        for number in range(len(trials), len(trials) + count):
            self._storage.add(self._definition, generation, self._sampler.draw(number, known))
        return self._storage.trials()

    def _settled(self) -> list[StoredTrial]:
        """Store the end of trials that have come to it, free those of workers that are gone; return all."""
        while True:
            trials = self._storage.trials()
            changed = False
            for trial in trials:
                if trial.record.state == "running" and self._is_gone(trial.worker):
                    self._storage.release(trial)
                    changed = True
            if changed:
                continue
            for trial in trials:
                record = trial.record
                if record.state != "waiting" or not record.scores:
                    continue
                found = decisions.verdict(record, records(trials), self._definition)
                if found in ("complete", "stop"):
                    self._storage.finish(trial, "complete" if found == "complete" else "stopped")
                    changed = True
            if not changed:
                return trials

    def _is_gone(self, worker: str) -> bool:
        if worker == self.name:
            return False
        ended = has_ended(self._folder / WORKERS, worker)
        return self._others.is_gone(worker, self._storage.attributes()) if ended is None else ended

    def _must_pause(self) -> bool:
        self._beat()
        return self._stop()

    def _beat(self) -> None:
        """Let workers of other machines see that this one is alive."""
        now = time.monotonic()
        if now - self._beaten > _BEAT_S:
            self._storage.set_attribute(beat_key(self.name), round(time.time(), 3))
            self._beaten = now

    def _carry_out(self, trial: StoredTrial, job: Job) -> None:
        storage = self._storage
        score: RungScore | None = None
        failure: tuple[str, str] | None = None
        try:
            score = self._runner.train(trial.record, job.rung)
        except Invalid as error:
            failure = "invalid", str(error)
        except Diverged as error:
            failure = "diverged", str(error).partition("; the model of")[0]
        except Stopped:
            pass
        except BaseException:
            with storage.held():
                storage.release(trial)
            raise
        with storage.held():
            self._beat()
            if score is not None:
                storage.record(trial, score)
                storage.release(trial)
            elif failure is not None:
                storage.fail(trial, "invalid" if failure[0] == "invalid" else "diverged", failure[1])
                storage.finish(trial, "invalid" if failure[0] == "invalid" else "diverged")
            else:
                storage.release(trial)


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


def records(trials: Sequence[StoredTrial]) -> list[TrialRecord]:
    """Return the records of stored trials."""
    return [each.record for each in trials]


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
