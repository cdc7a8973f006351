"""The training loop, which the command line, the Python API, the estimator and the benchmarks share.

The loop yields events. Logging, checkpoints and interruption are up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from scanline.data.dataset import Dataset
from scanline.data.loader import DeviceBatch, Loader
from scanline.data.order import BatchOrder
from scanline.data.source import SequenceSource
from scanline.data.step_targets import balanced_steps
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.scaler import Scaler
from scanline.data.vocabulary import UNKNOWN
from scanline.data.window_order import WindowOrder
from scanline.data.windows import Windows
from scanline.model.joining import Joining
from scanline.model.predictor import Abandoned, Predictor
from scanline.model.truncation import outputs_of
from scanline.recipe import Recipe
from scanline.seeding import torch_generator
from scanline.tasks import Task
from scanline.training.events import Evaluated, Event, Logged, Stepped
from scanline.training.schedule import learning_rate
from scanline.training.slices import Slices
from scanline.training.state import TrainState
from scanline.training.step import begin, make_step, train_step
from scanline.training.team import Team
from scanline.training.tree import bounds


class Trainer:
    """Trains a network by a recipe on a data set.

    Attributes:
        state: The training state, updated in place.
        recipe: What to train and how.
        data: The splits, as steps of the network.
        task: What is predicted.
    """

    def __init__(
        self,
        state: TrainState,
        recipe: Recipe,
        data: Dataset,
        task: Task,
        abandon: Callable[[], bool] | None = None,
        team: Team | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Prepare a training; nothing is computed yet.

        Args:
            state: Where to start: a new state or that of a checkpoint.
            recipe: What to train and how.
            data: The splits, as steps of the network.
            task: What is predicted; fitted to the training split.
            abandon: Asked during evaluations, which end with Abandoned as soon as it returns True.
            team: The processes that share the work; None: this one alone.
            windows: How sequences are cut into the samples; None: they are the samples.
        """
        self.state, self.recipe, self.data, self.task = state, recipe, data, task
        self._samples: dict[str, SequenceSource] = {
            name: source if windows is None else windows.view(source) for name, source in data.splits.items()
        }
        # Windows are evaluated one by one, as they are trained on; but a step of several windows only once.
        self._joining = Joining(windows, task) if windows is not None and task.per_step else None
        self._evaluated = self._samples if self._joining is None else dict(data.splits)
        # Encoded once: batches and evaluations share these arrays.
        self._targets = {name: task.encode(source) for name, source in self._evaluated.items()}
        self._abandon, self._team = abandon, team or Team()
        self._device = state.network.scale.device
        # Noise is added to raw values: only then the network has to standardise.
        self._standardized = not recipe.train.noise
        self._loader = self._make_loader()
        self._slices: Slices | None = None
        if recipe.train.slices > 1:
            (group,) = state.optimizer.param_groups
            size = recipe.train.batch_size
            truncate = recipe.train.truncate
            self._slices = Slices(recipe.train.slices, size, self._team, group["params"], truncate)

    def events(self) -> Iterator[Event]:
        """Train from the current state to the end of the recipe, and yield the events.

        Each step ends with its `Stepped`, after which the caller may save the state or stop iterating.

        Raises:
            Diverged: If the loss or the gradient becomes NaN or infinite.
            Abandoned: If an evaluation was abandoned. `state.pending_evaluation` is then True, and the
                events of the step are yielded again when training continues.
        """
        state = self.state
        while state.pending_evaluation or not state.done(self.recipe):
            # After a resume with a pending evaluation the step itself is done: its update must not be made
            # again.
            batch = None if state.pending_evaluation else self._update()
            best = state.best
            try:
                yield from self._due_events(batch)
            except Abandoned:
                state.best = best  # or the validation would count twice when the step is evaluated again
                raise
            self._compare_weights()
            # Cleared before the caller gets control: a checkpoint made at `Stepped` is between two steps.
            state.pending_evaluation = False
            yield Stepped(state.step, self._samples_seen(), state.loss)

    def _compare_weights(self) -> None:
        """Compare the weights of all processes, as often as checkpoints are made."""
        state, settings = self.state, self.recipe.train
        if state.step % settings.checkpoint_every == 0 or state.done(self.recipe):
            self._team.check_weights(state.network, state.step)

    def _samples_seen(self) -> int:
        return self.state.step * self.recipe.train.batch_size

    def _make_loader(self) -> Loader:
        settings, data, network = self.recipe.train, self.data, self.state.network
        train = self._samples["train"]
        seed, lengths, shift = self.recipe.seed, train.lengths, None
        order: BatchOrder | WindowOrder
        if train.layout is None:
            order = BatchOrder(len(lengths), settings.batch_size, seed, settings.bucket, lengths)
        else:
            shares = [bounds(settings.batch_size, settings.slices, index) for index in range(settings.slices)]
            sizes, slices = train.layout.group_sizes, [end - first for first, end in shares]
            order = WindowOrder(sizes, slices, seed, settings.window, settings.bucket, lengths)
        scaler = Scaler(network.shift.numpy(force=True), network.scale.numpy(force=True))
        if settings.shift and data.view is not None:
            shift = PictureShift(data.view, settings.shift, seed)
        scaler_or_none = scaler if self._standardized else None
        weights = None
        if settings.class_weights == "balanced" and train.step_targets is not None:
            weights = balanced_steps(train)
        return Loader(train, order, scaler_or_none, shift, self._device, self._targets["train"], weights)

    def _batch(self, step: int) -> DeviceBatch:
        """Return this process's part of the batch of `step`."""
        return self._loader.batch(step, slice(None) if self._slices is None else self._slices.part)

    def _update(self) -> DeviceBatch:
        """Make one step, update the state, and return this process's part of the batch."""
        state, recipe, device, slices = self.state, self.recipe, self._device, self._slices
        batch = self._batch(state.step)
        generator = None
        if recipe.model.dropout:
            # Derived from (seed, purpose, step): a resumed run draws the same numbers.
            generator = torch_generator(recipe.seed, "dropout", state.step, device.type)
        noisy = self._with_noise(batch) if recipe.train.noise else batch
        if recipe.train.unknown:
            noisy = self._with_unknown(noisy)
        if slices is None:
            state.loss = train_step(
                state.network,
                state.optimizer,
                self.task,
                (noisy.values, batch.lengths, batch.targets),
                recipe.train,
                state.step,
                generator,
                batch.weights,
                self._standardized,
            )
        else:
            begin(state.network)
            loss, gradients = slices.compute(state.network, self.task, noisy, generator, self._standardized)
            state.loss = make_step(state.optimizer, loss, gradients, recipe.train, state.step, threads=1)
        state.step += 1
        state.pending_evaluation = True
        return batch

    def _with_noise(self, batch: DeviceBatch) -> DeviceBatch:
        """Return a batch of raw values with normal noise, relative to the scale of each feature."""
        scale = self.state.network.scale
        # Its own purpose: turning dropout on or off does not change the noise.
        draw = torch_generator(self.recipe.seed, "noise", self.state.step, scale.device.type)
        noise = torch.randn(batch.whole, generator=draw, dtype=scale.dtype, device=scale.device)
        if self._slices is not None:
            noise = noise[self._slices.part, : batch.values.shape[1]]
        categorical = [each.feature for each in self.state.network.architecture.embeddings]
        if categorical:  # ids stay as they are
            noise[..., categorical] = 0
        return replace(batch, values=batch.values + self.recipe.train.noise * scale * noise)

    def _with_unknown(self, batch: DeviceBatch) -> DeviceBatch:
        """Return a batch in which some categories are unknown; missing ones stay missing."""
        values, tables = batch.values.clone(), self.state.network.architecture.embeddings
        draw = torch_generator(self.recipe.seed, "unknown", self.state.step, values.device.type)
        shape = (*batch.whole[:2], len(tables))
        drawn = torch.rand(shape, generator=draw, dtype=values.dtype, device=values.device)
        if self._slices is not None:
            drawn = drawn[self._slices.part]
        drawn = drawn[:, : values.shape[1]] < self.recipe.train.unknown
        for place, each in enumerate(tables):
            ids = values[..., each.feature]
            values[..., each.feature] = torch.where(drawn[..., place] & (ids > 0), float(UNKNOWN), ids)
        return replace(batch, values=values)

    def _due_events(self, batch: DeviceBatch | None) -> Iterator[Logged | Evaluated]:
        """Log and evaluate if that is due after the current step.

        This draws no random numbers and leaves the weights alone: omitting it does not change later steps,
        and repeating it gives the same events.
        """
        settings, splits, step = self.recipe.train, self._evaluated, self.state.step
        if settings.log_every and step % settings.log_every == 0:
            yield self._log(self._batch(step - 1) if batch is None else batch)
        due = (
            settings.validate_every and step % settings.validate_every == 0
        ) or step == settings.total_steps
        if due and "validation" in splits:
            # Only the validation split decides which weights are best. Test evaluations are yielded with
            # best=False.
            event = self._evaluate("validation")
            yield replace(event, best=self.state.record_validation(event.score.value, settings.patience > 0))
        if settings.test_every and step % settings.test_every == 0 and "test" in splits:
            yield self._evaluate("test")

    def _log(self, batch: DeviceBatch) -> Logged:
        with torch.inference_mode():
            # Logged without dropout; `train_step` switches back to training mode.
            network, targets = self.state.network.eval(), batch.targets
            if self._slices is None:
                outputs = outputs_of(
                    network,
                    batch.values,
                    batch.lengths,
                    self._standardized,
                    self.recipe.train.truncate,
                )
            else:
                outputs = self._slices.outputs(network, batch, self._standardized)
                targets = self._loader.targets_of(self.state.step - 1)
            score = self.task.score(outputs, targets)
        # The step counter is already incremented: this is the rate that the logged step used.
        rate = learning_rate(self.recipe.train, self.state.step - 1)
        return Logged(self.state.step, self._samples_seen(), score, rate)

    def _evaluate(self, split: str) -> Evaluated:
        # Evaluation needs memory for row groups of its own.
        self._loader.stop_reading_ahead()
        predictor = Predictor(self.state.network, joining=self._joining)
        outputs = self._team.outputs(predictor, self._evaluated[split], self._abandon)
        # In float64: the loss of a large split then has no rounding error that shows.
        score = self.task.score(torch.from_numpy(outputs).double(), torch.from_numpy(self._targets[split]))
        return Evaluated(self.state.step, self._samples_seen(), split, score, best=False)
