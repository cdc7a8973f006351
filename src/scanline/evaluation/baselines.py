"""Plain baselines: what simple, well-known methods achieve on the same sequences as a network.

A search for settings is only worth its time if its winner is better than these. Nothing is chosen by their
results.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import Dataset
from scanline.data.source import Indices, SequenceSource
from scanline.errors import one_line
from scanline.evaluation.baseline_methods import Method, methods
from scanline.evaluation.baseline_problem import Part, Problem
from scanline.evaluation.baseline_records import (
    Baseline,
    Baselines,
    BaselineScore,
    SkippedBaseline,
    WinnerComparison,
)
from scanline.evaluation.evaluate import evaluate_source
from scanline.metrics.intervals import PairedCounts, mcnemar
from scanline.model.artifact import TrainedModel

LIMIT_S = 60.0

Bools = NDArray[np.bool_]


def measure_baselines(
    data: Dataset,
    folds: Sequence[tuple[Indices, Indices]] | None = None,
    winner: TrainedModel | None = None,
    seed: int = 0,
    limit_s: float = LIMIT_S,
) -> Baselines:
    """Measure baselines on the sequences that a search used.

    On the test split a baseline is fitted to the training and the validation split, as a winner is.

    Args:
        data: The data set as it was read and split.
        folds: For each fold, indices of the training split to fit to and to validate on; None uses the
            validation split, if there is one.
        winner: Model of the winner, to compare its predictions for the test sequences; None compares none.
        seed: Seed of the baselines that draw random numbers.
        limit_s: A baseline is skipped if it would take more seconds. That is estimated from the sizes alone,
            so that every machine measures the same baselines.

    Returns:
        The baselines. Those that fail or do not fit the data are listed with the reason.
    """
    numbers = data.train.info.numeric_targets
    # Arrays are made when the first baseline needs them.
    problem = Problem.of(data, folds)
    correct = None if winner is None or data.test is None else _correct(winner, data.test)
    unlike = (
        "" if data.train.step_targets is None else "predicts a label for each sequence, not for each step"
    )
    settings = data.train.info.settings
    if numbers and settings is not None and settings.label_columns:
        unlike = "predicts one number for each sequence, not several"
    if not data.train.info.one_class and not numbers:
        unlike = "predicts one class for each sequence, not several"
    measured, skipped = [], []
    for method in methods(numbers):
        reason = unlike or method.obstacle(problem.sizes, limit_s)
        if method.takes != "targets":
            reason = reason or problem.too_large
        try:
            if not reason:
                measured.append(_measure(method, problem, numbers, correct, seed))
        # What other packages raise is not known; a baseline must not end a search that took hours.
        except Exception as error:  # noqa: BLE001
            reason = f"failed: {one_line(f'{type(error).__name__}: {error}', 160)}"
        if reason:
            skipped.append(SkippedBaseline(name=method.name, reason=reason))
    return Baselines(
        metric="mean absolute error" if numbers else "accuracy", measured=measured, skipped=skipped
    )


def _correct(model: TrainedModel, test: SequenceSource) -> Bools | None:
    """Return which test sequences a model classifies correctly; None if its task has no accuracy."""
    # Then there is nothing to compare sequence by sequence.
    if not model.task.has_accuracy:
        return None
    evaluation = evaluate_source(model, "the test split", test)
    targets = model.task.encode(evaluation.source)
    return model.task.correct(model.task.probabilities(evaluation.outputs), targets)


def _measure(method: Method, problem: Problem, numbers: bool, winner: Bools | None, seed: int) -> Baseline:
    started = time.perf_counter()
    validated = [_errors(method, seed, problem.part(method, *fold), numbers) for fold in problem.folds]
    tested = None
    if problem.has_test:
        tested = _errors(method, seed, problem.part(method, np.arange(len(problem.targets)), None), numbers)
    comparison = None
    if winner is not None and tested is not None and not numbers:
        comparison = _comparison(tested == 0, winner)
    return Baseline(
        name=method.name,
        method=method.words,
        validation=_score(np.concatenate(validated), numbers) if validated else None,
        test=None if tested is None else _score(tested, numbers),
        winner=comparison,
        seconds=round(time.perf_counter() - started, 3),
    )


def _errors(method: Method, seed: int, part: Part, numbers: bool) -> NDArray[np.float64]:
    """Return the absolute error of each prediction, (n,); for classes 0 if it is correct, otherwise 1."""
    estimator = method.make(seed)
    with warnings.catch_warnings():
        # They are about the code of the packages, which a user cannot change.
        warnings.simplefilter("ignore")
        predicted = estimator.fit(part.fitted, part.targets).predict(part.predicted)
    errors = np.abs(predicted - part.true) if numbers else predicted != part.true
    return np.asarray(errors, np.float64)


def _score(errors: NDArray[np.float64], numbers: bool) -> BaselineScore:
    total = len(errors)
    if numbers:
        return BaselineScore(value=float(errors.mean()), correct=None, total=total)
    correct = int((errors == 0).sum())
    return BaselineScore(value=correct / total, correct=correct, total=total)


def _comparison(baseline: Bools, winner: Bools) -> WinnerComparison:
    pairs = PairedCounts(
        both=int((baseline & winner).sum()),
        first=int((baseline & ~winner).sum()),
        second=int((~baseline & winner).sum()),
        neither=int((~baseline & ~winner).sum()),
    )
    return WinnerComparison(
        both=pairs.both,
        baseline_only=pairs.first,
        winner_only=pairs.second,
        neither=pairs.neither,
        mcnemar_p=min(mcnemar(pairs), 1.0),
    )
