"""A whole run: from a recipe and a data set to a run folder with a judged model in it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scanline import __version__, bundle
from scanline import recipe as recipes
from scanline.bundle import Bundle
from scanline.data import catalog
from scanline.data.default import FALLBACK, load_or_default
from scanline.data.download import Progress
from scanline.data.splits import DataSet
from scanline.data.views import cut_all
from scanline.device import choose_device
from scanline.errors import DataError, Interrupted, UsageError
from scanline.evaluation.metrics import judge
from scanline.evaluation.model import Model, load
from scanline.files import read_json, write_json
from scanline.model.classifier import Architecture
from scanline.model.inference import predict_logits
from scanline.recipe import Recipe
from scanline.run import checkpoint
from scanline.run.environment import describe
from scanline.run.folder import RunFolder, free_name
from scanline.run.interruption import Interruption
from scanline.run.tensorboard import Events
from scanline.training.loop import train as train_loop
from scanline.training.records import Record, Stepped
from scanline.training.state import TrainState, start
from scanline.training.step import Diverged


def _architecture(recipe: Recipe, data: DataSet) -> Architecture:
    """The network that `recipe` makes for `data`. Raises UsageError if the two do not fit."""
    model, known = recipe.model, len(data.train.classes)
    if model.classes not in (0, known):
        raise UsageError(
            f"model.classes must be 0 or {known}, as many as {data.name} has, got {model.classes}"
        )
    if recipe.train.shift and data.picture is None:
        raise UsageError(
            f"train.shift must be 0 for {data.name}, which has no pictures, got {recipe.train.shift}"
        )
    return Architecture(
        cell=model.cell,
        input_size=data.train.features,
        hidden_size=model.hidden_size,
        layers=model.layers,
        bidirectional=model.bidirectional,
        dropout=model.dropout,
        dropout_on=model.dropout_on,
        readout=model.readout,
        classes=known,
    )


def _digests(data: DataSet) -> dict[str, Any]:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: {"n": len(part), "sha256": part.digest()} for name, part in parts.items()}


class Experiment:
    """One run, new or resumed. `records` trains it; `result` is what `result.json` holds afterwards."""

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        data: DataSet,
        state: TrainState,
        seconds: float,
        notes: list[str],
        tensorboard: bool,
    ) -> None:
        self.folder, self.recipe, self.data, self.state = folder, recipe, data, state
        self.seconds = seconds
        self.notes = notes  # lines that the user should read before training starts
        self.events = Events(folder.path) if tensorboard else None
        self.result: dict[str, Any] = {}

    @classmethod
    def begin(
        cls,
        data: str | None = None,
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
        run: str | Path | None = None,
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
    ) -> Experiment:
        """A new run. Everything is checked before its folder is made.

        data: a data set's name or path; None leaves it to the recipe. recipe: a name or a TOML file; None
        takes `digits` for the digits and `rows` for all else. settings: dotted key to value. run: its
        folder; None takes the first free `runs/<data>-<recipe>-NNN`. tensorboard: write event files too.
        on_progress: told (received, total) bytes of a download.
        """
        chosen_device = choose_device(device)
        plan = recipes.load(recipe or recipes.DEFAULT, settings)
        data_set, note = load_or_default(data or plan.data.name, on_progress)
        if recipe is None and data_set.name == FALLBACK:
            plan = recipes.load(FALLBACK, settings)
        named = data_set.name in catalog.names()
        source = data_set.name if named else str(Path(data_set.name).resolve())  # good from any folder
        plan = plan.model_copy(update={"data": plan.data.model_copy(update={"name": source})})
        data_set = cut_all(data_set, plan.data.features)
        architecture = _architecture(plan, data_set)
        path = Path(run) if run else free_name(Path("runs"), f"{Path(source).name}-{plan.name}")
        environment = {"schema": 1, **describe(chosen_device), "data": _digests(data_set)}
        state = start(plan, architecture, data_set.scale, chosen_device)
        if tensorboard:
            Events.check()
        folder = RunFolder.create(path, plan, environment)
        return cls(folder, plan, data_set, state, 0.0, [note] if note else [], tensorboard)

    @classmethod
    def resume(
        cls,
        run: str | Path,
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
    ) -> Experiment:
        """The run in the folder `run`, from its newest whole checkpoint on."""
        folder, plan = RunFolder.reopen(Path(run))
        try:
            return cls._resume(folder, plan, choose_device(device), tensorboard, on_progress)
        except BaseException:
            folder.unlock()
            raise

    @classmethod
    def _resume(
        cls, folder: RunFolder, plan: Recipe, device: str, tensorboard: bool, on_progress: Progress | None
    ) -> Experiment:
        data_set = cut_all(load_or_default(plan.data.name, on_progress)[0], plan.data.features)
        environment = read_json(folder.environment)
        if environment.get("data") != _digests(data_set):
            raise DataError(
                f"{plan.data.name} is not the data that {folder.path} was trained on: its digest differs"
            )
        architecture = _architecture(plan, data_set)
        state, extra, notes = checkpoint.load_newest(folder.checkpoints, architecture, plan.train, device)
        if state.done(plan):
            raise UsageError(f"{folder.path} is finished at step {state.step}: nothing is left to do")
        folder.rewind(int(extra["metrics_bytes"]))
        return cls(folder, plan, data_set, state, float(extra["seconds"]), notes, tensorboard)

    def records(self) -> Iterator[Record]:
        """Train to the end, write everything into the run folder, and pass the loop's records on.

        Raises Interrupted after Ctrl-C or SIGTERM, and Diverged if the loss becomes NaN; the folder then
        holds a whole checkpoint.
        """
        for note in self.notes:
            self.folder.append_log(note)
        if self.state.step == 0:
            self._checkpoint()
        started = time.perf_counter() - self.seconds
        try:
            with Interruption() as interruption:
                for record in train_loop(self.state, self.recipe, self.data):
                    self.seconds = time.perf_counter() - started
                    self._write(record)
                    if isinstance(record, Stepped) and record.step % self.recipe.train.checkpoint_every == 0:
                        self._checkpoint()
                    yield record
                    if isinstance(record, Stepped) and interruption.signal_number is not None:
                        self._finish("interrupted")
                        raise Interrupted(self._how_to_go_on(), interruption.signal_number)
            self._finish("finished" if self.state.step == self.recipe.train.total_steps else "stopped early")
        except Diverged as error:
            kept = checkpoint.newest(self.folder.checkpoints)
            what = f"{error.what}; the last good checkpoint is {kept}"
            self.folder.append_log(what)
            raise Diverged(error.step, what, error.rate) from None
        finally:
            if self.events:
                self.events.close()
            self.folder.unlock()

    def _write(self, record: Record) -> None:
        if isinstance(record, Stepped):
            return
        kind = {"event": type(record).__name__.lower()}
        self.folder.append_metrics(kind | dataclasses.asdict(record) | {"seconds": round(self.seconds, 3)})
        self.folder.append_log(record.line())
        if self.events:
            self.events.write(record)

    def _checkpoint(self) -> None:
        extra = {"metrics_bytes": self.folder.metrics.stat().st_size, "seconds": self.seconds}
        checkpoint.save(self.folder.checkpoints, self.state, extra)

    def _how_to_go_on(self) -> str:
        step, total = self.state.step, self.recipe.train.total_steps
        return (
            f"stopped at step {step} of {total}; the model as it is now can be used; "
            f"go on with `scanline train --resume --run {self.folder.path}`"
        )

    def _finish(self, status: str) -> None:
        """Save the last checkpoint, the bundle and the result; the test part is read here, once.

        An interrupted run is not tested: it is not done yet.
        """
        self._checkpoint()
        if status == "stopped early":
            self.state.classifier.load_state_dict(self.state.best_weights)
        classifier = self.state.classifier.eval()
        data = Path(self.recipe.data.name).name  # a bundle travels: no folder of this machine goes with it
        made = Bundle(classifier, self.data.train.classes, self.data.picture, data)
        bundle.save(made, self.folder.model, __version__)
        seen = self.state.step * self.recipe.train.batch_size
        self.result = {"schema": 1, "recipe": self.recipe.name, "data": data}
        if status != "interrupted":
            for name, part in (("test", self.data.test), ("validation", self.data.validation)):
                self.result[name] = judge(predict_logits(classifier, part), part.labels, part.classes)
        self.result["training"] = {
            "status": status,
            "samples_seen": seen,
            "steps": self.state.step,
            "seconds": round(self.seconds, 3),
            "samples_per_s": round(seen / self.seconds, 1) if self.seconds else None,
            "backend": "torch",
            "precision": "float32",
            "device": classifier.scale.device.type,
        }
        write_json(self.folder.result, self.result)


@dataclasses.dataclass(frozen=True)
class Run:
    """What `scanline.train` gives back. result: the content of `result.json`."""

    path: Path
    result: dict[str, Any]

    @property
    def model(self) -> Model:
        """The trained model, read from the run folder."""
        return load(self.path)


def train(
    data: str | None = None,
    *,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: str | Path | None = None,
    tensorboard: bool = False,
    log: Callable[[str], None] | None = print,
) -> Run:
    """Train, test and keep a classifier; the same as `scanline train`.

    data: a data set's name or path; None takes MNIST if it can be had, otherwise the small digits.
    recipe: a name or a TOML file. settings: dotted key to value, {"train.batch_size": 64}. run: the folder
    to make. seed: short for settings["seed"]. resume: a run folder to go on with; then nothing else may be
    set. log: takes each line that is worth reading; None is silent.
    Raises ScanlineError: UsageError, DataError, ModelError, Diverged, or Interrupted after Ctrl-C.
    """
    if resume is not None:
        if any(value is not None for value in (data, recipe, settings, run, seed)):
            raise UsageError(
                "resume takes data, recipe, settings, run and seed from the run folder: give none of them"
            )
        experiment = Experiment.resume(resume, device, tensorboard)
    else:
        changes = dict(settings or {}) | ({} if seed is None else {"seed": seed})
        experiment = Experiment.begin(data, recipe, changes, run, device, tensorboard)
    say = log or (lambda line: None)
    for note in experiment.notes:
        say(note)
    for record in experiment.records():
        if not isinstance(record, Stepped):
            say(record.line())
    return Run(experiment.folder.path, experiment.result)
