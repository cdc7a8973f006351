"""The training loop, which the command line, the Python API, the estimator and the benchmarks share.

The loop yields events. Logging, checkpoints and interruption are up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from scanline.data.loader import BatchOrder
from scanline.data.memory import MemorySource
from scanline.data.source import Batch
from scanline.data.splits import Dataset
from scanline.data.transforms.augmentation import shift_pictures
from scanline.metrics.probabilities import mean_loss
from scanline.model.inference import Abandoned, Tensors, predict_logits, to_device
from scanline.recipe import Recipe
from scanline.seeding import numpy_generator, torch_generator
from scanline.training.events import Evaluated, Event, Logged, Stepped
from scanline.training.schedule import learning_rate
from scanline.training.state import TrainState
from scanline.training.step import train_step


class Trainer:
    """Trains a network by a recipe on a data set.

    Attributes:
        state: The training state, updated in place.
        recipe: What to train and how.
        data: The splits, as steps of the network.
    """

    def __init__(
        self,
        state: TrainState,
        recipe: Recipe,
        data: Dataset,
        abandon: Callable[[], bool] | None = None,
    ) -> None:
        """Prepare a training; nothing is computed yet.

        Args:
            state: Where to start: a new state or that of a checkpoint.
            recipe: What to train and how.
            data: The splits, as steps of the network.
            abandon: Asked during evaluations, which end with Abandoned as soon as it returns True.
        """
        self.state, self.recipe, self.data = state, recipe, data
        self._abandon = abandon
        self._device = state.network.scale.device
        settings, lengths = recipe.train, data.train.lengths
        self._order = BatchOrder(len(data.train), settings.batch_size, recipe.seed, settings.bucket, lengths)

    def events(self) -> Iterator[Event]:
        """Train from the current state to the end of the recipe, and yield the events.

        Each step ends with its `Stepped`, after which the caller may save the state or stop iterating.

        Raises:
            Diverged: If the loss or the gradient becomes NaN or infinite.
            Abandoned: If an evaluation was abandoned. `state.pending_evaluation` is then True, and the
                events of the step are yielded again when training goes on.
        """
        state = self.state
        while state.pending_evaluation or not state.done(self.recipe):
            drawn = self._draw(state.step - state.pending_evaluation)
            batch = to_device(drawn, self._device)
            if not state.pending_evaluation:
                self._update(batch, drawn)
            best = state.best
            try:
                yield from self._due_events(batch)
            except Abandoned:
                state.best = best  # or the validation would count twice when the step is evaluated again
                raise
            state.pending_evaluation = False
            yield Stepped(state.step, self._samples(), state.loss)

    def _samples(self) -> int:
        return self.state.step * self.recipe.train.batch_size

    def _draw(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        batch, pixels = (
            self.data.train.gather(self._order.at(step)),
            self.recipe.train.shift,
        )
        view = self.data.view
        if pixels and view is not None:
            draw = numpy_generator(self.recipe.seed, "shift", step)
            moved = view.apply(shift_pictures(view.undo(batch.values), view.channels, pixels, draw))
            batch = replace(batch, values=moved.reshape(batch.values.shape))
        return batch

    def _update(self, batch: Tensors, drawn: Batch) -> None:
        """Make one step and update the state."""
        state, recipe, device = self.state, self.recipe, self._device
        weights = None if drawn.weights is None else torch.tensor(drawn.weights, device=device)
        generator = None
        if recipe.model.dropout:
            generator = torch_generator(recipe.seed, "dropout", state.step, device.type)
        seen = self._with_noise(batch) if recipe.train.noise else batch
        state.loss = train_step(
            state.network, state.optimizer, seen, recipe.train, state.step, generator, weights
        )
        state.step += 1
        state.pending_evaluation = True

    def _with_noise(self, batch: Tensors) -> Tensors:
        """Return the batch with normal noise, relative to the scale of each feature."""
        values, lengths, labels = batch
        scale = self.state.network.scale
        draw = torch_generator(self.recipe.seed, "noise", self.state.step, scale.device.type)
        noise = torch.randn(values.shape, generator=draw, device=scale.device)
        return values + self.recipe.train.noise * scale * noise, lengths, labels

    def _due_events(self, batch: Tensors) -> Iterator[Logged | Evaluated]:
        """Log and evaluate if that is due after the current step.

        This draws no random numbers and leaves the weights alone: omitting it does not change later steps,
        and repeating it gives the same events.
        """
        settings, data, step = self.recipe.train, self.data, self.state.step
        if settings.log_every and step % settings.log_every == 0:
            yield self._log(batch)
        due = (
            settings.validate_every and step % settings.validate_every == 0
        ) or step == settings.total_steps
        if due and data.validation is not None:
            event = self._evaluate("validation", data.validation)
            yield replace(event, best=self.state.record_validation(event.accuracy, settings.patience > 0))
        if settings.test_every and step % settings.test_every == 0 and data.test is not None:
            yield self._evaluate("test", data.test)

    def _log(self, batch: Tensors) -> Logged:
        values, lengths, labels = batch
        with torch.inference_mode():
            logits: Tensor = self.state.network.eval()(values, lengths)
            loss = F.cross_entropy(logits, labels).item()
            accuracy = (logits.argmax(1) == labels).float().mean().item()
        rate = learning_rate(self.recipe.train, self.state.step - 1)
        return Logged(self.state.step, self._samples(), loss, accuracy, rate)

    def _evaluate(self, split: str, source: MemorySource) -> Evaluated:
        logits = predict_logits(self.state.network, source, abandon=self._abandon)
        correct, total = int((logits.argmax(1) == source.targets).sum()), len(source)
        loss = mean_loss(logits, source.targets)
        return Evaluated(
            self.state.step, self._samples(), split, loss, correct / total, correct, total, best=False
        )
