"""A whole run: from a recipe and a data set to a run folder with a judged model in it."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from scanline.data.download import Progress
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import Arrays
from scanline.data.splits import Dataset
from scanline.data.transforms.scaler import shift_and_scale
from scanline.device import choose_device
from scanline.errors import DataError, Interrupted, ModelError, UsageError
from scanline.metrics.calibration import fit_temperature
from scanline.metrics.classification import classification_metrics
from scanline.model.artifact import Model
from scanline.model.inference import Abandoned, predict_logits
from scanline.model.model_files import History, Tested
from scanline.recipe import Recipe
from scanline.storage.atomic import write_atomic
from scanline.storage.json_files import read_json, write_json
from scanline.training import checkpoint
from scanline.training.checkpoint import Keeper, Position
from scanline.training.environment import describe
from scanline.training.events import Evaluated, Event, Stepped
from scanline.training.interruption import Interruption
from scanline.training.preparation import longer, prepare, prepare_again
from scanline.training.run_directory import RunDirectory, claim
from scanline.training.state import TrainState, start
from scanline.training.step import Diverged
from scanline.training.tensorboard import Events
from scanline.training.trainer import train as train_loop

ENDED = ("finished", "stopped early")


def _digests(data: Dataset) -> dict[str, Any]:
    return {name: {"n": len(part), "sha256": part.fingerprint()} for name, part in data.parts.items()}


def _count(environment: dict[str, Any], path: Path) -> int:
    """How many training sequences the run began with that has this environment.json at `path`."""
    try:
        return int(environment["data"]["train"]["n"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ModelError(
            f"{path} is damaged: it does not say how many training sequences there were"
        ) from None


def _ended(folder: RunDirectory, plan: Recipe) -> str:
    """How the run has come to the end of `plan`, as its result says, or "": a run that goes on to more steps
    has the result of its former end until the new one."""
    told = read_json(folder.result).get("training") if folder.result.exists() else None
    training: dict[str, Any] = told if isinstance(told, dict) else {}
    status, steps = training.get("status"), training.get("steps")
    is_over = isinstance(steps, int) and steps >= plan.train.total_steps
    return status if status == "stopped early" or (status == "finished" and is_over) else ""


class Experiment:
    """One run, new or resumed. `records` trains it; `result` is what `result.json` holds afterwards.

    notes: lines that the user should read before training starts.
    """

    def __init__(
        self,
        folder: RunDirectory,
        recipe: Recipe,
        data: Dataset,
        form: Preprocessing,
        state: TrainState,
        tensorboard: bool,
    ) -> None:
        self.folder, self.recipe, self.data, self.preprocessing, self.state = (
            folder,
            recipe,
            data,
            form,
            state,
        )
        self.seconds = 0.0
        self._kept: tuple[int, bool] | None = None  # step of the newest checkpoint, and whether it is unseen
        self._kept_at, self._keeper = time.monotonic(), Keeper()
        # Of the run's own files when the step began that is looked at; None: nothing was written since.
        self._sizes: tuple[int, int] | None = None
        self.notes: list[str] = []
        self._has_begun = False
        self.events = Events(folder.path, state.step) if tensorboard else None
        self.result: dict[str, Any] = {}

    @classmethod
    def begin(
        cls,
        data: str | Arrays | None = None,
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
        run: str | os.PathLike[str] | None = None,
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
    ) -> Experiment:
        """A new run. Everything is checked before its folder is made.

        data: a data set's name or path, or arrays; None leaves it to the recipe. recipe: a name
        or a TOML file; None takes `digits` for the digits, `rows` for other pictures and `sequences` for all
        else. settings: dotted key to value. run: its
        folder; None takes the first free `runs/<data>-<recipe>-NNN`. tensorboard: write event files too.
        on_progress: told (received, total) bytes of a download.
        """
        device = choose_device(device)
        if tensorboard:
            Events.check()
        ready = prepare(data, recipe, settings, on_progress)
        plan, data_set = ready.recipe, ready.data
        state = start(plan, ready.architecture, *shift_and_scale(data_set, plan.input.scaling), device)
        backend, precision = state.network.recurrent.path(state.network.scale, training=True)
        computes = {"backend": backend, "precision": precision}
        environment = {"schema": 1, **describe(device), "computes": computes, "data": _digests(data_set)}
        path = Path(run) if run else claim(Path("runs"), f"{data_set.name}-{plan.name}")
        split = {"schema": 1, "parts": data_set.describe_split()}
        folder = RunDirectory.create(path, plan, environment, split)
        try:
            made = cls(folder, plan, data_set, ready.preprocessing, state, tensorboard)
            made.notes += data_set.notes
            for line in data_set.notes:
                folder.append_log(line)
            made._checkpoint()  # from here on there is always one to go on from
            made._keeper.wait()
        except BaseException:
            folder.discard()
            raise
        return made

    @classmethod
    def resume(
        cls,
        run: str | os.PathLike[str],
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
        data: Arrays | None = None,
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Experiment:
        """The run in the folder `run`, from its newest whole checkpoint on.

        data: those that it began with, if they are arrays of a program, which no folder holds. recipe,
        settings: as for `begin`; they may ask for more steps than the run's own, and for nothing else.
        Raises ModelError if there is none, DataError if the data are not those that it began with, UsageError
        if it has come to its end, or naming what may not be changed.
        """
        device = choose_device(device)
        if tensorboard:
            Events.check()
        folder, plan = RunDirectory.reopen(Path(run))
        try:
            then = read_json(folder.environment)
            wanted = longer(plan, recipe, settings or {}, str(folder.path), _count(then, folder.environment))
            return cls._resume(folder, plan, wanted, then, device, tensorboard, on_progress, data)
        except BaseException:
            folder.unlock()
            raise

    @classmethod
    def _resume(
        cls,
        folder: RunDirectory,
        before: Recipe,
        plan: Recipe,
        then: dict[str, Any],
        device: str,
        tensorboard: bool,
        on_progress: Progress | None,
        data: Arrays | None,
    ) -> Experiment:
        status = _ended(folder, plan)
        if status:
            raise UsageError(f"{folder.path} has {status}: nothing is left to do")
        ready = prepare_again(plan, data, on_progress)
        data_set = ready.data
        now = describe(device)
        if then.get("data") != _digests(data_set):
            raise DataError(
                f"{plan.data.name} is not the data that {folder.path} was trained on: its digest differs"
            )
        state, position, damaged, notes = checkpoint.load_newest(
            folder.checkpoints, ready.architecture, plan.train, device
        )
        changed = [
            key
            for key in ("threads", "device", "processor", "native", "packages", "code")
            if then.get(key) != now[key]
        ]
        if changed:
            notes.append(
                f"since this run began these have changed: {', '.join(changed)}; "
                "the weights may differ in their last bits from those of a run that was not interrupted"
            )
        for broken in damaged:  # else they would count as the newest
            checkpoint.remove(broken)
        folder.sweep()
        if plan != before:
            write_atomic(folder.recipe, plan.to_toml())
            notes.append(f"train: {before.train.total_steps:,} steps become {plan.train.total_steps:,}")
        folder.rewind(position.metrics_bytes, position.log_bytes)
        resumed = cls(folder, plan, data_set, ready.preprocessing, state, tensorboard)
        resumed.notes, resumed.seconds = notes, position.seconds
        resumed._kept = state.step, state.unseen
        return resumed

    def records(self) -> Iterator[Event]:
        """Train to the end, write everything into the run folder, and pass the loop's records on.

        To be asked for once. Raises Interrupted after Ctrl-C or SIGTERM, and Diverged if the loss becomes
        NaN; the folder then holds a whole checkpoint and the model that it makes.
        """
        if self._has_begun:
            raise UsageError(f"the records of {self.folder.path} were asked for before: go on by resuming it")
        self._has_begun = True
        try:
            with Interruption() as interruption:
                try:
                    yield from self._train(interruption)
                    self._checkpoint()
                    self._keeper.wait()
                    all_steps = self.state.step == self.recipe.train.total_steps
                    status = "finished" if all_steps else "stopped early"
                    self._save_model(status, interruption.is_overdue)
                    self.folder.sweep()  # what could not be taken away at once
                except Abandoned:
                    self._interrupted(interruption)
        except Diverged as error:
            raise self._diverged(error) from None
        finally:
            if self.events:
                self.events.close()
            self._keeper.close()
            self.folder.unlock()

    def _train(self, interruption: Interruption) -> Iterator[Event]:
        """Steps, checkpoints between them, and an end where one is wished for."""
        started = time.perf_counter() - self.seconds
        settings, best = self.recipe.train, False
        for record in train_loop(self.state, self.recipe, self.data, interruption.is_overdue):
            self.seconds = time.perf_counter() - started
            if not isinstance(record, Stepped) and self._sizes is None:
                self._sizes = self.folder.sizes()
            self._write(record)
            best = best or (isinstance(record, Evaluated) and record.best)
            if not isinstance(record, Stepped):
                yield record
                continue
            self._sizes = None
            self._keeper.check()
            waited = time.monotonic() - self._kept_at
            late = 0 < settings.checkpoint_seconds <= waited
            if best or late or record.step % settings.checkpoint_every == 0:
                self._checkpoint()
                best = False
            yield record
            if interruption.signal_number is not None and not self.state.done(self.recipe):
                self._interrupted(interruption)

    def _interrupted(self, interruption: Interruption) -> NoReturn:
        """Save where the run stands, and the model that it makes. Raises Interrupted."""
        self._checkpoint()
        self._keeper.wait()
        self._save_model("interrupted")
        raise Interrupted(self._how_to_go_on(), interruption.signal_number or 2)

    def _write(self, record: Event) -> None:
        if isinstance(record, Stepped):
            return
        kind = {"event": type(record).__name__.lower()}
        self.folder.append_metrics(kind | dataclasses.asdict(record) | {"seconds": round(self.seconds, 3)})
        self.folder.append_log(record.line())
        if self.events:
            self.events.write(record)

    def _checkpoint(self) -> None:
        """Have saved where the run stands, unless the newest checkpoint has just that."""
        stands = self.state.step, self.state.unseen
        if self._kept == stands:
            return
        metrics, log = self._sizes or self.folder.sizes()
        position = Position(metrics_bytes=metrics, log_bytes=log, seconds=self.seconds)
        packed, keep = checkpoint.pack(self.state, position), self.recipe.train.keep_checkpoints

        def write() -> None:
            self.folder.sync()  # before the checkpoint that counts their bytes
            checkpoint.save(self.folder.checkpoints, packed, keep)

        self._keeper.save(write)
        self._kept, self._kept_at = stands, time.monotonic()

    def _how_to_go_on(self) -> str:
        step, total = self.state.step, self.recipe.train.total_steps
        return (
            f"stopped at step {step} of {total}; the model as it is now can be used; "
            f"go on with `scanline train --resume --run {self.folder.path}`"
        )

    def _diverged(self, error: Diverged) -> Diverged:
        """Go back to the last good checkpoint, and say so."""
        self._keeper.wait()
        architecture = self.state.network.architecture
        device = self.state.network.scale.device.type
        self.state, *_ = checkpoint.load_newest(
            self.folder.checkpoints, architecture, self.recipe.train, device
        )
        self._save_model("diverged")
        kept = f"the last good checkpoint, of step {self.state.step}, is kept as {self.folder.model}"
        told = Diverged(error.step, f"{error.what}; {kept}", error.rate)
        self.folder.append_log(str(told))
        return told

    def _save_model(self, status: str, abandon: Callable[[], bool] | None = None) -> None:
        """Write the bundle and the result. A run that has come to its end is tested: once, here.

        abandon: as for `predict_logits`.
        """
        self.folder.sweep()  # now, for once there is a result nobody goes on with the run, and sweeps
        if self.state.best_weights and status in ENDED:
            self.state.network.load_state_dict(self.state.best_weights)
        network = self.state.network.eval()
        data = self.data.title
        parts = self.data.parts if status in ENDED else {}
        logits = {
            name: predict_logits(network, part, abandon=abandon)
            for name, part in parts.items()
            if name != "train"
        }
        temperature = None
        if "validation" in logits:
            temperature = fit_temperature(logits["validation"], parts["validation"].targets)
        figures = {
            name: classification_metrics(logits[name], parts[name]) if name in logits else None
            for name in ("test", "validation")
            if status in ENDED
        }
        history = self._history(figures.get("test"))
        made = Model(network, self.data.train.classes, self.preprocessing, data, temperature, history)
        made.save(self.folder.model)
        seen = self.state.step * self.recipe.train.batch_size
        backend, precision = network.recurrent.path(network.scale, training=True)
        self.result = {"schema": 1, "recipe": self.recipe.name, "data": data} | figures
        self.result["training"] = {
            "status": status,
            "samples_seen": seen,
            "steps": self.state.step,
            "seconds": round(self.seconds, 3),
            "samples_per_s": round(seen / self.seconds, 1) if self.seconds else None,
            "backend": backend,
            "precision": precision,
            "device": network.scale.device.type,
        }
        write_json(self.folder.result, self.result)

    def _history(self, test: dict[str, Any] | None) -> History:
        """What the bundle tells of its origin. test: the figures of the test part."""
        kept = test and {key: test[key] for key in Tested.model_fields}
        return History(
            recipe=self.recipe.name,
            seed=self.recipe.seed,
            licence=self.recipe.licence,
            parts=_digests(self.data),
            test=kept and Tested.model_validate(kept),
        )
