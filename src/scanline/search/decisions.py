"""Which trial continues, which is stopped, what is trained next: functions of the trials alone.

In an ordered study a decision about a trial depends only on trials of its own and earlier generations, all of
which have come as far, so that it does not matter who computes them, or when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scanline.search.definition import Definition
from scanline.search.records import FINAL, TrialRecord

Verdict = Literal["continue", "stop", "complete", "undecided"]
# Generations that are computed while the next one is asked for: workers then have no reason to wait.
LAG = 1


@dataclass(frozen=True)
class Job:
    """Train a trial up to a rung."""

    number: int
    rung: int


def verdict(trial: TrialRecord, trials: Sequence[TrialRecord], definition: Definition) -> Verdict:
    """Return what becomes of a trial that has reached a rung.

    Args:
        trial: A trial with a score that is not final.
        trials: All trials.
        definition: The study.
    """
    last = trial.last
    assert last is not None
    if last.rung == definition.last_rung:
        return "complete"
    rivals = trials
    if definition.ordered:
        rivals = [each for each in trials if each.generation <= trial.generation]
        if any(not _has_come_to(each, last.rung) for each in rivals):
            return "undecided"
    scores = [(each.scores[last.rung].order, -each.number) for each in rivals if len(each.scores) > last.rung]
    better = sum(score > (last.order, -trial.number) for score in scores)
    return "continue" if better < math.ceil(len(scores) / definition.reduction) else "stop"


def _has_come_to(trial: TrialRecord, rung: int) -> bool:
    return trial.state in FINAL or len(trial.scores) > rung


def jobs(trials: Sequence[TrialRecord], definition: Definition) -> list[Job]:
    """Return what can be trained now, the most urgent first: trials that continue, then new ones."""
    continued, new = [], []
    for trial in trials:
        if trial.state != "waiting":
            continue
        if not trial.scores:
            new.append(Job(trial.number, 0))
        elif verdict(trial, trials, definition) == "continue":
            continued.append(Job(trial.number, len(trial.scores)))
    continued.sort(key=lambda job: (-job.rung, job.number))
    return continued + new


def next_generation(
    trials: Sequence[TrialRecord], definition: Definition, limit: int | None
) -> tuple[int, int] | None:
    """Return (generation, number of trials) to ask for now; None if it is not time, or there are enough.

    Args:
        trials: All trials.
        definition: The study.
        limit: Largest number of trials; None: no limit.
    """
    # Asking for a generation may have been interrupted: then it is completed.
    size = definition.generation if definition.ordered else 1
    generation, present = divmod(len(trials), size)
    left = size - present if limit is None else min(size - present, limit - len(trials))
    if left <= 0:
        return None
    not_begun = any(trial.state == "waiting" and not trial.scores for trial in trials)
    if (not present and not_begun) or known(trials, definition, generation) is None:
        return None
    return generation, left


def known(
    trials: Sequence[TrialRecord], definition: Definition, generation: int
) -> Sequence[TrialRecord] | None:
    """Return the trials that the sampler knows when it asks for a generation; None if one is not final.

    Args:
        trials: All trials.
        definition: The study.
        generation: Number of the generation.
    """
    if not definition.ordered:
        return [each for each in trials if each.state in FINAL]
    before = [each for each in trials if each.generation < generation - LAG]
    return None if any(each.state not in FINAL for each in before) else before
