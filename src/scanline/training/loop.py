"""The training loop: the command line, Python callers and benchmarks all run this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.nn import functional as F

from scanline.data.augment import shift_pictures
from scanline.data.batches import Batch, BatchOrder, gather
from scanline.data.sequences import Sequences
from scanline.data.splits import DataSet
from scanline.model.inference import Tensors, mean_loss, predict_logits, to_device
from scanline.recipe import Recipe
from scanline.seeding import numpy_generator, torch_generator
from scanline.training.records import Judged, Logged, Record, Stepped
from scanline.training.schedule import learning_rate
from scanline.training.state import TrainState
from scanline.training.step import train_step


def train(state: TrainState, recipe: Recipe, data: DataSet) -> Iterator[Record]:
    """Train from where `state` stands to the recipe's end, changing `state` and yielding records.

    Each step ends with its `Stepped`: there the caller may save the state, or stop asking for more.
    Raises Diverged if the loss becomes NaN or infinite.
    """
    settings, device = recipe.train, state.classifier.scale.device
    order = BatchOrder(len(data.train), settings.batch_size, recipe.seed, settings.bucket, data.train.lengths)
    while not state.done(recipe):
        drawn = _draw(state.step, order, recipe, data)
        batch = to_device(drawn, device)
        generator = None
        if recipe.model.dropout:
            generator = torch_generator(recipe.seed, "dropout", state.step, device.type)
        weights = None if drawn.weights is None else torch.tensor(drawn.weights, device=device)
        seen = _with_noise(batch, state, recipe) if settings.noise else batch
        loss = train_step(state.classifier, state.optimizer, seen, settings, state.step, generator, weights)
        state.step += 1
        samples = state.step * settings.batch_size
        last = state.step == settings.total_steps

        # These look at the weights and draw nothing: leaving one out changes no later step.
        if settings.log_every and state.step % settings.log_every == 0:
            yield _log(state, recipe, batch)
        due = (settings.validate_every and state.step % settings.validate_every == 0) or last
        if due and data.validation is not None:
            yield _validate(state, recipe, data.validation)
        if settings.test_every and state.step % settings.test_every == 0 and data.test is not None:
            yield _judge(state, samples, "test", data.test)
        yield Stepped(state.step, samples, loss)


def _draw(step: int, order: BatchOrder, recipe: Recipe, data: DataSet) -> Batch:
    """The batch of `step`, counted from 0."""
    batch, pixels = gather(data.train, order.at(step), data.weights), recipe.train.shift
    view = data.view
    if pixels and view is not None:
        draw = numpy_generator(recipe.seed, "shift", step)
        moved = view.apply(shift_pictures(view.undo(batch.values), view.channels, pixels, draw))
        batch = replace(batch, values=moved.reshape(batch.values.shape))
    return batch


def _with_noise(batch: Tensors, state: TrainState, recipe: Recipe) -> Tensors:
    """The batch with normal noise, new at every step, on what the network will scale."""
    values, lengths, labels = batch
    scale = state.classifier.scale
    draw = torch_generator(recipe.seed, "noise", state.step, scale.device.type)
    noise = torch.randn(values.shape, generator=draw, device=scale.device)
    return values + recipe.train.noise * scale * noise, lengths, labels


def _log(state: TrainState, recipe: Recipe, batch: Tensors) -> Logged:
    values, lengths, labels = batch
    with torch.inference_mode():
        logits = state.classifier.eval()(values, lengths)
        loss = F.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).float().mean().item()
    rate = learning_rate(recipe.train, state.step - 1)
    return Logged(state.step, state.step * recipe.train.batch_size, loss, accuracy, rate)


def _validate(state: TrainState, recipe: Recipe, part: Sequences) -> Judged:
    judged = _judge(state, state.step * recipe.train.batch_size, "validation", part)
    if judged.accuracy > state.best_accuracy:
        state.best_accuracy, state.best_step, state.misses = judged.accuracy, state.step, 0
        if recipe.train.patience:
            weights = state.classifier.state_dict()
            state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
    else:
        state.misses += 1
    return judged


def _judge(state: TrainState, samples: int, part: str, sequences: Sequences) -> Judged:
    logits = predict_logits(state.classifier, sequences)
    correct = int((logits.argmax(1) == sequences.labels).sum())
    accuracy = correct / len(sequences)
    best = part == "validation" and accuracy > state.best_accuracy
    loss = mean_loss(logits, sequences.labels)
    return Judged(state.step, samples, part, loss, accuracy, correct, len(sequences), best)
