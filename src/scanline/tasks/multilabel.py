"""Multilabel: several classes at once for each sequence, or none, learned by binary cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scanline.data.label_sets import set_names, set_text
from scanline.data.source import ClassName, SequenceSource
from scanline.errors import DataError, join_names
from scanline.formats.text import joined_beside
from scanline.metrics.multilabel import MultilabelMetrics, best_thresholds, multilabel_metrics
from scanline.tasks.base import DecodedPrediction, JsonObject, ReportTable, Score, Targets, Task
from scanline.tasks.classes import ClassTask

_SHOWN_ERRORS = 10


@dataclass(frozen=True)
class Multilabel(Task):
    """Each sequence has any of K classes. Output k is the logit of class k.

    Encoded targets are (N, K), 1 for the classes of a sequence.

    Attributes:
        classes: The K class names.
        entropy: Loss, in nats, of predicting how often each class occurs in training; above 0.
        thresholds: K probabilities from which a class is predicted; None: 0.5 for all.
    """

    classes: tuple[str, ...]
    entropy: float
    thresholds: tuple[float, ...] | None = None
    name: ClassVar[str] = "multilabel"
    targets: ClassVar[Targets] = "label-sets"

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take the classes of the training split.

        Raises:
            DataError: If there are none, each sequence has exactly one, or all have the same.
        """
        settings = source.info.settings
        columns = settings.label_columns if settings is not None else ()
        names = columns or tuple(sorted({name for target in source.classes for name in set_names(target)}))
        if not names:
            raise DataError(f"{name}: expected labels that name classes, found none")
        if not columns and all(len(set_names(target)) == 1 for target in source.classes):
            raise DataError(
                f"{name}: expected sequences with several classes, or none, found one for each: use --task "
                "classification, or give the mark between the classes of a label with --label-separator"
            )
        rates = _encode(source, names, name).mean(0, dtype=np.float64)
        inside = rates[(rates > 0) & (rates < 1)]
        entropy = -float((inside * np.log(inside) + (1 - inside) * np.log(1 - inside)).sum()) / len(names)
        if entropy <= 0:
            raise DataError(f"{name}: expected sequences with different classes, found the same for all")
        return cls(tuple(names), entropy)

    @property
    def output_size(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def output_names(self) -> tuple[ClassName, ...]:
        """The class names."""
        return self.classes

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.float32]:
        """Return which classes the sequences have, (N, K). Raises DataError naming unknown classes."""
        return _encode(source, self.classes, owner)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean binary cross-entropy of a class in nats."""
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
        return (losses if weights is None else losses * weights).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return loss, skill, and micro F1 at probabilities of 0.5, in the precision of `outputs`.

        The skill is 1 - loss / (loss of predicting how often each class occurs in training): a proper score,
        which needs no thresholds. They are chosen later.
        """
        loss = self.loss(outputs, targets.to(outputs.dtype)).item()
        predicted = outputs > 0
        total = float(predicted.sum() + targets.sum())
        f1 = 2 * float((predicted * targets).sum()) / total if total else 1.0
        return Score(loss, 1 - loss / self.entropy, len(targets), None, "skill", "micro_f1", f1)

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> MultilabelMetrics:
        """Return accuracies, F1 and average precisions, see `MultilabelMetrics`."""
        targets, wide = self.encode(source), outputs.astype(np.float64)
        # log(1 + e^x) - x y, without overflow.
        losses = np.logaddexp(0.0, wide) - wide * targets
        return multilabel_metrics(
            self.probabilities(outputs),
            targets > 0,
            np.array(self.limits),
            self.classes,
            float(losses.mean()),
            source.identifier,
        )

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logistic function of `outputs` (..., K) in float64."""
        from scipy.special import expit

        probabilities: NDArray[np.float64] = expit(outputs.astype(np.float64))
        return probabilities

    def votes(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities, (..., K)."""
        return self.probabilities(outputs)

    def outputs_of_votes(self, votes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logits of mean probabilities, (..., K)."""
        # A probability that is too close to 0 or 1 for float64 has a finite logit all the same.
        tiny = np.finfo(np.float64).tiny
        logits: NDArray[np.float64] = np.log(np.maximum(votes, tiny)) - np.log(np.maximum(1 - votes, tiny))
        return logits

    def predict(self, outputs: NDArray[Any]) -> NDArray[np.int64]:
        """Return which classes are predicted, (N, K) of 0 and 1."""
        return (self.probabilities(outputs) >= self.limits).astype(np.int64)

    def labels(self, outputs: NDArray[Any]) -> list[ClassName | float]:
        """Return the names of the predicted classes, separated by semicolons."""
        return [set_text(self._chosen(row)) for row in self.probabilities(outputs)]

    def decode(self, probabilities: NDArray[np.float64]) -> DecodedPrediction:
        """Return the predicted classes and the probabilities (K,) by class name."""
        chosen = self._chosen(probabilities)
        named = dict(zip(self.classes, probabilities.tolist(), strict=True))
        return DecodedPrediction(set_text(chosen), None, named, labels=chosen)

    def _chosen(self, probabilities: NDArray[np.float64]) -> tuple[str, ...]:
        return tuple(self.classes[k] for k in np.flatnonzero(probabilities >= self.limits))

    @property
    def limits(self) -> tuple[float, ...]:
        """K probabilities from which a class is predicted."""
        return self.thresholds or (0.5,) * len(self.classes)

    def calibration_errors(
        self, outputs: NDArray[Any], targets: NDArray[np.float32], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the probability of each class and whether the sequence has it, (N, 2 K)."""
        return np.concatenate([self.probabilities(outputs), targets.astype(np.float64)], 1)

    def calibrated(self, errors: NDArray[np.float64]) -> Self:
        """Return the task with the thresholds of the highest F1; see `best_thresholds`."""
        K = len(self.classes)
        thresholds = best_thresholds(errors[:, :K], errors[:, K:] > 0)
        return replace(self, thresholds=tuple(thresholds.tolist()))

    def calibration_note(self, count: int) -> str | None:
        """Return that all thresholds will be 0.5 if there are no validation sequences."""
        if count:
            return None
        return (
            "classes will be predicted from a probability of 0.5: set split.validation above 0 to choose it"
        )

    def explained_output(self, probabilities: NDArray[np.float64]) -> int:
        """Return the index of the most probable class."""
        return int(probabilities.argmax())

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return the metrics of each class, and the sequences with the most wrong classes."""
        metrics = self.metrics(outputs, source)
        wrong = tuple(
            (str(each.sequence), "; ".join(each.true) or "-", "; ".join(each.predicted) or "-")
            for each in metrics.errors[:_SHOWN_ERRORS]
        )
        return (
            class_table(metrics),
            ReportTable("Most wrong classes", ("sequence", "true", "predicted"), wrong),
        )

    def describe(self) -> str:
        """Return as "any of 3 classes: a, b, c"."""
        return f"any of {len(self.classes):,} classes: {join_names(self.classes)}"

    def to_json(self) -> JsonObject:
        """Return the class names, the entropy and the thresholds."""
        thresholds = None if self.thresholds is None else list(self.thresholds)
        return {"classes": list(self.classes), "entropy": self.entropy, "thresholds": thresholds}

    @classmethod
    def from_json(cls, state: JsonObject) -> Self:
        """Return the task of `state`. Raises ValueError if something is absent or out of range."""
        names = state.get("classes")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError("expected classes, a list of text")
        if len(names) > 1:
            ClassTask.check_names(names)
        entropy, thresholds = state.get("entropy"), state.get("thresholds")
        if not _is_number(entropy) or entropy <= 0:
            raise ValueError("expected entropy, a number above 0")
        if thresholds is None:
            return cls(tuple(names), float(entropy))
        if not isinstance(thresholds, list) or len(thresholds) != len(names):
            raise ValueError("expected thresholds, a number for each class")
        if not all(_is_number(each) and 0 <= each <= 1 for each in thresholds):
            raise ValueError("expected thresholds from 0 to 1")
        return cls(tuple(names), float(entropy), tuple(map(float, thresholds)))


def metric_table(metrics: MultilabelMetrics) -> ReportTable:
    """Return the metrics of all classes together as a table."""
    rows = [
        ("micro F1", metrics.micro_f1, metrics.micro_f1_ci95),
        ("macro F1", metrics.macro_f1, metrics.macro_f1_ci95),
        ("mean F1 of the sequences", metrics.samples_f1, metrics.samples_f1_ci95),
        ("subset accuracy", metrics.subset_accuracy, metrics.subset_accuracy_ci95),
        ("Hamming loss", metrics.hamming_loss, metrics.hamming_loss_ci95),
        ("mean average precision", metrics.mean_average_precision, None),
        ("mean cross-entropy", metrics.loss, None),
    ]
    heads = ("metric", "value", "95 % interval")
    return ReportTable(
        "Metrics", heads, tuple((name, _text(value), _ends(ends)) for name, value, ends in rows)
    )


def class_table(metrics: MultilabelMetrics) -> ReportTable:
    """Return the metrics of each class as a table."""
    heads = ("class", "n", "predicted", "precision", "recall", "F1", "average precision", "threshold")
    rows = tuple(
        (
            each.name,
            f"{each.n:,}",
            f"{each.predicted:,}",
            *map(_text, (each.precision, each.recall, each.f1, each.average_precision, each.threshold)),
        )
        for each in metrics.classes
    )
    return ReportTable("Classes", heads, rows)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ends(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _is_number(value: Any) -> TypeGuard[int | float]:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _encode(source: SequenceSource, classes: tuple[str, ...], owner: str) -> NDArray[np.float32]:
    """Return which of the classes the sequences have, (N, K). Raises DataError naming unknown classes."""
    index = {name: k for k, name in enumerate(classes)}
    known = {name for target in source.classes for name in set_names(target)}
    unknown = sorted(known - index.keys())
    if unknown:
        join = joined_beside(unknown, classes)
        raise DataError(
            f"{source.name}: expected classes of {owner}, any of {join(classes)}; got {join(unknown)}"
        )
    rows = np.zeros((len(source.classes), len(classes)), np.float32)
    for row, target in zip(rows, source.classes, strict=True):
        row[[index[name] for name in set_names(target)]] = 1
    return rows[source.targets]
