"""Regression: a number for each sequence, with a prediction interval around it.

The network learns standardised targets. What users see is in the unit of the labels: predictions, intervals
and metrics. Mean, scale and the half width of the intervals are the state of the task, saved with the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.label_sets import row_numbers, row_text
from scanline.data.source import ClassName, SequenceSource
from scanline.errors import DataError
from scanline.metrics.regression import (
    NamedMetrics,
    RegressionMetrics,
    SeveralNumbersMetrics,
    conformal_half_width,
    conformal_rank,
    regression_metrics,
)
from scanline.metrics.results import Metrics
from scanline.tasks.base import DecodedPrediction, JsonObject, ReportTable, Score, Targets, Task

LEVEL = 0.9  # of the prediction intervals
# Targets farther from the training targets than this, in their standard deviations, overflow in float32.
FARTHEST = 1e9
SHOWN_ERRORS = 10


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
    targets: ClassVar[Targets] = "numbers"
    output_size: ClassVar[int] = 1
    output_names: ClassVar[tuple[str, ...]] = ("number",)

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self | SeveralNumbers:
        """Take mean and scale of the training targets, or of each of several; DataError if all are equal."""
        if columns := _label_columns(source):
            return SeveralNumbers.fit_columns(source, columns, name)
        return cls.of_targets(_numbers(source) if source.classes else np.zeros(0), source.weights, name)

    @classmethod
    def of_targets(cls, numbers: NDArray[np.float64], weights: NDArray[np.float32] | None, name: str) -> Self:
        """Return the task for training targets (N,), of which each has a weight or all weigh 1; see `fit`."""
        if not numbers.size or numbers.min() == numbers.max():
            only = f" ({numbers[0]:g})" if numbers.size else ""
            raise DataError(f"{name}: expected targets that differ, got {len(numbers):,} equal ones{only}")
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(numbers, weights=weights))
            scale = math.sqrt(float(np.average((numbers - mean) ** 2, weights=weights)))
        if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
            raise DataError(
                f"{name}: expected targets whose mean and deviation are finite and not 0, "
                f"got {numbers.min():g} to {numbers.max():g}"
            )
        return cls(mean, scale)

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.float32]:
        """Return the standardised targets, (N,). Raises DataError if one is far too large."""
        standardised = (_numbers(source) - self.mean) / self.scale
        far = np.flatnonzero(np.abs(standardised) > FARTHEST)
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

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> Metrics:
        """Return errors, R² and coverage, see `RegressionMetrics`."""
        return self.of_numbers(outputs, source)

    def of_numbers(self, outputs: NDArray[Any], source: SequenceSource) -> RegressionMetrics:
        """Return `metrics` of a number for each sequence."""
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
        self, outputs: NDArray[Any], targets: NDArray[np.float32], lengths: NDArray[np.int64]
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
        metrics = self.of_numbers(outputs, source)
        largest = ReportTable(
            "Largest errors",
            ("sequence", "true", "predicted", "predicted minus true"),
            tuple(
                (str(each.sequence), f"{each.true:.6g}", f"{each.predicted:.6g}", f"{each.error:+.6g}")
                for each in metrics.errors[:SHOWN_ERRORS]
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
    def from_json(cls, state: JsonObject) -> Self | SeveralNumbers:
        """Return the task of `state`. Raises ValueError if a number is absent or out of range."""
        outputs = state.get("outputs")
        if not isinstance(outputs, list) or not outputs or not all(isinstance(e, dict) for e in outputs):
            raise ValueError("expected outputs, a list of objects")
        parts = tuple(cls.of_output(each, state.get("level")) for each in outputs)
        names = [each.get("name") for each in outputs]
        if names == list(cls.output_names):
            return parts[0]
        if cls.per_step:
            raise ValueError("expected one output")
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError("expected outputs of different names")
        return SeveralNumbers(parts, tuple(map(str, names)))

    @classmethod
    def of_output(cls, number: JsonObject, level: Any) -> Self:
        """Return the task of one of the outputs of `to_json`, likewise."""
        mean, scale = _finite(number.get("mean"), "mean"), _finite(number.get("scale"), "scale")
        half = number.get("half_width")
        half_width = None if half is None else _finite(half, "half_width")
        if scale <= 0 or (half_width is not None and half_width < 0):
            raise ValueError("expected a scale above 0, and a half_width of at least 0")
        if not 0 < (part := _finite(level, "level")) < 1:
            raise ValueError("expected level, a number between 0 and 1")
        return cls(mean, scale, half_width, part)


@dataclass(frozen=True)
class SeveralNumbers(Task):
    """Several numbers for each sequence, from several label columns, with an interval around each.

    Encoded targets are (N, M), each column standardised by its own mean and scale.

    Attributes:
        parts: The regression of each of the M numbers.
        names: Names of the numbers: those of their columns.
    """

    parts: tuple[Regression, ...]
    names: tuple[str, ...]
    name: ClassVar[str] = Regression.name
    targets: ClassVar[Targets] = "numbers"

    @classmethod
    def fit(cls, source: SequenceSource, name: str) -> Self:
        """Take mean and scale of each number. Raises DataError naming a number that is always equal."""
        return cls.fit_columns(source, _label_columns(source), name)

    @classmethod
    def fit_columns(cls, source: SequenceSource, columns: tuple[str, ...], name: str) -> Self:
        """Do the same for targets of `columns`."""
        rows = _rows(source, len(columns), name)
        return cls(
            tuple(
                Regression.of_targets(rows[:, m], source.weights, f"{name}, label column {column}")
                for m, column in enumerate(columns)
            ),
            columns,
        )

    @property
    def output_size(self) -> int:
        """M."""
        return len(self.parts)

    @property
    def output_names(self) -> tuple[ClassName, ...]:
        """The names of the numbers."""
        return self.names

    def encode(self, source: SequenceSource, owner: str = "the model") -> NDArray[np.float32]:
        """Return the standardised targets, (N, M). Raises DataError if one is far too large."""
        columns = [
            part.encode(each, owner) for part, each in zip(self.parts, self._each(source), strict=True)
        ]
        return np.stack(columns, 1)

    def _each(self, source: SequenceSource) -> list[SequenceSource]:
        """Return the sequences with each of the numbers as their targets."""
        columns = _label_columns(source)
        if set(columns) != set(self.names):
            found = ", ".join(columns) if columns else "one label"
            raise DataError(
                f"{source.name}: expected labels in the columns {', '.join(self.names)}, found {found}"
            )
        rows = _distinct_rows(source, len(columns), source.name)
        return [
            source.with_targets(source.targets, tuple(rows[:, columns.index(name)].tolist()))
            for name in self.names
        ]

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean squared error of standardised targets, over all numbers."""
        squares = ((outputs - targets) ** 2).mean(1)
        return (squares if weights is None else squares * weights).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        """Return the mean squared error and the skill, see `Regression.score`.

        Log lines show the RMSE in deviations of the training targets, as the numbers have several units.
        """
        loss = self.loss(outputs, targets.to(outputs.dtype)).item()
        error = math.sqrt(loss) if loss >= 0 else math.nan
        return Score(loss, 1 - loss, len(targets), None, "skill", "rmse_sd", error)

    def metrics(self, outputs: NDArray[Any], source: SequenceSource) -> SeveralNumbersMetrics:
        """Return the metrics of each number."""
        made = [
            NamedMetrics(name=name, metrics=part.of_numbers(outputs[:, m : m + 1], each))
            for m, (name, part, each) in enumerate(
                zip(self.names, self.parts, self._each(source), strict=True)
            )
        ]
        loss = sum(each.metrics.loss for each in made) / len(made)
        return SeveralNumbersMetrics(n=len(source), loss=loss, outputs=made)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predicted numbers (..., M) for outputs (..., M)."""
        scale, mean = (np.array([getattr(part, key) for part in self.parts]) for key in ("scale", "mean"))
        numbers: NDArray[np.float64] = outputs.astype(np.float64) * scale + mean
        return numbers

    def predict(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predicted numbers, (N, M)."""
        return self.probabilities(outputs)

    def labels(self, outputs: NDArray[Any]) -> list[ClassName | float]:
        """Return the numbers of each sequence as text, separated by semicolons."""
        return [row_text(row) for row in self.probabilities(outputs).tolist()]

    def decode(self, probabilities: NDArray[np.float64]) -> DecodedPrediction:
        """Return the predicted numbers, and the intervals around them if there are any."""
        numbers: dict[str, dict[str, float]] = {}
        for name, part, number in zip(self.names, self.parts, probabilities.tolist(), strict=True):
            numbers[name] = {"value": number}
            if part.half_width is not None:
                numbers[name] |= {"low": number - part.half_width, "high": number + part.half_width}
        return DecodedPrediction(row_text(probabilities.tolist()), numbers=numbers)

    def calibration_errors(
        self, outputs: NDArray[Any], targets: NDArray[np.float32], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the absolute errors (N, M) in the units of the targets."""
        scale = np.array([part.scale for part in self.parts])
        errors: NDArray[np.float64] = np.abs(outputs.astype(np.float64) - targets.astype(np.float64)) * scale
        return errors

    def calibrated(self, errors: NDArray[np.float64]) -> Self:
        """Return the task with intervals from absolute errors, for each number its own."""
        return replace(self, parts=tuple(part.calibrated(errors[:, m]) for m, part in enumerate(self.parts)))

    def calibration_note(self, count: int) -> str | None:
        """Return why predictions will have no intervals, or None if they will."""
        return self.parts[0].calibration_note(count)

    def explained_output(self, probabilities: NDArray[np.float64]) -> int:
        """Return 0, the first number."""
        return 0

    def report_tables(self, outputs: NDArray[Any], source: SequenceSource) -> tuple[ReportTable, ...]:
        """Return the metrics of each number."""
        return metric_tables(self.metrics(outputs, source))

    def describe(self) -> str:
        """Return as "2 numbers: a, b"."""
        return f"{len(self.names)} numbers: {', '.join(self.names)}"

    def to_json(self) -> JsonObject:
        """Return the level, and for each output its name, mean, scale and half width."""
        outputs = [
            part.to_json()["outputs"][0] | {"name": name}
            for name, part in zip(self.names, self.parts, strict=True)
        ]
        return {"level": self.parts[0].level, "outputs": outputs}

    @classmethod
    def from_json(cls, state: JsonObject) -> Self:
        """Return the task of `state`, as `Regression.from_json` does."""
        made = Regression.from_json(state)
        if not isinstance(made, cls):
            raise ValueError("expected several outputs")
        return made


def metric_tables(metrics: SeveralNumbersMetrics) -> tuple[ReportTable, ...]:
    """Return the metrics of each of several numbers as a table."""
    return tuple(replace(metric_table(each.metrics), caption=each.name) for each in metrics.outputs)


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


def _label_columns(source: SequenceSource) -> tuple[str, ...]:
    """Return the names of the numbers of a target; none if a target is one number."""
    settings = source.info.settings
    return settings.label_columns if settings is not None else ()


def _distinct_rows(source: SequenceSource, count: int, name: str) -> NDArray[np.float64]:
    """Return the distinct targets of a source, of `count` numbers each, (R, count)."""
    if not source.classes:
        raise DataError(f"{name}: expected labels, found none")
    return np.array([row_numbers(target) for target in source.classes], np.float64).reshape(-1, count)


def _rows(source: SequenceSource, count: int, name: str) -> NDArray[np.float64]:
    """Return the targets of the sequences, (N, count)."""
    return _distinct_rows(source, count, name)[source.targets]


def _finite(value: Any, name: str) -> float:
    """Return a value as a number. Raises ValueError naming it if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected {name}, a finite number")
    return float(value)
