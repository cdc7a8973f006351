"""What Python programs call: `scanline.train`, `scanline.explain`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scanline.data.readers.arrays import Arrays
from scanline.errors import UsageError
from scanline.explanation.explain import explain as explain_values
from scanline.explanation.explanation import Explanation
from scanline.model.artifact import Model, load
from scanline.reporting.notebooks import run_html
from scanline.reporting.report import report
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun


@dataclasses.dataclass(frozen=True)
class Run:
    """What `scanline.train` gives back. path: the run folder. result: the content of `result.json`."""

    path: Path
    result: dict[str, Any]

    @property
    def model(self) -> Model:
        """The trained model, read from the run folder."""
        return load(self.path)

    def report(self, output: str | os.PathLike[str] | None = None) -> Path:
        """Write the run's report, by default into its folder; `scanline.report` can do more."""
        return report(self.path, output)

    def _repr_html_(self) -> str:
        return run_html(self.path, self.result)


def explain(
    model: Model | str | os.PathLike[str], values: Any, *, name: str = "the given sequence"
) -> Explanation:
    """Why a model answers as it does for one sequence, step by step and gate by gate.

    model: as `scanline.load` gives it, or its run folder. values: (T, F), or a picture (height, width) or
    (height, width, 3), as for `Model.predict`. name: what to call it.
    Raises DataError naming the expected and the found shape.
    """
    return explain_values(model if isinstance(model, Model) else load(Path(model)), values, name)


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
    to make. seed: short for settings["seed"]. resume: a run folder to go on with; then settings may ask for
    more steps, nothing else may change, and a run that began with arrays needs them again. log: takes each
    line that is worth reading; None is silent.
    Raises ScanlineError: UsageError, DataError, ModelError, Diverged. Ctrl-C or SIGTERM in the main thread
    ends the step, saves the run and raises Interrupted, a ScanlineError too; a second one acts at once.
    """
    changes = dict(settings or {}) | ({} if seed is None else {"seed": seed})
    if resume is not None:
        arrays = data if isinstance(data, Arrays) else None
        if any(value is not None for value in (None if arrays else data, run)):
            raise UsageError("resume takes data and run from the run folder: give none of them")
    start = TrainingRun.begin if resume is None else TrainingRun.resume
    training = start(
        data if data is None or isinstance(data, Arrays) else os.fspath(data),
        None if recipe is None else os.fspath(recipe),
        changes,
        run if resume is None else resume,
        device,
        tensorboard,
    )
    say = log or (lambda line: None)
    for note in training.notes:
        say(note)
    for event in training.events():
        if not isinstance(event, Stepped):
            say(event.line())
    return Run(training.directory.path, training.finished().to_json())
