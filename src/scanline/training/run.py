"""A training run: from a recipe and a data set to a run directory with a tested model in it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from scanline.data.dataset import Dataset
from scanline.data.download import Progress
from scanline.data.readers.arrays import Arrays
from scanline.data.transforms.scaler import Scaler
from scanline.device import choose_device
from scanline.errors import DataError, Interrupted, ModelError, UsageError
from scanline.model.predictor import Abandoned
from scanline.recipe import Recipe
from scanline.storage.atomic import write_atomic
from scanline.training import checkpoint
from scanline.training.checkpoint_folders import remove
from scanline.training.completion import write_outcome
from scanline.training.environment import describe
from scanline.training.events import Event, Stepped
from scanline.training.inputs import check_same_data, extend, read_again, read_inputs
from scanline.training.interruption import Interruption
from scanline.training.preparation import Prepared, prepare
from scanline.training.recorder import Recorder
from scanline.training.run_directory import RunDirectory, claim
from scanline.training.run_files import Computation, Environment, Machine, Result, SplitDigest, SplitFile
from scanline.training.state import TrainState, initial_state
from scanline.training.step import Diverged
from scanline.training.team import Team
from scanline.training.tensorboard import TensorBoardWriter
from scanline.training.trainer import Trainer

RunPath = str | os.PathLike[str] | None


class TrainingRun:
    """A run, new (`begin`) or resumed (`resume`), which `events` trains to its end.

    Attributes:
        directory: The run directory, locked until the run ends.
        prepared: Recipe, data, preprocessing and architecture.
        state: The training state.
        team: The processes that train together.
        notes: Messages for the user, to be shown before training.
        seconds: Duration of the training so far.
        result: Content of `result.json`; None until the run has ended.
    """

    def __init__(
        self,
        directory: RunDirectory,
        prepared: Prepared,
        state: TrainState,
        digests: dict[str, SplitDigest],
        recorder: Recorder,
        team: Team,
        seconds: float = 0.0,
    ) -> None:
        self.directory, self.prepared, self.state = directory, prepared, state
        self.seconds, self.team = seconds, team
        self.notes: list[str] = []
        self.result: Result | None = None
        self._digests, self._recorder = digests, recorder
        self._has_begun = False

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.prepared.recipe

    @property
    def data(self) -> Dataset:
        """The splits, as steps of the network."""
        return self.prepared.data

    @classmethod
    def begin(
        cls,
        data: str | Arrays | None = None,
        recipe: str | None = None,
        settings: Mapping[str, object] | None = None,
        run: RunPath = None,
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
        team: Team | None = None,
    ) -> TrainingRun:
        """Start a new run. Everything is checked before its directory is created.

        Args:
            data: Name or path of a data set, or arrays; None leaves it to the recipe.
            recipe: Name of a recipe or a TOML file. None takes `digits` for the digits, `rows` for other
                pictures, `audio` for recordings and `sequences` for everything else.
            settings: Changes of the recipe, dotted key to value.
            run: The run directory; None takes the first free `runs/<data>-<recipe>-NNN`.
            device: "auto", "cpu", "cuda" or "cuda:N".
            tensorboard: Whether to write event files.
            on_progress: Called with (received, total) bytes of a download.
            team: The processes that train together; None: this one alone.

        Raises:
            UsageError: If the request is not valid or the directory exists.
            DataError: If the data cannot be read.
        """
        device = choose_device(device)
        if tensorboard:
            TensorBoardWriter.check_installed()
        plan, dataset = read_inputs(data, recipe, settings, on_progress)
        return cls.start(plan, dataset, run, device, tensorboard, team)

    @classmethod
    def start(
        cls,
        recipe: Recipe,
        data: Dataset,
        run: RunPath = None,
        device: str = "auto",
        tensorboard: bool = False,
        team: Team | None = None,
    ) -> TrainingRun:
        """Start a new run on data that have been read.

        Args:
            recipe: The recipe.
            data: The data set as it was read for this recipe and split.
            run: As for `begin`, like the others.
            device: As for `begin`.
            tensorboard: As for `begin`.
            team: As for `begin`.

        Raises:
            UsageError: If recipe and data do not fit together or the directory exists.
            DataError: If the data cannot be used.
        """
        device = choose_device(device)
        prepared = prepare(recipe, data)
        team = _check_size(team, prepared.recipe)
        plan, splits = prepared.recipe, prepared.data
        scaler = Scaler.fit(splits.train, plan.input.scaling, splits.full_scale)
        state = initial_state(plan, prepared.architecture, scaler.shift, scaler.scale, device)
        digests = _digests(prepared)
        # The run directory is created last, after the recipe and the data have been checked.
        path = Path(run) if run else claim(Path("runs"), f"{splits.name}-{plan.name}")
        split = SplitFile.model_validate({"schema": 1, "parts": splits.describe_splits()})
        directory = RunDirectory.create(path, plan, _environment(state, device, digests), split)
        try:
            writer = TensorBoardWriter(path, 0) if tensorboard else None
            recorder = Recorder(directory, plan.train, writer)
            started = cls(directory, prepared, state, digests, recorder, team)
            started.notes += prepared.notes
            for line in prepared.notes:
                directory.append_log(line)
            # From here on there is always a valid checkpoint to resume from.
            started._recorder.save(state, started.seconds)
            started._recorder.wait()
        except BaseException:
            # Nothing has been trained yet: an empty run would only be in the way of the next attempt.
            directory.discard()
            raise
        return started

    @classmethod
    def resume(
        cls,
        data: str | Arrays | Dataset | None = None,
        recipe: str | None = None,
        settings: Mapping[str, object] | None = None,
        run: RunPath = None,
        device: str = "auto",
        tensorboard: bool = False,
        on_progress: Progress | None = None,
        team: Team | None = None,
    ) -> TrainingRun:
        """Resume a run from its newest valid checkpoint.

        Args:
            data: The arrays that the run began with, if it did; other data are found by its recipe, and may
                be named again; or the data set as it was read for its recipe and split.
            recipe: As for `begin`; it may ask for more steps than the run's own recipe, nothing else.
            settings: Changes of the recipe, likewise.
            run: The run directory.
            device: "auto", "cpu", "cuda" or "cuda:N".
            tensorboard: Whether to write event files.
            on_progress: Called with (received, total) bytes of a download.
            team: The processes that train together; None: this one alone.

        Raises:
            ModelError: If there is no run or no valid checkpoint.
            DataError: If the data are not those that the run began with.
            UsageError: If the run has ended, or the request changes more than the number of steps.
        """
        if run is None:
            raise UsageError("expected a run to resume")
        device = choose_device(device)
        if tensorboard:
            TensorBoardWriter.check_installed()
        # Locked from here on, so no other process can train or sweep while the checkpoint is read.
        directory, before = RunDirectory.reopen(Path(run))
        try:
            then = _require_environment(directory)
            if isinstance(data, str):
                check_same_data(before, data, directory.path)
                data = None
            trained = then.data["train"]
            plan = extend(before, recipe, settings, directory.path, trained.windows or trained.n)
            team = _check_size(team, plan)
            _check_unfinished(directory, plan)
            dataset = data if isinstance(data, Dataset) else read_again(plan, data, on_progress)
            return cls._resume(directory, before, prepare(plan, dataset), then, device, tensorboard, team)
        except BaseException:
            directory.unlock()
            raise

    @classmethod
    def _resume(
        cls,
        directory: RunDirectory,
        before: Recipe,
        prepared: Prepared,
        then: Environment,
        device: str,
        tensorboard: bool,
        team: Team,
    ) -> TrainingRun:
        """Load the newest checkpoint and make the directory look as it did when that was written."""
        recorded = {each.sha256 for each in then.data.values()}
        plan, digests = prepared.recipe, _digests(prepared, recorded)
        # With other data the resumed run would not have the bits of an uninterrupted one.
        if then.data != digests:
            raise DataError(
                f"{plan.data.name} is not the data that {directory.path} was trained on: its digest differs"
            )
        loaded = checkpoint.load_newest(directory.checkpoints, prepared.architecture, plan.train, device)
        notes = loaded.notes + _changes(then, describe(device), plan.train.slices)
        for damaged in loaded.damaged:  # or they would count as the newest ones
            remove(damaged)
        directory.sweep()
        if plan != before:
            write_atomic(directory.recipe, plan.to_toml())
            notes.append(f"train: {before.train.total_steps:,} steps become {plan.train.total_steps:,}")
        position, state = loaded.position, loaded.state
        # Lines after the checkpoint are written again when their steps are made again.
        directory.truncate_logs(position.metrics_bytes, position.log_bytes)
        writer = TensorBoardWriter(directory.path, state.step) if tensorboard else None
        recorder = Recorder(directory, plan.train, writer, (state.step, state.pending_evaluation))
        resumed = cls(directory, prepared, state, digests, recorder, team, position.seconds)
        resumed.notes = notes
        return resumed

    def events(self, pause: Callable[[int], bool] | None = None) -> Iterator[Event]:
        """Train to the end, record everything in the run directory, and yield the events.

        This can be called once.

        Args:
            pause: Called with the number of steps done after each; training is paused once it returns True:
                the directory then has a checkpoint, to be resumed from, and the model of that step.

        Raises:
            Interrupted: After SIGINT or SIGTERM. The directory then has a checkpoint and a usable model.
            Diverged: If the loss becomes NaN. The directory then has the last good checkpoint and its model.
            UsageError: If it is called a second time.
        """
        if self._has_begun:
            raise UsageError(f"{self.directory.path} was trained by an earlier call: resume the run instead")
        self._has_begun = True
        try:
            with Interruption() as interruption:
                try:
                    yield from self._train(interruption, pause)
                    self._finish(interruption)
                except Abandoned:
                    self._interrupt()
            self.team.finish()
        except Diverged as error:
            raise self._diverged(error) from None
        finally:
            self.close()

    def _train(self, interruption: Interruption, pause: Callable[[int], bool] | None) -> Iterator[Event]:
        """Train, with checkpoints, interruptions and the pause at step boundaries."""
        # Earlier durations are included, so that `seconds` counts the training before a resume, too.
        started = time.perf_counter() - self.seconds
        team = self.team
        team.listen_to(interruption)
        trainer = Trainer(
            self.state,
            self.recipe,
            self.data,
            self.prepared.task,
            interruption.is_overdue,
            team,
            self.prepared.preprocessing.windows,
        )
        for event in trainer.events():
            self.seconds = time.perf_counter() - started
            if not isinstance(event, Stepped):
                self._recorder.write(event, self.seconds)
                yield event
                continue
            # Before the caller gets control: it may stop iterating after any event.
            self._recorder.complete_step(event, self.state, self.seconds)
            yield event
            # After the last step the run is finished instead, unless its evaluation takes too long.
            if self.state.done(self.recipe):
                continue
            if team.signal is not None:
                self._interrupt()
            if pause is not None and pause(self.state.step):
                return

    def _finish(self, interruption: Interruption) -> None:
        """Save the last checkpoint, test the model if training has ended, and write the result."""
        self._recorder.save(self.state, self.seconds)
        self._recorder.wait()
        if not self.state.done(self.recipe):
            self._write_outcome("paused")
            return
        all_steps = self.state.step == self.recipe.train.total_steps
        self._write_outcome("finished" if all_steps else "stopped early", interruption)
        self.directory.sweep()  # retired checkpoint files are not needed any more

    def _interrupt(self) -> NoReturn:
        """Save a checkpoint and the current model, then raise Interrupted."""
        self._recorder.save(self.state, self.seconds)
        self._recorder.wait()
        self._write_outcome("interrupted")
        step, total = self.state.step, self.recipe.train.total_steps
        raise Interrupted(
            f"stopped at step {step} of {total}; the current model is saved and can be used; resume with "
            f"`scanline train --resume --run {shlex.quote(str(self.directory.path))}`",
            self.team.signal or self.team.received() or 2,
        )

    def _diverged(self, error: Diverged) -> Diverged:
        """Go back to the last good checkpoint, save its model, and return the error that says so."""
        self._recorder.wait()  # the newest checkpoint may still be being written
        device = self.state.network.scale.device.type
        architecture, settings = self.prepared.architecture, self.recipe.train
        loaded = checkpoint.load_newest(self.directory.checkpoints, architecture, settings, device)
        self.state = loaded.state
        self._write_outcome("diverged")
        kept = f"the model of the last good checkpoint, step {self.state.step}, is in {self.directory.model}"
        diverged = Diverged(error.step, f"{error.what}; {kept}", error.rate)
        self.directory.append_log(str(diverged))
        return diverged

    def _write_outcome(self, status: str, interruption: Interruption | None = None) -> None:
        # Before the result is written: once a run has ended, nobody resumes it, which would sweep.
        self.directory.sweep()
        abandon = interruption.is_overdue if interruption else None
        self.result = write_outcome(
            self.directory, self.prepared, self.state, self._digests, status, self.seconds, self.team, abandon
        )

    def close(self) -> None:
        """Wait for the checkpoint being written, close all files and unlock the directory."""
        self._recorder.close()
        self.directory.unlock()

    def finished(self) -> Result:
        """Return the result of a run whose events have all been yielded.

        Raises:
            UsageError: If the run has not ended.
        """
        if self.result is None:
            raise UsageError(f"{self.directory.path} has no result yet: iterate over all of its events first")
        return self.result

    def next_commands(self) -> list[str]:
        """Return the commands that a user may want next, as shell lines."""
        run = shlex.quote(str(self.directory.path))
        return [f"scanline evaluate {run}", f"scanline report {run}", f"scanline predict {run} FILE"]


def _check_size(team: Team | None, recipe: Recipe) -> Team:
    """Return the team, or a process alone. Raises UsageError if there are more processes than slices."""
    team = team or Team()
    if team.size > recipe.train.slices:
        raise UsageError(
            f"{team.size} processes need train.slices of at least {team.size}, got {recipe.train.slices}; "
            f"the result depends on it, not on the number of processes: add --set train.slices={team.size}"
        )
    return team


def _digests(prepared: Prepared, recorded: Collection[str] = ()) -> dict[str, SplitDigest]:
    windows, digests = prepared.preprocessing.windows, {}
    for name, part in prepared.data.splits.items():
        cut = {} if windows is None else {"windows": int(windows.counts(part.lengths).sum())}
        digests[name] = SplitDigest(n=len(part), sha256=part.fingerprint_like(recorded), **cut)
    return digests


def _environment(state: TrainState, device: str, digests: dict[str, SplitDigest]) -> Environment:
    backend, precision = state.network.recurrent.path(state.network.scale, training=True)
    machine = describe(device)
    return Environment(
        schema=1,
        **{name: getattr(machine, name) for name in Machine.model_fields},
        computes=Computation(backend=backend, precision=precision),
        data=digests,
    )


def _require_environment(directory: RunDirectory) -> Environment:
    """Read environment.json, which must tell the number of training sequences."""
    environment = directory.read_environment()
    if environment is None or "train" not in environment.data:
        raise ModelError(f"{directory.environment} is damaged: expected the digest of the training data")
    return environment


def _check_unfinished(directory: RunDirectory, plan: Recipe) -> None:
    """Raise UsageError if the run has come to the end of the recipe.

    A run that was resumed with more steps has the result of its former end until the new end.
    """
    result = directory.read_result()
    if result is None:
        return
    status, steps = result.training.status, result.training.steps
    all_steps = status == "finished" and steps >= plan.train.total_steps
    if all_steps or status == "stopped early":
        raise UsageError(f"{directory.path} has {status}: nothing is left to do")


def _changes(then: Machine, now: Machine, slices: int) -> list[str]:
    """Return a note for the user if software or hardware have changed since the run began."""
    keys = ["device", "processor", "native", "packages", "code"]
    if slices == 1:  # each of several slices is computed on one thread
        keys.insert(0, "threads")
    changed = [key for key in keys if getattr(then, key) != getattr(now, key)]
    if not changed:
        return []
    return [
        f"since this run began these have changed: {', '.join(changed)}; "
        "the weights may differ in the last bits from those of a run that was not interrupted"
    ]
