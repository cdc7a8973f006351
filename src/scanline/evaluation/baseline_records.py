"""What baselines have achieved: the content of the file `baselines.json` of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from scanline.metrics.intervals import wilson_interval
from scanline.metrics.results import Interval
from scanline.storage.json_files import read_sealed_json, write_sealed_json
from scanline.training.records import Count, Finite, Fraction, Record, parse


class BaselineScore(Record):
    """How a baseline does on some sequences.

    Attributes:
        value: Accuracy, or the mean absolute error if targets are numbers.
        correct: Number of correct predictions; None if targets are numbers.
        total: Number of sequences.
    """

    value: Finite
    correct: Count | None
    total: Count

    @property
    def interval(self) -> Interval | None:
        """95 % confidence interval of the accuracy (Wilson); None if targets are numbers."""
        return None if self.correct is None else wilson_interval(self.correct, self.total)


class WinnerComparison(Record):
    """A baseline and the winner of a search on the same test sequences.

    Attributes:
        both: Sequences that both classify correctly.
        baseline_only: Sequences that only the baseline classifies correctly.
        winner_only: Sequences that only the winner classifies correctly.
        neither: Sequences that neither classifies correctly.
        mcnemar_p: Two-sided p-value of the exact McNemar test.
    """

    both: Count
    baseline_only: Count
    winner_only: Count
    neither: Count
    mcnemar_p: Fraction


class Baseline(Record):
    """A baseline that was measured.

    Attributes:
        name: Its name.
        method: What it does, in words.
        validation: On the sequences that trials were validated on; None if there are none.
        test: On the test split, fitted to all other sequences; None if there is none.
        winner: Comparison with the winner on the test split; None if its predictions are unknown.
        seconds: How long it took.
    """

    name: str
    method: str
    validation: BaselineScore | None
    test: BaselineScore | None
    winner: WinnerComparison | None
    seconds: Finite


class SkippedBaseline(Record):
    """A baseline that was not measured, and why."""

    name: str
    reason: str


class Baselines(Record):
    """Content of `baselines.json`.

    Attributes:
        metric: What the scores are: "accuracy", or "mean absolute error", of which less is better.
        measured: The baselines, the simplest first.
        skipped: Those that were not measured.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    metric: Literal["accuracy", "mean absolute error"]
    measured: list[Baseline]
    skipped: list[SkippedBaseline]

    def write(self, path: Path) -> None:
        """Write the file, sealed by its digest."""
        write_sealed_json(path, {"schema": 1} | self.to_json())

    @classmethod
    def read(cls, path: Path) -> Baselines:
        """Read the file.

        Raises:
            ModelError: If it is missing or damaged; names the file.
        """
        return parse(cls, read_sealed_json(path), path)
