"""Regression: a number for each sequence, with a prediction interval around it.

The network learns standardised targets. What users see is in the unit of the labels: predictions, intervals
and metrics. Mean, scale and the half width of the intervals are the state of the task, saved with the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import SequenceSource
from scanline.errors import DataError
from scanline.metrics.regression import (
    RegressionMetrics,
    conformal_half_width,
    conformal_rank,
    regression_metrics,
)
from scanline.tasks.base import DecodedPrediction, JsonObject, ReportTable, Score, Task

LEVEL = 0.9  # of the prediction intervals
# Targets farther from the training targets than this, in their standard deviations, overflow in float32.
_FARTHEST = 1e9
_SHOWN_ERRORS = 10


@dataclass(frozen=True)
class Regression(Task):
    """A number for each sequence.

    Attributes:
        mean: Mean of the training targets.
        scale: Their standard deviation, above 0.
        half_width: Half the width of the prediction intervals; None if there are none.
        level: Fraction of targets that the intervals are made to contain.
    """

    mean: float
    scale: float
    half_width: float | None = None
    level: float = LEVEL
    name: ClassVar[str] = "regression"
    targets: ClassVar[Literal["classes", "numbers"]] = "numbers"
    output_size: ClassVar[int] = 1
    output_names: ClassVar[tuple[str, ...]] = ("number",)

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take mean and scale of the training targets. Raises DataError if all are equal."""
        numbers = _numbers(source)
        if len(source.classes) < 2 or numbers.min() == numbers.max():
            only = f" ({numbers[0]:g})" if source.classes else ""
            raise DataError(f"{name}: expected targets that differ, got {len(numbers):,} equal ones{only}")
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(numbers, weights=source.weights))
            scale = math.sqrt(float(np.average((numbers - mean) ** 2, weights=source.weights)))
        if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
            raise DataError(
                f"{name}: expected targets whose mean and deviation are finite and not 0, "
                f"got {numbers.min():g} to {numbers.max():g}"
            )
        return cls(mean, scale)

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.float32]:
        """Return the standardised targets, (N,). Raises DataError if one is far too large."""
        standardised = (_numbers(source) - self.mean) / self.scale
        far = np.flatnonzero(np.abs(standardised) > _FARTHEST)
        if far.size:
            found = source.classes[source.targets[far[0]]]
            raise DataError(
                f"{source.name}: expected targets near those of {owner}, {self.mean:g} with a deviation of "
                f"{self.scale:g}; got {found} (sequence {source.identifier(int(far[0]))})"
            )
        return standardised.astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean squared error of standardised targets."""
        squares = (outputs[:, 0] - targets) ** 2
        return (squares if weights is None else squares * weights).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return the mean squared error and the skill, in the precision of `outputs`.

        The skill is 1 - (mean squared error) / (variance of the training targets): 1 is perfect, 0 as good as
        always predicting the mean of the training targets. Unlike R², it is the same quantity for a batch, a
        fold and a split.

        Source: Murphy (1988), "Skill scores based on the mean square error".
        """
        loss = self.loss(outputs, targets.to(outputs.dtype)).item()
        error = math.sqrt(loss) * self.scale if loss >= 0 else math.nan
        return Score(loss, 1 - loss, len(targets), None, "skill", "rmse", error)

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> RegressionMetrics:
        """Return errors, R² and coverage, see `RegressionMetrics`."""
        identifiers = [source.identifier(index) for index in range(len(source))]
        return regression_metrics(
            self.predict(outputs), _numbers(source), self.scale, identifiers, self.half_width, self.level
        )

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predicted numbers (..., 1) for outputs (..., 1)."""
        return outputs.astype(np.float64) * self.scale + self.mean

    def predict(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predicted numbers (N,)."""
        numbers: NDArray[np.float64] = self.probabilities(outputs)[..., 0]
        return numbers

    def decode(self, probabilities: NDArray[np.float64]) -> DecodedPrediction:
        """Return the predicted number, and the interval around it if there is one."""
        number = float(probabilities[0])
        if self.half_width is None:
            return DecodedPrediction(number)
        return DecodedPrediction(number, low=number - self.half_width, high=number + self.half_width)

    @property
    def has_interval(self) -> bool:
        """Whether predictions have intervals."""
        return self.half_width is not None

    def calibration_errors(
        self, outputs: NDArray[Any], targets: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """Return the absolute errors (N,) in the unit of the targets."""
        differences = outputs[:, 0].astype(np.float64) - targets.astype(np.float64)
        return np.abs(differences) * self.scale

    def calibrated(self, errors: NDArray[np.float64]) -> Self:
        """Return the task with intervals from absolute errors; see `conformal_half_width`."""
        return replace(self, half_width=conformal_half_width(errors, self.level))

    def calibration_note(self, count: int) -> str | None:
        """Return why predictions will have no intervals, or None if they will."""
        if conformal_rank(count, self.level) <= count:
            return None
        needed = next(n for n in range(1, 10_000) if conformal_rank(n, self.level) <= n)
        have = f"it has {count}" if count else "there is none: set split.validation above 0"
        return (
            f"predictions will have no interval: a validation split of {needed} sequences or more is needed, "
            f"{have}"
        )

    def explained_output(self, probabilities: NDArray[np.float64]) -> int:
        """Return 0, the only output."""
        return 0

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return the largest errors."""
        metrics = self.metrics(outputs, source)
        largest = ReportTable(
            "Largest errors",
            ("sequence", "true", "predicted", "predicted minus true"),
            tuple(
                (str(each.sequence), f"{each.true:.6g}", f"{each.predicted:.6g}", f"{each.error:+.6g}")
                for each in metrics.errors[:_SHOWN_ERRORS]
            ),
        )
        return (largest,)

    def describe(self) -> str:
        """Return mean and deviation of the training targets, and the interval."""
        interval = (
            "no prediction interval"
            if self.half_width is None
            else f"{100 * self.level:g} % prediction interval ± {self.half_width:.4g}"
        )
        return f"a number, in training {self.mean:.4g} with a deviation of {self.scale:.4g}; {interval}"

    def to_json(self) -> JsonObject:
        """Return the level, and for each output its name, mean, scale and half width."""
        number = {
            "name": self.output_names[0],
            "mean": self.mean,
            "scale": self.scale,
            "half_width": self.half_width,
        }
        return {"level": self.level, "outputs": [number]}

    @classmethod
    def from_json(cls, state: JsonObject) -> Self:
        """Return the task of `state`. Raises ValueError if a number is absent or out of range."""
        level, outputs = state.get("level"), state.get("outputs")
        if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
            raise ValueError("expected outputs, a list of one object")
        number = outputs[0]
        mean, scale = _finite(number.get("mean"), "mean"), _finite(number.get("scale"), "scale")
        half = number.get("half_width")
        half_width = None if half is None else _finite(half, "half_width")
        if scale <= 0 or (half_width is not None and half_width < 0):
            raise ValueError("expected a scale above 0, and a half_width of at least 0")
        if not 0 < (part := _finite(level, "level")) < 1:
            raise ValueError("expected level, a number between 0 and 1")
        return cls(mean, scale, half_width, part)


def metric_table(metrics: RegressionMetrics) -> ReportTable:
    """Return the metrics of a regression as a table."""
    rows = [
        ("RMSE", metrics.rmse, metrics.rmse_ci95),
        ("mean absolute error", metrics.mae, metrics.mae_ci95),
        ("median absolute error", metrics.median_absolute_error, metrics.median_absolute_error_ci95),
        ("R²", metrics.r2, metrics.r2_ci95),
        ("mean error", metrics.mean_error, None),
    ]
    if metrics.interval is not None:
        interval = metrics.interval
        rows.append((f"half width of the {100 * interval.level:g} % intervals", interval.half_width, None))
        rows.append(("targets inside their interval", interval.coverage, interval.coverage_ci95))
    return ReportTable(
        "Metrics",
        ("metric", "value", "95 % interval"),
        tuple(
            (
                name,
                "-" if value is None else f"{value:.6g}",
                "-" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}",
            )
            for name, value, ends in rows
        ),
    )


def _numbers(source: SequenceSource) -> NDArray[np.float64]:
    """Return the targets (N,) of a source whose classes are the distinct numbers."""
    return np.array(source.classes, np.float64)[source.targets]


def _finite(value: Any, name: str) -> float:
    """Return a value as a number. Raises ValueError naming it if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected {name}, a finite number")
    return float(value)
