"""Batched inference: the outputs of a network for all sequences of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import Batch, SequenceSource
from scanline.kernels.predictor import NativePredictor, NetworkForm, make_predictor
from scanline.kernels.stepping import NativeStream
from scanline.model.joining import Joining
from scanline.model.network import Network

# Largest number of values and outputs in one batch, so that very long sequences do not exhaust the memory.
_MAX_NUMBERS = 2**25
# Multiply-adds of one native call, about a tenth of a second: between calls Python handles Ctrl-C.
_CALL_OPERATIONS = 2**32
# Steps of a sequence that are read at once: longer ones are read in pieces, unless in both directions.
_STEPS = 2**16


class Abandoned(Exception):
    """Inference was asked to stop before it had computed all outputs."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """Computes a network's outputs.

    What shares a batch changes no output: a sequence has the same outputs alone and in any batch.

    The native library computes from packed copies of the weights. They are made again where the network's
    weights have changed. Copies and pickles of a predictor make their own.

    Attributes:
        network: The network; dropout is off, and its training mode is restored afterwards.
        batch_size: Maximum number of sequences in a batch of torch.
        joining: Cuts sequences into windows and joins their outputs; None reads sequences as they are.
    """

    network: Network
    batch_size: int = 512
    joining: Joining | None = None
    _made: list[NativePredictor] = field(default_factory=list, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self.network, "batch_size": self.batch_size, "joining": self.joining, "_made": []}

    def outputs(
        self, source: SequenceSource, abandon: Callable[[], bool] | None = None
    ) -> NDArray[np.float32]:
        """Return the outputs for the N sequences of `source`.

        Args:
            source: Sequences as the network's steps.
            abandon: Called before each batch; Abandoned is raised once it returns True.

        Returns:
            (N, M); or (S, M) if there are outputs at each step, one sequence after another.
        """
        if self.joining is not None:
            return self.joining.outputs(lambda windows: self._read_whole(windows, abandon), source)
        return self._read_whole(source, abandon)

    def _read_whole(self, source: SequenceSource, abandon: Callable[[], bool] | None) -> NDArray[np.float32]:
        """Return the outputs of the network for sequences that it reads from their first step on."""
        native = self.native()
        if self.network.pooling.every_step:
            parts = [self._step_outputs(part, native, abandon) for part in source.parts()]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        one = len(source) == 1 and abandon is None and source.lengths[0] <= _STEPS
        if one and native is not None and native.form.head:
            return native.outputs(self._read(source.steps_of(0)), source.lengths)
        results = []
        for part in source.parts():
            if native is None:
                results.append(self._torch_outputs(part, abandon))
                continue
            for first, end in _ranges(part, self.network):
                _check_abandoned(abandon)
                outputs = self._native_outputs(native, part, first, end, abandon)
                if not native.form.head:
                    firsts = np.concatenate([part.steps_of(index)[:1] for index in range(first, end)])
                    outputs = self._project(outputs, firsts)
                results.append(outputs)
        return results[0] if len(results) == 1 else np.concatenate(results)

    def _native_outputs(
        self,
        native: NativePredictor,
        source: SequenceSource,
        first: int,
        end: int,
        abandon: Callable[[], bool] | None,
    ) -> NDArray[np.float32]:
        """Return the outputs of the native library for the sequences `first` to `end` - 1."""
        lengths = source.lengths[first:end]
        if native.form.directions == 2 or lengths.max() <= _STEPS:
            return native.outputs(self._read(source.steps_between(first, end)), lengths)
        outputs = np.empty((end - first, native.form.outputs), np.float32)
        for row, length in enumerate(lengths):
            steps = source.steps_of(first + row)
            if length <= _STEPS:
                outputs[row] = native.outputs(self._read(steps), lengths[row : row + 1])
            else:
                outputs[row] = self._read_long(native, steps, abandon)
        return outputs

    def _read_long(
        self, native: NativePredictor, steps: NDArray[Any], abandon: Callable[[], bool] | None
    ) -> NDArray[np.float32]:
        """Return the outputs (M,) for one sequence (T, F), read as a stream: in the memory of a piece."""
        pooled = self.network.pooling.start(1, native.form.units)
        stream = NativeStream(native, 1, pooled, np.zeros(1, np.int64))
        for first in range(0, len(steps), _STEPS):
            _check_abandoned(abandon)
            piece = self._read(steps[first : first + _STEPS].astype(np.float32, copy=False))
            read = stream.read(piece[None], None)
        last: NDArray[np.float32] = read[0, -1]
        return last

    def _read(self, steps: NDArray[Any]) -> NDArray[Any]:
        """Return what the native library reads of steps (S, F): with categories, embedded steps (S, E)."""
        network = self.network
        return embedded(network, steps) if network.embeddings.changes else steps

    @torch.inference_mode()
    def _step_outputs(
        self, source: SequenceSource, native: NativePredictor | None, abandon: Callable[[], bool] | None
    ) -> NDArray[np.float32]:
        """Return the outputs at each step of the sequences of `source`, (S, M)."""
        network, training = self.network, self.network.training
        network.eval()
        starts = np.cumsum(source.lengths) - source.lengths
        outputs = np.empty((source.total_steps, network.architecture.classes), np.float32)
        try:
            width = source.features + network.embeddings.output_size + network.recurrent.output_size
            for indices in similar_length_batches(source, width, self.batch_size):
                batch = source.gather(indices)
                for first, computed in self._read_steps(batch, source.lengths[indices], native, abandon):
                    places = np.arange(first, first + computed.shape[1])
                    real = places < source.lengths[indices][:, None]
                    outputs[(starts[indices][:, None] + places)[real]] = computed[real]
        finally:
            network.train(training)
        return outputs

    def _read_steps(
        self,
        batch: Batch,
        lengths: NDArray[np.int64],
        native: NativePredictor | None,
        abandon: Callable[[], bool] | None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the first of the next t steps, and the outputs (n, t, M) of these steps.

        On the native library a network of one direction reads as a stream does, which gives the same bits.
        """
        if native is None:
            _check_abandoned(abandon)
            values, counts = to_device(batch, self.network.scale.device)
            yield 0, self.network(values, counts).cpu().numpy()
            return
        stream = NativeStream(native, len(lengths), {}, np.zeros(len(lengths), np.int64))
        for first in range(0, batch.values.shape[1], _STEPS):
            _check_abandoned(abandon)
            steps = batch.values[:, first : first + _STEPS].astype(np.float32, copy=False)
            taken = self._read(steps.reshape(-1, steps.shape[2])).reshape(*steps.shape[:2], -1)
            read = stream.read(taken, np.clip(lengths - first, 0, steps.shape[1]))
            yield first, read if native.form.head else self._project(read, batch.values[:, 0])

    @torch.inference_mode()
    def _project(self, pooled: NDArray[np.float32], firsts: NDArray[Any]) -> NDArray[np.float32]:
        """Return the outputs of the dense layers and the head.

        Args:
            pooled: (N, ..., D*H) pooled vectors of N sequences.
            firsts: (N, F) the first step of each, as it was read.
        """
        training = self.network.training
        self.network.eval()
        try:
            static = self.network.static_of(torch.from_numpy(firsts)[:, None])
            outputs: NDArray[np.float32] = self.network.project(torch.from_numpy(pooled), static).numpy()
        finally:
            self.network.train(training)
        return outputs

    def native(self) -> NativePredictor | None:
        """Return the native predictor with the network's present weights; None if torch computes them.

        That of a network with outputs at each step is for streams only: the library has no such pooling, but
        a stream has the output after each of its steps.
        """
        network, made = self.network, self._made
        # The modules' own dictionaries: `Module.__getattr__` takes longer than all else here.
        modules: dict[str, Any] = network._modules
        embeddings = modules["embeddings"]
        # Where steps are embedded, they are standardised before.
        scaling = _identity(embeddings.output_size) if embeddings.changes else network._buffers.values()
        parameters = [*modules["recurrent"]._parameters.values(), *scaling]
        if not modules["dense"] and not embeddings.static:  # otherwise torch computes them and the head
            parameters += modules["head"]._parameters.values()
        tensors: list[Tensor] = [each for each in parameters if each is not None]
        if made and network.recurrent.backend != "torch" and made[0].holds(tensors):
            return made[0]
        predictor = _make_native(network, tensors)
        # One assignment: other threads see the old predictor or the new one.
        made[:] = [] if predictor is None else [predictor]
        return predictor

    @torch.inference_mode()
    def _torch_outputs(
        self, source: SequenceSource, abandon: Callable[[], bool] | None
    ) -> NDArray[np.float32]:
        """Return the outputs that the network computes itself, in batches of similar lengths."""
        network = self.network
        device, training = network.scale.device, network.training
        network.eval()
        outputs = np.empty((len(source), network.architecture.classes), np.float32)
        try:
            width = source.features + network.embeddings.output_size + network.recurrent.output_size
            for indices in similar_length_batches(source, width, self.batch_size):
                _check_abandoned(abandon)
                values, lengths = to_device(source.gather(indices), device)
                # Back to the order of the source: batches are ordered by length.
                outputs[indices] = network(values, lengths).cpu().numpy()
        finally:
            network.train(training)
        return outputs


@torch.inference_mode()
def embedded(network: Network, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return what the recurrent layers read of steps (..., F), standardised and embedded: (..., E)."""
    read: Tensor = network.embeddings(network.normalise(torch.from_numpy(values)))
    return read[..., : network.embeddings.output_size].contiguous().numpy()


@lru_cache(maxsize=64)
def _identity(width: int) -> tuple[Tensor, Tensor]:
    """Return shift and scale, (width,) each, that change nothing; the same tensors each time."""
    zeros = torch.zeros(width, dtype=torch.float32, device="cpu")
    return zeros, torch.ones(width, dtype=torch.float32, device="cpu")


def _make_native(network: Network, tensors: list[Tensor]) -> NativePredictor | None:
    """Return a native predictor, or None if the network has something that it does not compute."""
    a = network.architecture
    backend, _ = network.recurrent.path(network.scale, training=False)
    if type(network) is not Network or backend != "native":
        return None
    layers, head, pooling = network.recurrent, not (a.dense or a.static), network.pooling.name
    if network.pooling.every_step:
        if layers.directions == 2:
            return None
        pooling = "last"
    outputs = a.classes if head else layers.output_size
    form = NetworkForm(
        layers.cell,
        a.layers,
        layers.directions,
        network.embeddings.output_size,
        a.hidden_size,
        outputs,
        pooling,
        head,
    )
    return make_predictor(form, tensors)


def _check_abandoned(abandon: Callable[[], bool] | None) -> None:
    if abandon is not None and abandon():
        raise Abandoned


def _ranges(source: SequenceSource, network: Network) -> Iterator[tuple[int, int]]:
    """Yield ranges of sequences, (first, end), for native calls of about `_CALL_OPERATIONS` each."""
    weights = sum(weight.numel() for weight in network.recurrent.parameters())
    ends = np.cumsum(source.lengths)
    # The steps of windows, and of stored sequences, are copied.
    most, first = max(1, min(_CALL_OPERATIONS // weights, _MAX_NUMBERS // source.features)), 0
    while first < len(source):
        start = int(ends[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(ends, start + most, "right")))
        yield first, end
        first = end


def to_device(batch: Batch, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
    """Return values (N, T, F) and lengths (N,) of a batch as tensors; lengths are None if all are T."""
    lengths = None if batch.lengths is None else torch.tensor(batch.lengths, dtype=torch.int64, device=device)
    return torch.tensor(batch.values, dtype=None, device=device), lengths


def similar_length_batches(
    source: SequenceSource, width: int, batch_size: int = 512, max_numbers: int = _MAX_NUMBERS
) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of all sequences in batches, ordered from the shortest to the longest.

    Args:
        source: The sequences.
        width: Numbers that each step of a sequence needs in memory.
        batch_size: Maximum number of sequences in a batch.
        max_numbers: Maximum of padded steps times `width` in a batch; larger batches are split.
    """
    # Similar lengths share a batch, so that little padding is computed.
    order = np.argsort(source.lengths, kind="stable")
    start = 0
    while start < len(order):
        end = min(start + batch_size, len(order))
        # The longest sequence of the batch, its last, decides the padded size. A single sequence is never
        # split.
        while end > start + 1 and (end - start) * source.lengths[order[end - 1]] * width > max_numbers:
            end = start + (end - start) // 2
        yield order[start:end]
        start = end
