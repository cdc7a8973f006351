"""Trains the model that is kept: by the settings of a trial, on all sequences but those of the test split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.partition import partition
from scanline.errors import Interrupted
from scanline.recipe import Recipe, parse
from scanline.search.definition import Definition
from scanline.search.records import TrialRecord
from scanline.training.run import TrainingRun
from scanline.training.run_directory import RunDirectory


def final_recipe(definition: Definition, trial: TrialRecord, data: Dataset, rank: int = 0) -> Recipe:
    """Return the recipe of a final model.

    Args:
        definition: The study.
        trial: The trial.
        data: The data set as it was read. The splits of a packed one cannot be joined.
        rank: Rank of the trial. The model of rank 0 is tested; the others have seeds of their own.
    """
    # By number, not by rank: a longer search may give the trial another rank.
    seed = {"seed": definition.base().seed + 1 + trial.number} if rank else {}
    recipe = parse(definition.recipe, "the recipe of the study", dict(trial.settings) | seed)
    # Early stopping needs a validation split.
    joins = not recipe.train.patience and all(isinstance(e, MemorySource) for e in data.splits.values())
    split = recipe.split.model_copy(update={"use_validation": not joins, "use_test": rank == 0})
    return recipe.model_copy(update={"split": split})


def train_final(
    definition: Definition,
    trial: TrialRecord,
    path: Path,
    data: Dataset,
    rank: int,
    stop: Callable[[], bool],
    device: str = "cpu",
) -> None:
    """Train a model on training and validation sequences, or resume that.

    Args:
        definition: The study.
        trial: The trial.
        path: Run directory of the model; a finished run stays as it is.
        data: The data set as it was read.
        rank: Rank of the trial; for rank 0 `data` must have the test split.
        stop: Asked after each step whether to pause.
        device: Device to compute on.

    Raises:
        Interrupted: If `stop` returned True, or after a signal.
    """
    recipe = final_recipe(definition, trial, data, rank)
    split = partition(data, recipe.split, recipe.input.missing)
    if (path / "recipe.toml").is_file() and any((path / "checkpoints").glob("step-*")):
        result = RunDirectory(path).read_result()
        if result is not None and result.training.has_ended:
            return
        run = TrainingRun.resume(split, run=path, device=device)
    else:
        run = TrainingRun.start(recipe, split, path, device)
    for _ in run.events(lambda step: stop()):
        pass
    if not run.finished().training.has_ended:
        raise Interrupted("stopped", 15)
