"""The training loop: the command line, Python callers and benchmarks all run this one."""

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


def train(
    state: TrainState, recipe: Recipe, data: Dataset, abandon: Callable[[], bool] | None = None
) -> Iterator[Event]:
    """Train from where `state` stands to the recipe's end, changing `state` and yielding records.

    Each step ends with its `Stepped`: there the caller may save the state, or stop asking for more.
    abandon: asked while parts are judged; once it says so Abandoned is raised, and `state.unseen` tells that
    the records of its step are to be given again.
    Raises Diverged if the loss becomes NaN or infinite.
    """
    settings, device = recipe.train, state.network.scale.device
    order = BatchOrder(len(data.train), settings.batch_size, recipe.seed, settings.bucket, data.train.lengths)
    while state.unseen or not state.done(recipe):
        drawn = _draw(state.step - state.unseen, order, recipe, data)
        batch = to_device(drawn, device)
        if not state.unseen:
            weights = None if drawn.weights is None else torch.tensor(drawn.weights, device=device)
            state.loss = _step(state, recipe, batch, weights)
        best = state.best()
        try:
            yield from _look(state, recipe, data, batch, abandon)
        except Abandoned:
            state.restore_best(*best)  # else what is judged again would count twice
            raise
        state.unseen = False
        yield Stepped(state.step, state.step * settings.batch_size, state.loss)


def _step(state: TrainState, recipe: Recipe, batch: Tensors, weights: Tensor | None) -> float:
    """One step on a batch. weights: of its sequences. Returns the loss."""
    settings, generator = recipe.train, None
    if recipe.model.dropout:
        device = state.network.scale.device
        generator = torch_generator(recipe.seed, "dropout", state.step, device.type)
    seen = _with_noise(batch, state, recipe) if settings.noise else batch
    loss = train_step(state.network, state.optimizer, seen, settings, state.step, generator, weights)
    state.step += 1
    state.unseen = True
    return loss


def _look(
    state: TrainState, recipe: Recipe, data: Dataset, batch: Tensors, abandon: Callable[[], bool] | None
) -> Iterator[Event]:
    """What is due after a step. It looks at the weights and draws nothing: what is left out changes no later
    step, and what is done twice comes out the same."""
    settings, step = recipe.train, state.step
    if settings.log_every and step % settings.log_every == 0:
        yield _log(state, recipe, batch)
    due = (settings.validate_every and step % settings.validate_every == 0) or step == settings.total_steps
    if due and data.validation is not None:
        yield _validate(state, recipe, data.validation, abandon)
    if settings.test_every and step % settings.test_every == 0 and data.test is not None:
        yield _judge(state, recipe, "test", data.test, abandon)


def _draw(step: int, order: BatchOrder, recipe: Recipe, data: Dataset) -> Batch:
    """The batch of `step`, counted from 0."""
    batch, pixels = data.train.gather(order.at(step)), recipe.train.shift
    view = data.view
    if pixels and view is not None:
        draw = numpy_generator(recipe.seed, "shift", step)
        moved = view.apply(shift_pictures(view.undo(batch.values), view.channels, pixels, draw))
        batch = replace(batch, values=moved.reshape(batch.values.shape))
    return batch


def _with_noise(batch: Tensors, state: TrainState, recipe: Recipe) -> Tensors:
    """The batch with normal noise, new at every step, on what the network will scale."""
    values, lengths, labels = batch
    scale = state.network.scale
    draw = torch_generator(recipe.seed, "noise", state.step, scale.device.type)
    noise = torch.randn(values.shape, generator=draw, device=scale.device)
    return values + recipe.train.noise * scale * noise, lengths, labels


def _log(state: TrainState, recipe: Recipe, batch: Tensors) -> Logged:
    values, lengths, labels = batch
    with torch.inference_mode():
        logits = state.network.eval()(values, lengths)
        loss = F.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).float().mean().item()
    rate = learning_rate(recipe.train, state.step - 1)
    return Logged(state.step, state.step * recipe.train.batch_size, loss, accuracy, rate)


def _validate(
    state: TrainState, recipe: Recipe, part: MemorySource, abandon: Callable[[], bool] | None
) -> Evaluated:
    judged = _judge(state, recipe, "validation", part, abandon)
    if judged.accuracy > state.best_accuracy:
        state.best_accuracy, state.best_step, state.misses = judged.accuracy, state.step, 0
        if recipe.train.patience:
            weights = state.network.state_dict()
            state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
    else:
        state.misses += 1
    return judged


def _judge(
    state: TrainState, recipe: Recipe, part: str, sequences: MemorySource, abandon: Callable[[], bool] | None
) -> Evaluated:
    logits = predict_logits(state.network, sequences, abandon=abandon)
    correct = int((logits.argmax(1) == sequences.targets).sum())
    accuracy = correct / len(sequences)
    best = part == "validation" and accuracy > state.best_accuracy
    loss = mean_loss(logits, sequences.targets)
    samples = state.step * recipe.train.batch_size
    return Evaluated(state.step, samples, part, loss, accuracy, correct, len(sequences), best)
