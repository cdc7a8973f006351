"""Evaluation of a model on the test split of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.data import catalogue
from scanline.data.download import Progress
from scanline.data.partition import partition
from scanline.data.reading import TO_EVALUATE
from scanline.data.source import SequenceSource
from scanline.device import choose_device
from scanline.errors import UsageError, join_names
from scanline.metrics.results import Metrics
from scanline.model.artifact import TrainedModel
from scanline.model.loading import load
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings, SplitSettings
from scanline.training.provenance import trained_on


@dataclass(frozen=True)
class PredictionColumns:
    """Predictions as columns of equal length, in the order of the data.

    Attributes:
        sequence: Identifier of each sequence, or its index.
        predicted: Its prediction.
        true: Its target.
    """

    sequence: list[int | str]
    predicted: list[Any]
    true: list[Any]


@dataclass(frozen=True)
class StepPredictionColumns:
    """Predictions of all steps as columns of equal length, in the order of the data.

    Attributes:
        sequence: Identifier of the sequence of each step, or its index.
        step: Number of the step in its sequence, counted from 1.
        predicted: Its prediction.
        true: Its label; None if it has none.
    """

    sequence: list[int | str]
    step: list[int]
    predicted: list[Any]
    true: list[Any]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model with its outputs and metrics on a split.

    Attributes:
        model: The model.
        data: Name or path of the dataset.
        source: The N sequences with targets, as the network's steps.
        outputs: (N, M) outputs of the network, divided by the temperature if the model is calibrated.
        metrics: Metrics of the model's task.
        digest: Digest of the sequences as they were read, which does not depend on the model.
        steps_digest: Digest of the sequences as steps of the network, as `environment.json` has it.
        unknown: Number of categories that the model does not know, and of all that are not missing.
    """

    model: TrainedModel
    data: str
    source: SequenceSource
    outputs: NDArray[np.float32]
    metrics: Metrics
    digest: str
    steps_digest: str
    unknown: tuple[int, int] = (0, 0)

    @property
    def has_pictures(self) -> bool:
        """Whether the sequences are pictures."""
        return self.model.preprocessing.picture is not None

    def predictions(self) -> PredictionColumns | StepPredictionColumns:
        """Return the prediction and the target of each sequence, or of each step."""
        source = self.source
        if source.step_targets is not None:
            names = [*source.classes, None]  # -1: no label
            lengths = source.lengths.tolist()
            return StepPredictionColumns(
                sequence=[source.identifier(i) for i, length in enumerate(lengths) for _ in range(length)],
                step=[step for length in lengths for step in range(1, length + 1)],
                predicted=self.model.task.labels(self.outputs),
                true=[names[target] for target in source.step_targets],
            )
        return PredictionColumns(
            sequence=[source.identifier(index) for index in range(len(source))],
            predicted=self.model.task.labels(self.outputs),
            true=[source.classes[label] for label in source.targets],
        )

    def errors(self) -> NDArray[np.float64]:
        """Return predicted minus true for each sequence, (N,), for a task that predicts numbers."""
        columns = self.predictions()
        return np.array(columns.predicted, np.float64) - np.array(columns.true, np.float64)


def evaluate_run(
    run: str,
    data: str | None,
    device: str = "auto",
    on_progress: Progress | None = None,
    calibrated: bool = False,
    reading: Mapping[str, str | int] | None = None,
) -> Evaluation:
    """Evaluate the model of a run.

    Args:
        run: A run directory or a model folder.
        data: Name or path of a dataset; its test split is used, or all of it if it has no splits. None uses
            the test split of the data that the model was trained on.
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: Called with (received, total) bytes of a download.
        calibrated: Whether to evaluate calibrated probabilities.
        reading: As for `Model.with_reading`; it applies to `data`.

    Raises:
        ModelError: If the model cannot be used.
        DataError: If the data cannot be used.
        UsageError: If it is unknown where the data are.
    """
    if reading and data is None:
        raise UsageError(f"name the data to read by {join_names(list(reading))} with --data")
    model = load(run, choose_device(device), calibrated).with_reading(**(reading or {}))
    return evaluate_model(model, run, data, on_progress)


def evaluate_model(
    model: TrainedModel, run: str, data: str | None, on_progress: Progress | None = None
) -> Evaluation:
    """Evaluate a model that is loaded already; for the arguments see `evaluate_run`."""
    return evaluate_source(model, *evaluation_split(model, run, data, on_progress))


def evaluation_split(
    model: TrainedModel, run: str, data: str | None, on_progress: Progress | None = None
) -> tuple[str, SequenceSource]:
    """Return the name of the data to evaluate on, and the sequences; for the arguments see `evaluate_run`."""
    known = trained_on(Path(run))
    # The training data named explicitly must not be evaluated as a whole: only their held-out test split
    # is.
    if data is None or (known is not None and known[0].name == catalogue.address(data)):
        return own_split(model, run, known, "test", on_progress)
    form = model.preprocessing
    settings = DEFAULT_DATA if data in catalogue.names() else form.settings
    dataset = catalogue.read(data, settings, on_progress, TO_EVALUATE)
    return data, dataset.evaluation_source(form.missing)


def evaluate_source(model: TrainedModel, name: str, source: SequenceSource) -> Evaluation:
    """Evaluate a model on sequences with targets, as they were read; `name` is the name of the data."""
    steps = model.steps(source)
    # Before the task reorders the classes: training takes its digests before that, too.
    recorded = {each.sha256 for each in model.provenance.parts.values()}
    digests = source.fingerprint(), steps.fingerprint_like(recorded)
    aligned = model.with_targets(steps)
    outputs = model.outputs(aligned)
    metrics = model.task.metrics(outputs, aligned)
    return Evaluation(model, name, aligned, outputs, metrics, *digests, unknown=model.unknown(steps))


def own_split(
    model: TrainedModel,
    run: str,
    known: tuple[DataSettings, SplitSettings] | None,
    kind: Literal["test", "validation"],
    on_progress: Progress | None = None,
) -> tuple[str, SequenceSource]:
    """Read a split of the data that a model was trained on.

    Args:
        model: The model.
        run: Its run directory or model folder.
        known: What `trained_on` returns for the run.
        kind: Which split.
        on_progress: Called with (received, total) bytes of a download.

    Returns:
        Name of the dataset, and the split as it was read.

    Raises:
        UsageError: If it is unknown where the data are, or if there is no such split.
    """
    known = known_data(model, known)
    if known is None:
        raise UsageError(f"{run} was trained on {model.data}: name its path with --data")
    settings, split = known
    read = catalogue.read(settings.name, settings, on_progress)
    # The same settings and seed as in training give the same split, so no training sequence is in it.
    source = partition(read, split, model.preprocessing.missing).splits.get(kind)
    if source is None:
        raise UsageError(f"{run} has no {kind} split: name data to evaluate on with --data")
    return settings.name, source


def known_data(
    model: TrainedModel, known: tuple[DataSettings, SplitSettings] | None
) -> tuple[DataSettings, SplitSettings] | None:
    """Return where the data are that a model was trained on, and how they were split; None if unknown.

    Args:
        model: The model.
        known: What `trained_on` returns for its run.
    """
    # An imported or moved model has no run directory, but its data set may be in the catalogue.
    if known is None and model.data in catalogue.names():
        return DEFAULT_DATA.model_copy(update={"name": model.data}), DEFAULT_SPLIT
    return known if known is not None and known[0].name else None
