"""Random batches for graphs, with the outputs of the model for them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.source_info import SourceInfo
from scanline.interchange.onnx.ids import graph_inputs, has_ids
from scanline.interchange.onnx.parts import takes_pictures
from scanline.model.artifact import Model, TrainedModel
from scanline.model.network import Network
from scanline.model.predictor import Predictor
from scanline.seeding import numpy_generator

LIMIT = 1e-4  # difference of outputs above which a graph is refused
_MAX_VALUES = 2**20  # of a batch, so that models with wide steps or large pictures are checked in seconds
_MISSING = 0.15  # fraction of missing values, if the model fills them
_PADDING = np.array([np.nan, np.inf, -np.inf, 1e30, -7.5], np.float32)  # must not change any output

Floats = NDArray[np.float32]
Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """Inputs of a graph, and the model's outputs for them.

    Attributes:
        feed: Arrays by input name.
        logits: The model's logits, (N, K).
        longest: Number of steps of the longest sequence.
        description: What the batch is, for messages.
    """

    feed: Feed
    logits: NDArray[Any]
    longest: int
    description: str


def sequence_batches(model: TrainedModel, seed: int) -> Iterator[Batch]:
    """Yield random batches: one sequence and several, one step and many, with anything in the padding."""
    generator, form = numpy_generator(seed, "export"), model.preprocessing
    if takes_pictures(model):
        for N in (1, 2, 7):
            feed, source = draw_pictures(model, generator, N)
            prepared = [each.preprocessing.prepare(source) for each in model.models]
            logits, longest = _reference(model, [each.network for each in model.models], prepared)
            yield Batch(feed, logits, longest, f"{N} pictures")
        return
    stable = StableBatches(model, generator)

    def batch(N: int, T: int, ragged: bool = False) -> Batch:
        return stable.draw(lambda steps: draw_ragged(model, generator, N, steps, ragged), N, T)

    yield batch(1, 1)
    yield batch(6, 1)
    yield batch(4, picture_steps(form) or 28)
    yield batch(1, 500)
    yield batch(3, 200, ragged=True)
    for _ in range(7):
        yield batch(int(generator.integers(1, 17)), int(generator.integers(2, 65)), ragged=True)


def step_batches(model: Model, seed: int) -> Iterator[Batch]:
    """Yield random `steps` (N, T, F) for a step graph with the T * N logits: those after one step first."""
    generator, form = numpy_generator(seed, "export", 1), model.preprocessing
    stable = StableBatches(model, generator)

    def draw(N: int, T: int) -> tuple[Feed, MemorySource]:
        values = draw_steps(model, generator, (N, T, form.features))
        # Reference for every step: the model on the prefix up to it. Row step * N + n belongs to sequence n.
        prefixes = [values[n, : step + 1] for step in range(T) for n in range(N)]
        source = MemorySource.from_list(prefixes, np.zeros(len(prefixes), np.int64), (), "prefixes")
        return {"steps": values}, _with_names(model, source)

    for N, T in ((1, 1), (1, 48), (5, 17)):
        batch = stable.draw(partial(draw, N), N, T)
        if model.task.per_step:  # of each prefix the outputs at its last step
            numbers = np.repeat(np.arange(1, batch.feed["steps"].shape[1] + 1), N)
            batch = replace(batch, logits=batch.logits[np.cumsum(numbers) - 1])
        yield batch


class StableBatches:
    """Batches whose outputs are determined by float32 arithmetic.

    Some networks are chaotic on input that is longer than, or different from, their training data: the last
    bit of a weight then changes the outputs arbitrarily, and so does the order of summation. No two
    programs agree there and nothing can be compared, so fewer steps are used.
    """

    def __init__(self, model: TrainedModel, generator: np.random.Generator) -> None:
        self._model = model
        self._perturbed = [[_perturbed(each.network, generator) for each in model.models] for _ in range(2)]
        # All steps of a picture are used, stable or not.
        self._min_steps = max(picture_steps(model.preprocessing), 4)

    def draw(self, draw: Callable[[int], tuple[Feed, MemorySource]], N: int, T: int) -> Batch:
        """Return a batch of T steps, or of as many as can be compared.

        Args:
            draw: Function that draws a batch of a number of steps.
            N: Number of sequences in it.
            T: Number of steps wanted.
        """
        steps = max(min(T, _MAX_VALUES // (N * self._model.preprocessing.features)), min(T, 2))
        while True:
            feed, source = draw(steps)
            prepared = [network_steps(each.preprocessing, source) for each in self._model.models]
            networks = [each.network for each in self._model.models]
            logits, longest = _reference(self._model, networks, prepared)
            batch = Batch(feed, logits, longest, f"{N} sequences of up to {longest} steps")
            if steps <= self._min_steps:
                return batch
            with np.errstate(invalid="ignore"):  # inf - inf
                others = [_reference(self._model, networks, prepared)[0] for networks in self._perturbed]
                moved = [np.abs(each - logits).max() for each in others]
            # The margin leaves room for orders of summation that move the outputs more than two random draws.
            if max(moved) <= LIMIT / 20:
                return batch
            steps = max(steps // 2, self._min_steps)


def _reference(
    model: TrainedModel, networks: Sequence[Network], steps: Sequence[MemorySource]
) -> tuple[NDArray[Any], int]:
    """Return the logits of a model with these networks, and the number of steps of the longest sequence.

    Args:
        model: The model.
        networks: The network of each of its `models`, or one in its place.
        steps: What each network reads.
    """
    pairs = zip(networks, steps, strict=True)
    outputs = [Predictor(network).outputs(source) for network, source in pairs]
    return model.combined(outputs), max(each.max_length for each in steps)


def _perturbed(network: Network, generator: np.random.Generator) -> Network:
    """Return a copy with each weight replaced by one of its two neighbours in float32."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for weight in made.parameters():
            up = torch.from_numpy(generator.random(tuple(weight.shape)) < 0.5).to(weight.device)
            weight.copy_(torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf).to(weight.dtype)))
    return made


def draw_ragged(
    model: TrainedModel, generator: np.random.Generator, N: int, T: int, ragged: bool
) -> tuple[Feed, MemorySource]:
    """Return N sequences of up to T steps, all of T unless `ragged`, as inputs and as a source.

    The padding of the inputs contains NaN, infinities and numbers.
    """
    form = model.preprocessing
    lengths = generator.integers(1, T + 1, N) if ragged else np.full(N, T)
    # At least one sequence has all T steps, as in every batch that is padded to its longest.
    lengths[generator.integers(N)] = T
    values = draw_steps(model, generator, (N, T, form.features))
    static = list(form.static)
    values[:, :, static] = values[:, :1, static]
    source = MemorySource.from_padded(values, lengths, np.zeros(N, np.int64), (), "random steps")
    padding = np.arange(T) >= lengths[:, None]
    values[padding] = _PADDING[generator.integers(len(_PADDING), size=values[padding].shape)]
    return graph_inputs(model, "steps", values) | {"lengths": lengths}, _with_names(model, source)


def _with_names(model: TrainedModel, source: MemorySource) -> MemorySource:
    """Return steps of ids with the names that they stand for."""
    first = model.models[0].preprocessing
    if not first.vocabularies:
        return source
    categories: list[tuple[str, ...] | None] = [None] * first.features
    for vocabulary in first.vocabularies:
        categories[vocabulary.feature] = vocabulary.all_names
    return replace(source, info=SourceInfo(categories=tuple(categories)))


def draw_pictures(model: TrainedModel, generator: np.random.Generator, N: int) -> tuple[Feed, MemorySource]:
    """Return N whole pictures, as inputs and as a source."""
    form = model.preprocessing
    assert form.picture is not None
    shape = (N, form.picture.height, form.picture.width * form.picture.channels)
    values = draw_steps(model, generator, shape)
    source = MemorySource.from_array(values, np.zeros(N, np.int64), (), "random pictures")
    return {"pictures": values}, source


def draw_steps(model: TrainedModel, generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return random values in a realistic range.

    For pictures these are whole levels, otherwise `shift` plus up to three times `scale`. Some are NaN if the
    model fills missing values.
    """
    form = model.preprocessing
    if form.picture:
        values = generator.integers(0, form.picture.levels + 1, shape).astype(np.float32)
    else:
        network = model.models[0].network
        shift, scale = (each.detach().cpu().numpy() for each in (network.shift, network.scale))
        values = (shift + scale * generator.uniform(-3, 3, shape)).astype(np.float32)
    if form.missing != "error":
        values[generator.random(shape) < _MISSING] = np.nan
    if has_ids(model.models[0]):
        for each in model.models[0].network.embeddings.embeddings:
            values[..., each.feature] = generator.integers(0, each.count, shape[:-1])
    return values


def network_steps(form: Preprocessing, source: MemorySource) -> MemorySource:
    """Return steps of the network's width with missing values filled."""
    return replace(form, picture=None, source_features=form.features).prepare(source)


def picture_steps(form: Preprocessing) -> int:
    """Return the number of steps of a picture, 0 if the model does not read pictures."""
    p = form.picture
    return p.height * p.width * p.channels // form.features if p else 0
