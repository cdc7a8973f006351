"""Comparison of models on the same test sequences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scanline.data.download import Progress
from scanline.data.labels import plain_name
from scanline.errors import DataError, UsageError
from scanline.evaluation.evaluate import Evaluation, evaluate_run
from scanline.evaluation.number_comparison import NumberComparison, compare_numbers
from scanline.evaluation.step_comparison import StepComparison, compare_steps
from scanline.metrics.classification import ClassificationMetrics
from scanline.metrics.intervals import PairedCounts, mcnemar, paired_interval
from scanline.metrics.regression import RegressionMetrics
from scanline.metrics.results import Interval, Metrics, Result
from scanline.metrics.step_numbers import StepNumberMetrics
from scanline.metrics.steps import StepMetrics
from scanline.model.model_files import find_model, weights_bytes
from scanline.training.run_directory import RunDirectory

_ROUNDS, _TIMED = 5, 2000
M = TypeVar("M", bound=Metrics)


class ComparedRun(Result):
    """Results of one run; None where unknown.

    Attributes:
        run: Path of the run as it was given.
        network: Layers, cell and units, in words.
        view: View of the pictures; None if the sequences are not pictures.
        correct: Number of correct predictions.
        accuracy: Accuracy on the common test sequences.
        ci95: Wilson's interval of the accuracy.
        loss: Mean cross-entropy in nats.
        calibration_error: Expected calibration error.
        parameters: Number of weights.
        weights_bytes: Size of the weights file.
        sequences_per_s: Sequences predicted a second; None if not measured.
        training_seconds: Duration of the training.
        training_samples: Number of samples seen in training.
    """

    run: str
    network: str
    view: str | None
    correct: int
    accuracy: float
    ci95: Interval
    loss: float
    calibration_error: float
    parameters: int
    weights_bytes: int
    sequences_per_s: float | None
    training_seconds: float | None
    training_samples: int | None


class Disagreement(Result):
    """A sequence for which two runs predict different classes.

    Attributes:
        index: Index of the sequence.
        sequence: Its identifier, or its index.
        true: Its class.
        first: Prediction of the first run.
        second: Prediction of the second run.
    """

    index: int
    sequence: int | str
    true: str
    first: str
    second: str


class ComparedPair(Result):
    """Comparison of two runs.

    Attributes:
        first: Path of the first run.
        second: Path of the second run.
        difference: Accuracy of the first minus that of the second.
        ci95: Newcombe's interval of the difference.
        mcnemar_p: p-value of the exact McNemar test.
        both_right: Number of sequences that both predict correctly.
        first_alone_right: Number that only the first predicts correctly.
        second_alone_right: Number that only the second predicts correctly.
        neither_right: Number that neither predicts correctly.
        disagreements: Number of different predictions.
        disagree_on: These sequences.
    """

    first: str
    second: str
    difference: float
    ci95: Interval
    mcnemar_p: float
    both_right: int
    first_alone_right: int
    second_alone_right: int
    neither_right: int
    disagreements: int
    disagree_on: list[Disagreement]


class Comparison(Result):
    """Two or more runs on the same test sequences.

    Attributes:
        data: Name or path of the dataset.
        n: Number of test sequences.
        runs: Results of each run, in the order given.
        pairs: Every pair of runs.
    """

    data: str
    n: int
    runs: list[ComparedRun]
    pairs: list[ComparedPair]


@dataclass(frozen=True, eq=False)
class _Run:
    """A run with its evaluation on the common test sequences."""

    path: str
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class _Evaluated(_Run):
    """The same, of a classification."""

    metrics: ClassificationMetrics

    @cached_property
    def predictions(self) -> NDArray[Any]:
        """(N,) predicted class names, as text."""
        labels = self.evaluation.model.task.labels(self.evaluation.outputs)
        return np.array([plain_name(name) for name in labels], dtype=object)


def compare_runs(
    runs: Sequence[str],
    data: str | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
    measure_speed: bool = True,
    known: Mapping[str, Evaluation] | None = None,
) -> Comparison | NumberComparison | StepComparison:
    """Evaluate two or more runs on the same test sequences and compare every pair.

    Args:
        runs: Run directories or model folders.
        data: Dataset to evaluate on; None uses what each model was trained on.
        device: "cpu" or "cuda".
        on_progress: Called with (received, total) bytes of a download.
        measure_speed: Whether to time predictions, the runs taking turns.
        known: Evaluations on these sequences that exist already, by run.

    Raises:
        UsageError: If there are fewer than two different runs, or they are not all of one task that can be
            compared.
        DataError: If the runs are not evaluated on the same sequences.
    """
    if len(runs) < 2:
        raise UsageError(f"expected at least two runs to compare, got {len(runs)}")
    for one, other in combinations(runs, 2):
        # Compared after resolving, so that a run and its model folder, or a link to it, count as the same.
        if find_model(Path(one)).resolve() == find_model(Path(other)).resolve():
            raise UsageError(f"expected different runs to compare, got {one} and {other}, which are the same")
    found = [
        _Run(run, (known or {}).get(run) or evaluate_run(run, data, device, on_progress)) for run in runs
    ]
    numbers, steps = _of_kind(found, RegressionMetrics), _of_steps(found)
    evaluated = [] if numbers or steps else [_classifier(each) for each in found]
    _check_same_data(found)
    speeds: list[float | None] = [*_speeds(found)] if measure_speed else [None] * len(found)
    if numbers:
        return compare_numbers(numbers, speeds)
    if steps:
        return compare_steps(steps, speeds)
    return Comparison(
        data=evaluated[0].evaluation.data,
        n=len(evaluated[0].evaluation.source),
        runs=[_row(each, speed) for each, speed in zip(evaluated, speeds, strict=True)],
        pairs=[_pair(one, other) for one, other in combinations(evaluated, 2)],
    )


def _of_steps(found: Sequence[_Run]) -> list[tuple[str, Evaluation, StepMetrics | StepNumberMetrics]]:
    """Return runs with a prediction at each step, as `_of_kind` does."""
    classes, numbers = _of_kind(found, StepMetrics), _of_kind(found, StepNumberMetrics)
    return [*classes, *numbers]


def _of_kind(found: Sequence[_Run], kind: type[M]) -> list[tuple[str, Evaluation, M]]:
    """Return runs with metrics of a kind; none if no run has such. Raises UsageError if only some have."""
    made = [
        (each.path, each.evaluation, each.evaluation.metrics)
        for each in found
        if isinstance(each.evaluation.metrics, kind)
    ]
    if made and len(made) < len(found):
        tasks = ", ".join(f"{each.path}: {each.evaluation.model.task.name}" for each in found)
        raise UsageError(f"expected models of one task to compare, got {tasks}")
    return made


def _classifier(run: _Run) -> _Evaluated:
    evaluation = run.evaluation
    if not isinstance(evaluation.metrics, ClassificationMetrics):
        raise UsageError(
            f"expected classification models to compare, got {run.path}: {evaluation.model.task.name}"
        )
    return _Evaluated(run.path, evaluation, evaluation.metrics)


def _check_same_data(evaluated: Sequence[_Run]) -> None:
    first = evaluated[0]
    one = first.evaluation
    for second in evaluated[1:]:
        other = second.evaluation
        # The digest covers the sequences as read, before a view or scaling, so models with different
        # preprocessing can be compared. Paired tests need identical sequences in the same order.
        if other.digest != one.digest:
            raise DataError(
                f"{first.path} and {second.path}: expected the same test sequences, got {one.data} "
                f"({len(one.source):,}, SHA-256 {one.digest[:12]}...) and {other.data} "
                f"({len(other.source):,}, SHA-256 {other.digest[:12]}...); name one dataset with --data"
            )


def _row(each: _Evaluated, speed: float | None) -> ComparedRun:
    model, metrics = each.evaluation.model, each.metrics
    folder = find_model(Path(each.path))
    # A model folder without a run around it has no result; training facts are None then.
    result = RunDirectory(folder.parent).read_result()
    training = None if result is None else result.training
    return ComparedRun(
        run=each.path,
        network=model.short_name,
        view=model.view,
        correct=metrics.correct,
        accuracy=metrics.accuracy,
        ci95=metrics.ci95,
        loss=metrics.loss,
        calibration_error=metrics.calibration.error,
        parameters=model.parameter_count,
        weights_bytes=weights_bytes(folder),
        sequences_per_s=speed,
        training_seconds=None if training is None else training.seconds,
        training_samples=None if training is None else training.samples_seen,
    )


def _speeds(evaluated: Sequence[_Run]) -> list[float]:
    """Return sequences predicted per second: medians over rounds in which the runs alternate."""
    # Runs take turns within a round: a change of clock frequency or load then affects all of them equally.
    seconds: list[list[float]] = [[] for _ in evaluated]
    for round_number in range(_ROUNDS + 1):
        for each, own in zip(evaluated, seconds, strict=True):
            source = each.evaluation.source
            source = source.take(slice(min(len(source), _TIMED)))
            begin = time.perf_counter()
            each.evaluation.model.outputs(source)
            if round_number:  # the first warms up
                own.append((time.perf_counter() - begin) / len(source))
    return [1 / statistics.median(own) for own in seconds]


def _pair(one: _Evaluated, other: _Evaluated) -> ComparedPair:
    source = one.evaluation.source
    true = np.array([plain_name(source.classes[label]) for label in source.targets], dtype=object)
    # Compared as class names: models may number the same classes differently.
    right, also = one.predictions == true, other.predictions == true
    counts = PairedCounts(
        both=int((right & also).sum()),
        first=int((right & ~also).sum()),
        second=int((~right & also).sum()),
        neither=int((~right & ~also).sum()),
    )
    # Not the off-diagonal counts: two wrong predictions may differ as well.
    different = np.flatnonzero(one.predictions != other.predictions)
    return ComparedPair(
        first=one.path,
        second=other.path,
        difference=counts.difference,
        ci95=paired_interval(counts),
        mcnemar_p=mcnemar(counts),
        both_right=counts.both,
        first_alone_right=counts.first,
        second_alone_right=counts.second,
        neither_right=counts.neither,
        disagreements=len(different),
        disagree_on=[
            Disagreement(
                index=index,
                sequence=source.identifier(index),
                true=str(true[index]),
                first=str(one.predictions[index]),
                second=str(other.predictions[index]),
            )
            for index in map(int, different)
        ],
    )
