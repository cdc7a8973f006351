"""What a user asks to search, and the study that it amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from scanline import recipe as recipes
from scanline.clusters import check_reachable
from scanline.data.dataset import ALL, Dataset
from scanline.data.download import Progress
from scanline.data.partition import partition
from scanline.data.readers.arrays import Arrays
from scanline.errors import UsageError
from scanline.recipe import Recipe
from scanline.search.default_space import default_space
from scanline.search.definition import GENERATION, Definition
from scanline.search.space import Space, read_space
from scanline.search.storage import MEMORY
from scanline.search.validation import choose_validation
from scanline.search.worker import data_digest
from scanline.training.inputs import read_unsplit
from scanline.training.preparation import Prepared, prepare

Engine = Literal["local", "ray"]
STUDIES = "studies"  # folder of all studies


@dataclass(frozen=True)
class Request:
    """What to search.

    Attributes:
        data: Name or path of a data set, or arrays; None leaves it to the recipe.
        recipe: Name of a recipe or a TOML file, which may have a table [search].
        settings: Changes of the recipe, dotted key to value.
        space: What is searched, as in a table [search]; None: the table of the recipe, or a default space.
        trials: Number of trials; None: no limit.
        minutes: Duration of the search; None: no limit.
        workers: Number of processes on this machine; 0: trials are trained in this one. On a cluster, the
            number of workers; 0: one for each core.
        study: Name of the study in `studies`, or its folder; None takes the first free name.
        storage: Address of a database; "memory": none, for a search in this process; None: SQLite in the
            study's folder.
        seed: Seed of the search.
        folds: Number of folds to validate on; 0: one split; None: chosen by the data.
        ordered: Whether the trials must not depend on the number of workers.
        ensemble: Number of best trials whose settings make an ensemble; 0: none.
        baselines: Whether plain baselines are measured at the end.
        device: Device to compute on.
        engine: "local", or "ray" for workers on a Ray cluster.
        address: The cluster: "local", "auto" or "HOST:PORT".
    """

    data: str | Arrays | None = None
    recipe: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    space: Mapping[str, object] | None = None
    trials: int | None = None
    minutes: float | None = None
    workers: int = 1
    study: str | None = None
    storage: str | None = None
    seed: int = 0
    folds: int | None = None
    ordered: bool = True
    ensemble: int = 0
    baselines: bool = True
    device: str = "auto"
    engine: Engine = "local"
    address: str = "auto"

    @property
    def in_process(self) -> bool:
        """Whether trials are trained in this process."""
        return self.workers == 0 and self.engine == "local"

    def check(self) -> None:
        """Raise UsageError if a value is not valid, or two contradict each other."""
        if self.trials is None and self.minutes is None:
            raise UsageError("expected the size of the search: --trials or --minutes")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials must be at least 1, got {self.trials}")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise UsageError(f"--minutes must be above 0, got {self.minutes}")
        if self.workers < 0:
            raise UsageError(f"--workers must be at least 1, got {self.workers}")
        if self.study is not None and Path(self.study).name in ("", ".."):
            raise UsageError(f"--study must be a name or the path of a folder, got {self.study!r}")
        if self.ensemble < 0 or self.ensemble == 1:
            raise UsageError(f"--ensemble must be 0 or at least 2, got {self.ensemble}")
        if self.storage == MEMORY and not self.in_process:
            raise UsageError(
                f"--storage {MEMORY} is for a search in this process, got {self.workers} workers"
            )
        if self.engine == "ray":
            check_reachable(self.address)
        if self.folds is not None and (self.folds == 1 or not 0 <= self.folds <= 100):
            raise UsageError(f"--folds must be 0 or from 2 to 100, got {self.folds}")
        for key in self.settings:
            if key in ("split.folds", "split.fold", "split.use_test", "split.use_validation"):
                raise UsageError(f"{key} must not be set for a search, which sets it itself")


def define(request: Request, on_progress: Progress | None = None) -> tuple[Definition, Dataset]:
    """Return the study that a request asks for, and the data without their test split.

    Args:
        request: What to search.
        on_progress: Called with (received, total) bytes of a download.

    Raises:
        UsageError: If the recipe, a setting or the space is not valid, or nothing is left to validate on.
        DataError: If the data cannot be read.
    """
    settings = dict(request.settings) | {"split.use_test": False}
    recipe, data = read_unsplit(request.data, request.recipe, settings, on_progress)
    tree, where = request.space, "space"
    if tree is None and request.recipe is not None:
        tree, where = recipes.load_search(request.recipe), request.recipe
    # What the search decides itself.
    own = {"use_test": True, "use_validation": True, "folds": 0, "fold": 0}
    recipe = recipe.model_copy(update={"split": recipe.split.model_copy(update=own)})
    if request.ensemble and recipe.task != "classification":
        raise UsageError(f"--ensemble requires a classification, got the task {recipe.task}")
    folds, fraction = choose_validation(recipe, data, request.folds)
    definition = Definition(
        data=data.title,
        address=data.address,
        digest=data_digest(data),
        n_train=_count(recipe, data),
        task=recipe.task,
        metric="",
        recipe=recipe.to_toml(),
        space=Space({}),
        seed=request.seed,
        folds=folds,
        validation=fraction,
        ordered=request.ordered,
        generation=GENERATION,
        # Trials in this process use its threads, which other parts of a program may use, too.
        threads=torch.get_num_threads() if request.in_process else 1,
    )
    # The recipe itself must work: nothing is written before.
    trial = definition.trial_recipe({})
    split = partition(data, trial.split, trial.input.missing)
    prepared = prepare(trial, split)
    if split.validation is None:
        raise UsageError("a search requires a validation split: set split.validation above 0, or --folds")
    space = default_space(recipe, prepared) if tree is None else read_space(tree, recipe, where)
    return replace(definition, space=space, metric=_metric(prepared)), data


def _metric(prepared: Prepared) -> str:
    """Return the name of the task's score."""
    task = prepared.task
    targets = torch.from_numpy(task.encode(prepared.data.train))
    # Any outputs do.
    outputs = torch.zeros((len(targets), task.output_size), dtype=torch.float64, device="cpu")
    return task.score(outputs, targets).name


def _count(recipe: Recipe, data: Dataset) -> int:
    split = recipe.split.model_copy(update={"use_test": False, "use_validation": False})
    whole = data if ALL not in data.splits else partition(data, split, recipe.input.missing)
    return sum(len(each) for name, each in whole.splits.items() if name != "test")
