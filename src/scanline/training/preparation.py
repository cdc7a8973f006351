"""From a recipe and a data set to what training needs: steps of the network and its architecture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scanline import tasks
from scanline.data.dataset import Dataset
from scanline.data.preprocessing import Preprocessing
from scanline.data.source import SequenceSource
from scanline.data.splits import balanced
from scanline.data.windows import WindowSource
from scanline.errors import UsageError, join_names
from scanline.model import pooling
from scanline.model.embeddings import Embedding, size_by_rule
from scanline.model.joining import Joining
from scanline.model.network import Architecture
from scanline.recipe import Recipe
from scanline.tasks import Task


@dataclass(frozen=True, eq=False)
class Prepared:
    """What training needs.

    Attributes:
        recipe: The recipe, its length given in steps if `train.epochs` limits it.
        data: The splits, as steps of the network.
        preprocessing: How sequences as read become these steps.
        architecture: The network that reads them.
        task: What it predicts, fitted to the training split.
    """

    recipe: Recipe
    data: Dataset
    preprocessing: Preprocessing
    architecture: Architecture
    task: Task

    @property
    def joining(self) -> Joining | None:
        """How predictions of windows are joined; None if the network reads whole sequences."""
        windows = self.preprocessing.windows
        return None if windows is None else Joining(windows, self.task)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user, to be shown before training."""
        validation = self.data.validation
        note = self.task.calibration_note(0 if validation is None else len(validation))
        return self.data.notes if note is None else (*self.data.notes, note)


def prepare(recipe: Recipe, data: Dataset) -> Prepared:
    """Prepare a data set, as it was read and split, for training.

    Raises:
        UsageError: If recipe and data do not fit together; names the setting.
        DataError: If the task cannot be learned from the data, as a classification with a single class.
    """
    _check_kind(recipe, data)
    preprocessing = Preprocessing.fit(data, recipe.input)
    steps = preprocessing.prepare_all(data)
    samples = _samples(preprocessing, steps)
    # The size of the training split is first known here: `train.epochs` becomes a number of steps.
    recipe = recipe.model_copy(update={"train": recipe.train.limited(len(samples))})
    if recipe.train.class_weights == "balanced":
        task_class = tasks.get(recipe.task)
        if task_class.predicts_numbers() or task_class.targets == "label-sets":
            why = "has no classes" if task_class.predicts_numbers() else "chooses a threshold for each class"
            raise UsageError(
                f'train.class_weights must be "none" for the task {recipe.task}, which {why}, got "balanced"'
            )
        if steps.train.step_targets is None:  # otherwise classes of steps are weighed when they are loaded
            weights = balanced(samples)
            if isinstance(samples, WindowSource):  # equal for all windows of a recording
                weights = weights[np.unique(samples.recording, return_index=True)[1]]
            steps = steps.with_splits(train=steps.train.with_weights(weights))
    task = tasks.get(recipe.task).fit(steps.train, data.name)
    _check(recipe, steps, task)
    return Prepared(recipe, steps, preprocessing, _architecture(recipe, steps, preprocessing, task), task)


def _check_kind(recipe: Recipe, data: Dataset) -> None:
    """Raise UsageError if a setting that only long tables have is given for other data."""
    info = data.first.info
    for key, there in (("static_columns", info.static), ("time_features", info.time_kind)):
        given = getattr(recipe.data, key)
        if given and not there:
            raise UsageError(
                f"data.{key} must be empty for {data.name}, which is no long table (a row for each step), "
                f"got {join_names(given)}"
            )


def sample_count(recipe: Recipe, data: Dataset) -> int:
    """Return the number of training samples of a data set, as it was read and split: sequences or windows."""
    if not recipe.input.window:
        return len(data.train)
    preprocessing = Preprocessing.fit(data, recipe.input)
    assert preprocessing.windows is not None
    lengths = preprocessing.cut_lengths(data.train.lengths, data.train.features)
    return int(preprocessing.windows.counts(lengths).sum())


def _samples(preprocessing: Preprocessing, steps: Dataset) -> SequenceSource:
    """Return the training samples: sequences or windows. Raises DataError if one is shorter than a window."""
    windows = preprocessing.windows
    if windows is None:
        return steps.train
    for source in steps.splits.values():
        windows.check(source)
    return windows.view(steps.train)


def _check(recipe: Recipe, data: Dataset, task: Task) -> None:
    if recipe.model.classes not in (0, task.output_size):
        raise UsageError(
            f"model.classes must be 0 or {task.output_size}, the number of outputs for {data.name}, "
            f"got {recipe.model.classes}"
        )
    every_step = pooling.get(recipe.model.readout).every_step
    if every_step != task.per_step:
        expected = "every-step" if task.per_step else "last, mean, max or last-step"
        raise UsageError(
            f"model.readout must be {expected} for the task {recipe.task}, got {recipe.model.readout}"
        )
    if recipe.train.shift and data.picture is None:
        raise UsageError(
            f"train.shift must be 0 for {data.name}, which has no pictures, got {recipe.train.shift}"
        )
    if recipe.train.truncate and recipe.model.bidirectional:
        raise UsageError(
            "train.truncate needs model.bidirectional=false: the backward direction begins at the last step, "
            "so that states cannot be carried on from span to span; set train.truncate to 0, or use windows"
        )
    if recipe.train.patience and data.validation is None:
        raise UsageError("train.patience requires a validation split: set split.validation above 0")


def _architecture(recipe: Recipe, data: Dataset, preprocessing: Preprocessing, task: Task) -> Architecture:
    model = recipe.model
    return Architecture(
        cell=model.cell,
        input_size=data.train.features,
        hidden_size=model.hidden_size,
        layers=model.layers,
        bidirectional=model.bidirectional,
        dropout=model.dropout,
        dropout_on=model.dropout_on,
        readout=model.readout,
        classes=task.output_size,
        embeddings=tuple(
            Embedding(each.feature, each.size, model.embedding_size or size_by_rule(each.size))
            for each in preprocessing.vocabularies
        ),
        static=preprocessing.static,
    )
