"""What Python programs call: `scanline.train`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scanline.data.arrays import Arrays
from scanline.errors import UsageError
from scanline.evaluation.model import Model, load
from scanline.experiment import Experiment
from scanline.training.records import Stepped


@dataclasses.dataclass(frozen=True)
class Run:
    """What `scanline.train` gives back. path: the run folder. result: the content of `result.json`."""

    path: Path
    result: dict[str, Any]

    @property
    def model(self) -> Model:
        """The trained model, read from the run folder."""
        return load(self.path)


def train(
    data: str | os.PathLike[str] | Arrays | None = None,
    *,
    recipe: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    run: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: str | os.PathLike[str] | None = None,
    tensorboard: bool = False,
    log: Callable[[str], None] | None = print,
) -> Run:
    """Train, test and keep a classifier; the same as `scanline train`.

    data: a data set's name or path, or `scanline.Arrays(values, labels)`; None takes MNIST if it can be had,
    otherwise the small digits.
    recipe: a name or a TOML file. settings: dotted key to value, {"train.batch_size": 64}. run: the folder
    to make. seed: short for settings["seed"]. resume: a run folder to go on with; then nothing else may be
    set, but a run that began with arrays needs them again. log: takes each line that is worth reading; None
    is silent.
    Raises ScanlineError: UsageError, DataError, ModelError, Diverged. Ctrl-C or SIGTERM in the main thread
    ends the step, saves the run and raises Interrupted, a ScanlineError too; a second one acts at once.
    """
    if resume is not None:
        arrays = data if isinstance(data, Arrays) else None
        if any(value is not None for value in (None if arrays else data, recipe, settings, run, seed)):
            raise UsageError(
                "resume takes data, recipe, settings, run and seed from the run folder: give none of them"
            )
        experiment = Experiment.resume(resume, device, tensorboard, data=arrays)
    else:
        changes = dict(settings or {}) | ({} if seed is None else {"seed": seed})
        experiment = Experiment.begin(
            data if data is None or isinstance(data, Arrays) else os.fspath(data),
            None if recipe is None else os.fspath(recipe),
            changes,
            run,
            device,
            tensorboard,
        )
    say = log or (lambda line: None)
    for note in experiment.notes:
        say(note)
    for record in experiment.records():
        if not isinstance(record, Stepped):
            say(record.line())
    return Run(experiment.folder.path, experiment.result)
