"""Classification: one class of K for each sequence, learned by cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scanline.data.labels import match_names, same_names
from scanline.data.source import SequenceSource
from scanline.errors import DataError, UsageError
from scanline.formats.text import joined_beside
from scanline.metrics.calibration import fit_temperature
from scanline.metrics.classification import ClassificationMetrics, classification_metrics
from scanline.tasks.base import Score, Task
from scanline.tasks.classes import ClassTask

aten = torch.ops.aten
# Reductions of `nll_loss`, and a class index that no target has.
_NONE, _MEAN, _NOT_IGNORED = 0, 1, -100


@dataclass(frozen=True)
class Classification(ClassTask):
    """Each sequence belongs to one of K classes.

    Attributes:
        classes: The K class names, in the type of the labels; output k is the logit of class k.
    """

    name: ClassVar[str] = "classification"

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take the classes of the training split. Raises DataError if there is one only."""
        if len(source.classes) < 2:
            only = f" ({source.classes[0]})" if source.classes else ""
            raise DataError(f"{name}: expected at least 2 classes, got {len(source.classes)}{only}")
        return cls(source.classes)

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.int64]:
        """Return the index of each sequence's class, (N,). Raises DataError naming unknown classes."""
        if same_names(source.classes, self.classes):
            return source.targets
        # A file may store the class 3 as an integer, as 3.0 or as text.
        indices = match_names(source.classes, self.classes)
        unknown = [name for name, index in zip(source.classes, indices, strict=True) if index < 0]
        if unknown:
            join = joined_beside(unknown, self.classes)
            raise DataError(
                f"{source.name}: expected classes of {owner}, one of "
                f"{join(self.classes)}; got {join(unknown)}"
            )
        return np.array(indices, np.int64)[source.targets]

    def align(self, source: SequenceSource, owner: str) -> SequenceSource:
        """Return `source` with indices into these classes as labels."""
        return source.with_targets(self.encode(source, owner), self.classes)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy in nats."""
        if weights is None:
            return functional.cross_entropy(outputs, targets)
        # Divided by N, not by the sum of the weights as torch's `weight` argument does: weights scale the
        # gradient of each sequence independently of the rest of the batch.
        return (functional.cross_entropy(outputs, targets, reduction="none") * weights).mean()

    def loss_gradient(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy and its gradient, by the operations that autograd would call."""
        logarithms = torch.log_softmax(outputs, 1)
        by_loss = outputs.new_full((), share)
        reduction = _MEAN if weights is None else _NONE
        loss, total = aten.nll_loss_forward.default(logarithms, targets, None, reduction, _NOT_IGNORED)
        if weights is not None:
            loss = (loss * weights).mean()
            by_loss = by_loss / len(weights) * weights
        by_logarithms = aten.nll_loss_backward.default(
            by_loss, logarithms, targets, None, reduction, _NOT_IGNORED, total
        )
        gradient = aten._log_softmax_backward_data.default(by_logarithms, logarithms, 1, outputs.dtype)
        return loss if share == 1.0 else loss * share, gradient

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return mean cross-entropy and accuracy, in the precision of `outputs`."""
        correct = outputs.argmax(1) == targets
        return Score(
            loss=self.loss(outputs, targets).item(),
            value=correct.to(outputs.dtype).mean().item(),
            total=len(targets),
            correct=int(correct.sum()),
        )

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> ClassificationMetrics:
        """Return accuracy, calibration, confusion matrix and the rest, see `ClassificationMetrics`."""
        targets = self.encode(source)
        return classification_metrics(outputs, targets, self.classes, source.lengths, source.identifier)

    def correct(self, probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the most probable class is the true one, (N,) or (N, T)."""
        predicted = probabilities.argmax(-1)
        # Targets (N,) become (N, 1) for predictions (N, T) and are broadcast over the steps.
        hits: NDArray[np.bool_] = predicted == targets.reshape(-1, *[1] * (predicted.ndim - 1))
        return hits

    def fit_temperature(self, outputs: NDArray[Any], targets: NDArray[np.int64]) -> float | None:
        """Return the temperature that minimises the mean cross-entropy of these sequences."""
        return fit_temperature(outputs, targets)


def require(task: Task, what: str) -> Classification:
    """Return `task` if it is a classification.

    Args:
        task: A task.
        what: What needs a classification, for the message: "an ONNX export".

    Raises:
        UsageError: If it is another task; names it.
    """
    if not isinstance(task, Classification):
        raise UsageError(f"{what} supports the task {Classification.name} only, got {task.name}")
    return task
