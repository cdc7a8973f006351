"""Step regression: a number for each step of a sequence, with a prediction interval around it.

Steps without a label count neither in the loss nor in the metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import SequenceSource
from scanline.data.step_targets import require_steps, step_numbers
from scanline.errors import DataError
from scanline.metrics.step_numbers import StepNumberMetrics, step_number_metrics
from scanline.seeding import numpy_generator
from scanline.tasks.base import ReportTable, Score, Targets
from scanline.tasks.regression import FARTHEST, SHOWN_ERRORS, Regression


@dataclass(frozen=True)
class StepRegression(Regression):
    """A number for each step, or none.

    Encoded targets are (S,) standardised numbers, NaN for steps without a label.

    Attributes:
        mean: Mean of the training targets, those of all labelled steps.
        scale: Their standard deviation, above 0.
        half_width: Half the width of the prediction intervals; None if there are none.
        level: Fraction of targets that the intervals are made to contain.
    """

    name: ClassVar[str] = "step-regression"
    targets: ClassVar[Targets] = "step-numbers"
    per_step: ClassVar[bool] = True

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take mean and scale of the labelled steps. Raises DataError if all targets are equal."""
        numbers = step_numbers(require_steps(source, name, cls.name))
        return cls.of_targets(numbers[~np.isnan(numbers)], None, name)

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.float32]:
        """Return the standardised targets, (S,), NaN for none. Raises DataError if one is far too large."""
        steps = require_steps(source, source.name, self.name)
        standardised = (step_numbers(steps) - self.mean) / self.scale
        far = np.flatnonzero(np.abs(standardised) > FARTHEST)
        if far.size:
            row = int(far[0])
            sequence = int(np.searchsorted(steps.starts, row, "right")) - 1
            found = step_numbers(steps)[row]
            raise DataError(
                f"{source.name}: expected targets near those of {owner}, {self.mean:g} with a deviation of "
                f"{self.scale:g}; got {found:g} "
                f"({steps.info.locate(sequence, row - int(steps.starts[sequence]))})"
            )
        return standardised.astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the labelled steps in deviations, 0 if there are none.

        Args:
            outputs: (..., 1).
            targets: (...) standardised targets, NaN for none.
            weights: (...) weight of each step in the mean; None if all weigh 1.
        """
        labelled = ~targets.isnan()
        # NaN is replaced before the difference: its gradient would be NaN even where the loss is masked.
        squares = (outputs[..., 0] - targets.nan_to_num(0.0)) ** 2 * labelled
        if weights is not None:
            squares = squares * weights
        return squares.sum() / labelled.sum().clamp(min=1)

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return the mean squared error and the skill of the labelled steps; see `Regression.score`."""
        loss = self.loss(outputs, targets.to(outputs.dtype)).item()
        error = math.sqrt(loss) * self.scale if loss >= 0 else math.nan
        total = int((~targets.isnan()).sum())
        return Score(loss, 1 - loss, total, None, "skill", "rmse", error, "labelled steps")

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> StepNumberMetrics:
        """Return errors, R² and coverage. Raises DataError if no step has a label."""
        true = step_numbers(require_steps(source, source.name, self.name))
        if np.isnan(true).all():
            raise DataError(f"{source.name}: expected steps with labels, found none")
        predicted, interval = self.predict(outputs), (self.half_width, self.level)
        return step_number_metrics(predicted, true, source.lengths, self.scale, source.identifier, *interval)

    def calibration_errors(
        self, outputs: NDArray[Any], targets: NDArray[np.float32], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        """Return the absolute error of one labelled step of each sequence that has any.

        Steps of one sequence depend on each other, sequences do not: with one step of each, drawn at random,
        the intervals contain the target of a random step of a further sequence with the probability `level`.

        Source: Dunn, Wasserman & Ramdas (2022), "Distribution-free prediction sets for two-layer hierarchical
        models", method "subsampling once".
        """
        differences = outputs[:, 0].astype(np.float64) - targets.astype(np.float64)
        draw, errors = numpy_generator(0, "calibration"), []
        for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
            own = differences[end - length : end]
            own = own[~np.isnan(own)]
            if own.size:
                errors.append(abs(float(own[draw.integers(own.size)])) * self.scale)
        return np.array(errors, np.float64)

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return the sequences with the largest errors."""
        errors = self.metrics(outputs, source).errors[:SHOWN_ERRORS]
        heads = ("sequence", "labelled steps", "RMSE", "mean of predicted minus true")
        rows = tuple(
            (str(each.sequence), f"{each.n:,}", f"{each.rmse:.6g}", f"{each.mean_error:+.6g}")
            for each in errors
        )
        return (ReportTable("Sequences with the largest errors", heads, rows),)

    def describe(self) -> str:
        """Return mean and deviation of the training targets, and the interval."""
        return super().describe().replace("a number", "a number for each step", 1)
