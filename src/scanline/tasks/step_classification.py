"""Step classification: one class of K for each step of a sequence, learned by cross-entropy.

Steps without a label count neither in the loss nor in the metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scanline.data.labels import same_names
from scanline.data.source import SequenceSource
from scanline.data.step_targets import UNLABELLED, require_steps, with_step_classes
from scanline.errors import DataError
from scanline.metrics.calibration import fit_temperature
from scanline.metrics.steps import StepMetrics, step_metrics
from scanline.tasks.base import ReportTable, Score, Targets
from scanline.tasks.classes import ClassTask

_SHOWN_SEQUENCES = 10


@dataclass(frozen=True)
class StepClassification(ClassTask):
    """Each step belongs to one of K classes, or has no label.

    Attributes:
        classes: The K class names, in the type of the labels; output k is the logit of class k.
    """

    name: ClassVar[str] = "step-classification"
    targets: ClassVar[Targets] = "step-classes"
    per_step: ClassVar[bool] = True

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take the classes of the training split. Raises DataError if there is one only."""
        require_steps(source, name, cls.name)
        if len(source.classes) < 2:
            only = f" ({source.classes[0]})" if source.classes else ""
            raise DataError(f"{name}: expected at least 2 classes, got {len(source.classes)}{only}")
        return cls(source.classes)

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.int64]:
        """Return the class index of each step, (S,), -1 for none. Raises DataError naming unknown classes."""
        targets = self.align(source, owner).step_targets
        assert targets is not None
        return targets

    def align(self, source: SequenceSource, owner: str) -> SequenceSource:
        """Return `source` with indices into these classes as step targets."""
        own = require_steps(source, source.name, self.name)
        if same_names(own.classes, self.classes):
            return own
        return with_step_classes(own, self.classes, owner)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy of the labelled steps in nats, 0 if there are none.

        Args:
            outputs: (..., K).
            targets: (...) class indices, -1 for none.
            weights: (...) weight of each step in the mean; None if all weigh 1.
        """
        flat = targets.flatten()
        losses = functional.cross_entropy(
            outputs.flatten(0, -2), flat, ignore_index=UNLABELLED, reduction="none"
        )
        if weights is not None:
            losses = losses * weights.flatten()
        # Divided by the number of labelled steps, not by the sum of their weights: weights scale the gradient
        # of each step independently of the rest of the batch.
        return losses.sum() / (flat >= 0).sum().clamp(min=1)

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return mean cross-entropy and accuracy of the labelled steps, in the precision of `outputs`."""
        labelled = targets >= 0
        total = int(labelled.sum())
        correct = int((outputs.argmax(-1) == targets)[labelled].sum())
        return Score(
            loss=self.loss(outputs, targets).item(),
            value=torch.tensor(correct / max(1, total), dtype=outputs.dtype, device="cpu").item(),
            total=total,
            correct=correct,
        )

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> StepMetrics:
        """Return the metrics of steps and segments, see `StepMetrics`."""
        targets = self.encode(source)
        if not (targets >= 0).any():
            raise DataError(f"{source.name}: expected steps with labels, found none")
        return step_metrics(outputs, targets, self.classes, source.lengths, source.identifier)

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return metrics of each class and of segments, and the sequences with the most wrong steps."""
        metrics = self.metrics(outputs, source)
        return class_table(metrics), segment_table(metrics), mistake_table(metrics)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the softmax of `outputs` (..., K) in float64, with the bits that a stream has."""
        return self.quick_probabilities(outputs)

    def describe(self) -> str:
        """Return as "a class for each step, 4 classes: 1, 2, 3, 4"."""
        return f"a class for each step, {super().describe()}"

    def fit_temperature(self, outputs: NDArray[Any], targets: NDArray[np.int64]) -> float | None:
        """Return the temperature that minimises the mean cross-entropy of the labelled steps."""
        labelled = targets >= 0
        return fit_temperature(outputs[labelled], targets[labelled]) if labelled.any() else None


def class_table(metrics: StepMetrics) -> ReportTable:
    """Return the metrics of each class as a table."""
    heads = ("class", "steps", "correct", "recall (95 %)", "precision (95 %)", "F1 (95 %)")
    rows = tuple(
        (
            str(each.name),
            f"{each.n:,}",
            f"{each.correct:,}",
            _estimate(each.recall, each.recall_ci95),
            _estimate(each.precision, each.precision_ci95),
            _estimate(each.f1, each.f1_ci95),
        )
        for each in metrics.classes
    )
    return ReportTable("Classes of the labelled steps", heads, rows)


def segment_table(metrics: StepMetrics) -> ReportTable:
    """Return the metrics of segments as a table."""
    each = metrics.segments
    rows = (
        ("true segments", f"{each.n:,}"),
        ("predicted segments", f"{each.predicted:,}"),
        (f"correct at an overlap of {each.overlap:g}", f"{each.correct:,}"),
        ("F1 (95 %)", _estimate(each.f1, each.f1_ci95)),
        ("edit score (95 %)", _estimate(each.edit, each.edit_ci95)),
    )
    return ReportTable("Segments", ("metric", "value"), rows)


def mistake_table(metrics: StepMetrics) -> ReportTable:
    """Return the sequences with the most wrong steps as a table."""
    rows = tuple(
        (str(each.sequence), f"{each.n:,}", f"{each.n - each.correct:,}")
        for each in metrics.mistakes[:_SHOWN_SEQUENCES]
    )
    return ReportTable("Sequences with the most wrong steps", ("sequence", "labelled steps", "wrong"), rows)


def _estimate(value: float | None, ends: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + ("" if ends is None else f" ({ends[0]:.4f} to {ends[1]:.4f})")
