"""The interface of a task: what a network is trained to predict.

A task knows what the targets mean, how many outputs the network needs, which loss is minimised, how outputs
become predictions and how predictions are measured. It knows nothing of cells, kernels or file formats.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import ClassName, SequenceSource
from scanline.errors import UsageError
from scanline.metrics.results import Metrics

JsonObject = dict[str, Any]
Targets = Literal["classes", "numbers", "step-classes", "step-numbers", "label-sets"]


@dataclass(frozen=True)
class Score:
    """How well outputs fit their targets: for log lines, validation and the choice of the best weights.

    Attributes:
        loss: Mean loss.
        value: The score that decides which weights are best: a finite number, at most 1, higher is better.
        total: Number of targets: sequences, or labelled steps.
        correct: Number of correct predictions; None for tasks in which a prediction is not right or wrong.
        name: What `value` is called in log lines and JSON files.
        short_name: The same, abbreviated, for log lines; or the name of `shown`.
        shown: What log lines show in place of `value`: an error in the unit of the targets; None shows
            `value`.
        unit: What `total` counts, for log lines.
    """

    loss: float
    value: float
    total: int
    correct: int | None = None
    name: str = "accuracy"
    short_name: str = "acc"
    shown: float | None = None
    unit: str = "sequences"

    def batch_text(self) -> str:
        """Return the text of a log line about a batch, as "loss: 1.751291 / acc: 0.42969"."""
        shown = f"{self.value:.5f}" if self.shown is None else f"{self.shown:.6g}"
        return f"loss: {self.loss:.6f} / {self.short_name}: {shown}"

    def to_json(self) -> JsonObject:
        """Return loss and value, by their names; another name than "accuracy" is a key "score" of its own."""
        named: JsonObject = {} if self.name == "accuracy" else {"score": self.name}
        if self.shown is not None:
            named[self.short_name] = self.shown
        return {"loss": self.loss, self.name: self.value, **named}

    def split_text(self) -> str:
        """Return the text of a log line about a split, as "0.96340 (4817 of 5000)"."""
        if self.shown is not None:
            of = f"{self.total} {self.unit}, {self.name} {self.value:.5f}"
            return f"{self.shown:.6g} ({self.short_name}, {of})"
        if self.correct is None:
            return f"{self.value:.5f} ({self.short_name}, {self.total} {self.unit})"
        return f"{self.value:.5f} ({self.correct} of {self.total})"


@dataclass(frozen=True)
class DecodedPrediction:
    """The prediction for one sequence, or for the steps of it read so far.

    Attributes:
        label: The predicted class, or number; of several classes or numbers text of them, separated by
            semicolons.
        probability: Probability of the predicted class; None if the task has none.
        probabilities: Probability of every class, by name; None if the task has none.
        low: Lower end of the prediction interval of a number; None if there is none.
        high: Its upper end.
        labels: The predicted classes, if there may be several or none; None for other tasks.
        numbers: Of several numbers the "value" of each, and "low" and "high" of its interval, by its name;
            None for other tasks.
    """

    label: ClassName | float
    probability: float | None = None
    probabilities: Mapping[str, float] | None = None
    low: float | None = None
    high: float | None = None
    labels: tuple[str, ...] | None = None
    numbers: Mapping[str, Mapping[str, float]] | None = None

    def to_json(self) -> JsonObject:
        """Return the prediction as a JSON object, without what is None."""
        found: JsonObject = {"label": self.label}
        if self.labels is not None:
            found["labels"] = list(self.labels)
        if self.numbers is not None:
            found["numbers"] = {name: dict(each) for name, each in self.numbers.items()}
        if self.probability is not None:
            found["probability"] = self.probability
        if self.probabilities is not None:
            found["probabilities"] = dict(self.probabilities)
        if self.low is not None and self.high is not None:
            found |= {"low": self.low, "high": self.high}
        return found


@dataclass(frozen=True)
class ReportTable:
    """A table that a task adds to the report of a run.

    Attributes:
        caption: Its title.
        heads: Heads of the C columns.
        rows: Rows of C cells, as text; the first cell is the head of its row.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def require_sequences(task: Task, what: str) -> None:
    """Check that a task has one prediction for each sequence.

    Args:
        task: A task.
        what: What needs that, for the message: "scoring".

    Raises:
        UsageError: If it has a prediction for each step; names it.
    """
    if task.per_step:
        raise UsageError(
            f"{what} supports tasks with one prediction for each sequence, got {task.name}, which has one "
            "for each step"
        )


class Task(ABC):
    """What a network is trained to predict, with everything learned about the targets.

    Outputs are what the network's head computes, (N, M) with M = `output_size`; they are float32, or float64
    where more precision is needed. M probabilities (N, M), or whatever else `probabilities` returns, are what
    is shown after each step of a stream or a trace.

    Attributes:
        name: Name in recipes and in the entry point.
        targets: What labels are: "classes", "numbers", "step-classes", "step-numbers" or "label-sets".
            Numbers keep their fractions, splits of numbers and sets are drawn at random, and
            `SequenceSource.classes` has the distinct numbers, or sets; see `data.targets`. Targets of steps
            are in `SequenceSource.step_targets`.
        per_step: Whether there is a target at each step. Outputs and targets then have a row for each step:
            (S, M) and (S,), those of all sequences one after another; `loss` gets (N, T, M) and (N, T),
            padded with targets that stand for no label: -1, or NaN if encoded targets are floats.
    """

    name: ClassVar[str]
    targets: ClassVar[Targets] = "classes"
    per_step: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def fit(cls, source: SequenceSource, name: str) -> Task:
        """Learn from the training split what the targets can be.

        Args:
            source: The training split.
            name: Name of the dataset, for messages.

        Raises:
            DataError: If these targets cannot be learned; names the dataset.
        """

    @property
    @abstractmethod
    def output_size(self) -> int:
        """M, the number of outputs of the network."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[ClassName, ...]:
        """What the M columns of `probabilities` are called."""

    @abstractmethod
    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[Any]:
        """Return the targets of `source` as `loss`, `score` and `metrics` take them.

        Args:
            source: Sequences with targets.
            owner: What has this task, for messages.

        Returns:
            (N,) encoded targets, of any dtype that torch has.

        Raises:
            DataError: If a target is unknown; names it.
        """

    def align(self, source: SequenceSource, owner: str) -> SequenceSource:
        """Return `source` with its targets in the task's own terms.

        Args:
            source: Sequences with targets.
            owner: What has this task, for messages.

        Raises:
            DataError: If a target is unknown; names it.
        """
        self.encode(source, owner)
        return source

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss of a batch, differentiable by `outputs`.

        Args:
            outputs: (N, M).
            targets: (N,) encoded targets.
            weights: (N,) weight of each sequence in the mean; None if all weigh 1.
        """

    def loss_gradient(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Return `share` times the loss of a batch, and its gradient by `outputs`, with the bits of autograd.

        Args:
            outputs: (N, M), without a graph.
            targets: (N,) encoded targets.
            weights: (N,) weight of each sequence in the mean; None if all weigh 1.
            share: Factor of the loss.

        Returns:
            One number, and (N, M).
        """
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            loss = self.loss(leaf, targets, weights)
            if share != 1.0:
                loss = loss * share
            (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return loss and score of outputs (N, M) for encoded targets (N,), in the precision of `outputs`."""

    @abstractmethod
    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> Metrics:
        """Return all metrics of outputs (N, M) for the N sequences of `source`, which has targets."""

    @abstractmethod
    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return (..., M) of what the outputs (..., M) mean: for a classification the class probabilities."""

    def quick_probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the same as `probabilities` for the few rows of a stream, with little overhead.

        The last bits may differ from those of `probabilities`.
        """
        return self.probabilities(outputs)

    def votes(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return (..., M) of what is averaged over the windows of a recording: the outputs, (..., M)."""
        return outputs.astype(np.float64)

    def outputs_of_votes(self, votes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs (..., M) that stand for mean votes (..., M): the inverse of `votes`."""
        return votes

    @abstractmethod
    def predict(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the predictions (N,), class names or numbers, for outputs (N, M)."""

    def labels(self, outputs: NDArray[Any]) -> list[ClassName | float]:
        """Return the predictions of `predict` as a list of Python values."""
        labels: list[ClassName | float] = self.predict(outputs).tolist()
        return labels

    @abstractmethod
    def decode(self, probabilities: NDArray[np.float64]) -> DecodedPrediction:
        """Return the prediction for one row (M,) of what `probabilities` returns."""

    def json_rows(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Return the prediction for each row of `probabilities` (N, M) as JSON text."""
        return [json.dumps(self.decode(row).to_json(), ensure_ascii=False) for row in probabilities]

    def correct(self, probabilities: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether each prediction is right.

        Args:
            probabilities: (N, M), or (N, T, M) after each of T steps.
            targets: (N,) encoded targets.

        Returns:
            (N,), or (N, T).

        Raises:
            UsageError: If the task has no right and wrong predictions.
        """
        raise UsageError(f"the task {self.name} has no accuracy: its predictions are not right or wrong")

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions are right or wrong, so that `correct` is defined."""
        return type(self).correct is not Task.correct

    @classmethod
    def predicts_numbers(cls) -> bool:
        """Return whether predictions are numbers, of sequences or of steps."""
        return cls.targets in ("numbers", "step-numbers")

    @property
    def has_interval(self) -> bool:
        """Whether predictions have an interval, `low` and `high`."""
        return False

    @abstractmethod
    def explained_output(self, probabilities: NDArray[np.float64]) -> int:
        """Return the index of the output, 0 to M - 1, that an attribution of the prediction explains."""

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return tables that a report shows below the metrics; none by default.

        Args:
            outputs: (N, M).
            source: The N evaluated sequences, with targets.
        """
        return ()

    @abstractmethod
    def describe(self) -> str:
        """Return the task in a few words, as "10 classes: 0, 1, 2, ...", for `print(model)`."""

    @abstractmethod
    def to_json(self) -> JsonObject:
        """Return the state that `from_json` needs, as a JSON object."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: JsonObject) -> Task:
        """Return the task that `to_json` described.

        Raises:
            ValueError: If the state is not valid; says why.
        """

    def fit_temperature(self, outputs: NDArray[Any], targets: NDArray[Any]) -> float | None:
        """Return the number by which to divide outputs so that their probabilities are calibrated.

        Args:
            outputs: (N, M) for the validation split.
            targets: (N,) encoded targets.

        Returns:
            A number above 0; None if the task has no such calibration.
        """
        return None

    def calibration_errors(
        self, outputs: NDArray[Any], targets: NDArray[Any], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        """Return what `calibrated` needs of sequences that were not used in training, such as errors.

        Args:
            outputs: (N, M).
            targets: (N,) encoded targets.
            lengths: (N,) number of steps of each sequence.

        Returns:
            A row for each sequence, in units that do not depend on the scale of the outputs: those of several
            networks can be joined. None if the task is not calibrated in this way.
        """
        return None

    def calibrated(self, errors: NDArray[np.float64]) -> Self:
        """Return the task with what it learns from `calibration_errors`: intervals, or thresholds."""
        return self

    def calibration_note(self, count: int) -> str | None:
        """Return what predictions will lack with `count` validation sequences; None if nothing."""
        return None
