"""Accuracy against the number of steps read: how many steps are enough, and when reading can stop early."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from scanline.data.source import SequenceSource
from scanline.metrics.intervals import wilson_interval
from scanline.metrics.results import Interval, Result
from scanline.model.network import Network
from scanline.model.predictor import similar_length_batches, to_device
from scanline.model.prefixes import first_confident_steps, outputs_by_step
from scanline.tasks import Task, require_sequences

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
_MAX_NUMBERS = 2**24  # outputs of a batch, at all steps


class StepAccuracy(Result):
    """Accuracy after a number of steps.

    Attributes:
        step: Number of steps read.
        n: Number of sequences that have at least as many.
        accuracy: Accuracy over all sequences; shorter ones are read to their end.
        ci95: Wilson's interval of the accuracy.
    """

    step: int
    n: int
    accuracy: float
    ci95: Interval


class EarlyStop(Result):
    """Accuracy and steps read if reading stops at a confidence.

    Attributes:
        threshold: Probability at which reading stops; sequences that never reach it are read to their end.
        accuracy: Accuracy of the predictions at that point.
        ci95: Wilson's interval of the accuracy.
        mean_steps: Mean number of steps read.
        share_read: Mean fraction of a sequence's steps that was read.
        stopped: Fraction of the sequences that were not read to their end.
    """

    threshold: float
    accuracy: float
    ci95: Interval
    mean_steps: float
    share_read: float
    stopped: float


class StepAccuracies(Result):
    """Accuracy against steps read.

    Attributes:
        steps: Accuracy after 1, 2, ..., T steps.
        enough: First step from which on the accuracy stays within the 95 % interval of the final accuracy.
        stops: An entry for each threshold.
    """

    steps: list[StepAccuracy]
    enough: int
    stops: list[EarlyStop]


def accuracy_by_step(
    network: Network,
    task: Task,
    source: SequenceSource,
    thresholds: Sequence[float] = THRESHOLDS,
    temperature: float = 1.0,
) -> StepAccuracies:
    """Measure the accuracy after every step, and of stopping at a confidence.

    Args:
        network: The network.
        task: Its task.
        source: Sequences with targets, as `Model.align` returns them.
        thresholds: Probabilities at which reading stops.
        temperature: Number by which outputs are divided, for calibrated probabilities.

    Raises:
        UsageError: If the task has no accuracy.
    """
    require_sequences(task, "the accuracy by steps read")
    targets = task.encode(source)
    T, n = source.max_length, len(source)
    correct = np.zeros(T, np.int64)
    stopped_correct = np.zeros(len(thresholds), np.int64)
    read = np.zeros((len(thresholds), n), np.int64)
    # Values held for each step of a sequence: recurrent outputs and class outputs.
    width = network.recurrent.output_size + network.architecture.classes
    # Batches of similar length keep padding short; a batch is bounded because the outputs at all its steps
    # are held at once.
    for indices in similar_length_batches(source, width, max_numbers=_MAX_NUMBERS):
        values, lengths = to_device(source.gather(indices), network.scale.device)
        # (n, t, K), where t is the longest length in this batch.
        outputs = outputs_by_step(network, values, lengths)
        with torch.inference_mode():
            # Float64, so that a threshold close to 1 is not reached only by rounding.
            probabilities = task.probabilities((outputs.double() / temperature).cpu().numpy())
        hits = task.correct(probabilities, targets[indices])  # (n, t)
        t = hits.shape[1]
        # Shorter sequences keep their final prediction. Integer counts make the sum independent of the
        # batch order.
        correct[:t] += hits.sum(0)
        correct[t:] += hits[:, -1].sum()
        for number, threshold in enumerate(thresholds):
            stop = first_confident_steps(probabilities, threshold)
            # A sequence that never reaches the threshold stops at its own length.
            stop = np.where(stop > 0, stop, source.lengths[indices])
            read[number, indices] = stop
            stopped_correct[number] += hits[np.arange(len(indices)), stop - 1].sum()
    return StepAccuracies(
        steps=_steps(correct, source.lengths),
        enough=_enough(correct, n),
        stops=[
            _stop(threshold, int(stopped_correct[number]), read[number], source.lengths)
            for number, threshold in enumerate(thresholds)
        ],
    )


def _steps(correct: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[StepAccuracy]:
    n = len(lengths)
    return [
        StepAccuracy(
            step=step + 1,
            n=int((lengths > step).sum()),
            accuracy=float(count / n),
            ci95=wilson_interval(int(count), n),
        )
        for step, count in enumerate(correct)
    ]


def _enough(correct: NDArray[np.int64], n: int) -> int:
    lowest = wilson_interval(int(correct[-1]), n)[0]
    # The last step below the interval decides, not the first within it: accuracy may dip again. +2 converts
    # an index to the number of the following step.
    below = np.flatnonzero(correct / n < lowest)
    return int(below[-1]) + 2 if below.size else 1


def _stop(threshold: float, correct: int, read: NDArray[np.int64], lengths: NDArray[np.int64]) -> EarlyStop:
    n = len(lengths)
    return EarlyStop(
        threshold=threshold,
        accuracy=correct / n,
        ci95=wilson_interval(correct, n),
        mean_steps=float(read.mean()),
        share_read=float((read / lengths).mean()),
        stopped=float((read < lengths).mean()),
    )
