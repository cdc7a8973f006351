"""A study and its trials, as plain data: read by the table, the report and the estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scanline.metrics.intervals import wilson_interval

# What a trial may have come to. "stopped": at a rung, as others were better there; "invalid": its settings
# are refused; "diverged": its loss became infinite.
State = Literal["waiting", "running", "complete", "stopped", "diverged", "invalid"]
FINAL: tuple[State, ...] = ("complete", "stopped", "diverged", "invalid")
Value = bool | int | float | str
LOG = ", log"  # end of the words for a range with a logarithmic scale


@dataclass(frozen=True)
class RungScore:
    """The validation of a trial at a rung, over all folds.

    Attributes:
        rung: Number of the rung, from 0.
        fraction: Part of the training that was done, 0 < fraction <= 1; 1 is the end.
        score: The score that the task names, for a classification the accuracy, 0 to 1.
        loss: Mean loss.
        correct: Number of correct predictions; None if the task has no accuracy.
        total: Number of validated sequences.
    """

    rung: int
    fraction: float
    score: float
    loss: float
    correct: int | None
    total: int

    @property
    def order(self) -> tuple[float, float]:
        """What ranks trials at the same rung: the score, then the lower loss. Larger is better."""
        return self.score, -self.loss

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the accuracy (Wilson); None if the task has no accuracy."""
        return None if self.correct is None else wilson_interval(self.correct, self.total)


@dataclass(frozen=True)
class TrialRecord:
    """A trial.

    Attributes:
        number: Its number, from 0; trial 0 has the settings of the recipe.
        generation: The generation in which it was asked for.
        settings: Value of each searched setting, by dotted key.
        state: What it has come to.
        scores: Its validations, one for each rung that it has reached, in order.
        message: Why it is invalid or diverged; otherwise empty.
    """

    number: int
    generation: int
    settings: dict[str, Value]
    state: State
    scores: tuple[RungScore, ...] = ()
    message: str = ""

    @property
    def last(self) -> RungScore | None:
        """The validation at the last rung that it has reached."""
        return self.scores[-1] if self.scores else None

    @property
    def order(self) -> tuple[int, float, float, int]:
        """What ranks trials: the rung, the score there, the lower loss and number. Larger is better."""
        last = self.last
        return (-1, 0.0, 0.0, -self.number) if last is None else (last.rung, *last.order, -self.number)


@dataclass(frozen=True)
class StudyRecord:
    """A study with its trials.

    Attributes:
        name: Its name.
        data: Title of the data set.
        task: Name of the task.
        metric: Name of the score, such as "accuracy".
        recipe: The recipe that the trials change, as TOML.
        space: For each searched key its choices or range, in words.
        seed: Seed of the sampler.
        validation: How trials are validated, in words.
        n_train: Number of sequences that trials are trained and validated on.
        trials: All trials, in the order of their numbers.
        folds: Number of folds that trials are validated on; 0: one split.
    """

    name: str
    data: str
    task: str
    metric: str
    recipe: str
    space: dict[str, str]
    seed: int
    validation: str
    n_train: int
    trials: tuple[TrialRecord, ...]
    folds: int = 0

    def is_logarithmic(self, key: str) -> bool:
        """Return whether a searched range has a logarithmic scale."""
        return self.space.get(key, "").endswith(LOG)

    @property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The trials with a validation that have not failed, the best first."""
        chosen = (each for each in self.trials if each.scores and each.state not in ("diverged", "invalid"))
        return tuple(sorted(chosen, key=lambda each: each.order, reverse=True))

    @property
    def best(self) -> TrialRecord | None:
        """The best trial; None before the first validation."""
        ranked = self.ranked
        return ranked[0] if ranked else None
