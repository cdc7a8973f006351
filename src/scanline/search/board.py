"""The trials of a study as one process sees and changes them while it holds the study's lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from scanline.search import decisions
from scanline.search.decisions import Job
from scanline.search.definition import Definition
from scanline.search.records import FINAL, RungScore, State, TrialRecord
from scanline.search.sampling import Sampler
from scanline.search.storage import StoredTrial, StudyStorage


@dataclass(frozen=True)
class Outcome:
    """What the training of a trial has come to.

    Attributes:
        trial: The trial.
        score: Its validation at the next rung; None if it has not come so far.
        failure: "invalid" or "diverged"; None if it has not failed.
        message: Why it has failed.
    """

    trial: StoredTrial
    score: RungScore | None = None
    failure: State | None = None
    message: str = ""

    def store(self, storage: StudyStorage) -> None:
        """Store the outcome, and let the trial wait for what is decided about it."""
        if self.score is not None:
            storage.record(self.trial, self.score)
        if self.failure is None:
            storage.release(self.trial)
        else:
            storage.fail(self.trial, self.failure, self.message)
            storage.finish(self.trial, self.failure)


class Board:
    """All trials, read once and kept up with the changes that are stored.

    Attributes:
        trials: The trials, in the order of their numbers.
    """

    def __init__(self, storage: StudyStorage, definition: Definition) -> None:
        self._storage, self._definition = storage, definition
        self.trials = storage.trials()

    @property
    def records(self) -> list[TrialRecord]:
        """The records of all trials."""
        return [each.record for each in self.trials]

    def free(self, is_gone: Callable[[str], bool]) -> None:
        """Let trials wait again whose workers are gone."""
        for trial in self.trials:
            if trial.record.state == "running" and is_gone(trial.worker):
                self._storage.release(trial)
                self._change(trial, "waiting")

    def complete_generation(self, sampler: Sampler, limit: int | None) -> None:
        """Ask for the rest of a generation whose asking was interrupted, before anything is decided in it.

        Args:
            sampler: Draws new trials.
            limit: Largest number of trials; None: no limit.
        """
        if not self._definition.ordered or len(self.trials) % self._definition.generation == 0:
            return
        wanted = decisions.next_generation(self.records, self._definition, limit)
        if wanted is not None:
            self._ask(sampler, *wanted)

    def settle(self) -> None:
        """Store the end of all trials that have come to it: one may decide about others."""
        changed = True
        while changed:
            changed = False
            for trial in self.trials:
                record = trial.record
                if not trial.is_open:
                    continue
                if record.state in FINAL:  # its failure is stored, and its end is not
                    self._finish(trial, record.state)
                elif record.state == "waiting" and record.scores:
                    found = decisions.verdict(record, self.records, self._definition)
                    if found in ("complete", "stop"):
                        self._finish(trial, "complete" if found == "complete" else "stopped")
                        changed = True

    def next_job(self, sampler: Sampler, limit: int | None) -> Job | None:
        """Return what to train next, after asking for new trials if nothing else can be trained.

        Args:
            sampler: Draws new trials.
            limit: Largest number of trials; None: no limit.
        """
        found = decisions.jobs(self.records, self._definition)
        if not found:
            wanted = decisions.next_generation(self.records, self._definition, limit)
            if wanted is not None:
                self._ask(sampler, *wanted)
                found = decisions.jobs(self.records, self._definition)
        return found[0] if found else None

    def is_complete(self, limit: int | None) -> bool:
        """Return whether all trials that may be asked for are final."""
        return limit is not None and len(self.trials) >= limit and not any(e.is_open for e in self.trials)

    def _ask(self, sampler: Sampler, generation: int, count: int) -> None:
        known = decisions.known(self.records, self._definition, generation)
        assert known is not None
        for number in range(len(self.trials), len(self.trials) + count):
            settings = sampler.draw(number, known)
            self.trials.append(self._storage.add(self._definition, number, generation, settings))

    def _finish(self, trial: StoredTrial, state: State) -> None:
        self._storage.finish(trial, state)
        self._change(trial, state)

    def _change(self, trial: StoredTrial, state: State) -> None:
        record = replace(trial.record, state=state)
        self.trials[record.number] = replace(trial, record=record, is_open=state not in FINAL)
