"""The gradient of a batch in slices: the same bits however many threads and processes compute them.

Each slice is computed on one thread, so that the order of its sums is fixed; several slices are computed at
once. Their gradients are added up in the order of `training.tree`.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional

from scanline.data.loader import DeviceBatch
from scanline.kernels.openmp import keep_to_one_thread, one_thread
from scanline.model.dropout import BatchDraws, SpanDraws
from scanline.model.gradients import Gradients, loss_and_gradients
from scanline.model.network import Network
from scanline.model.truncation import labelled_steps, outputs_of
from scanline.tasks import Task
from scanline.training.interruption import RESTART
from scanline.training.team import Team
from scanline.training.tree import Node, add_leaves, bounds, subtrees

# Signals that stop a training. Each has an element at the end of a step's vector, after the loss.
SIGNALS = (signal.SIGINT, signal.SIGTERM, RESTART)


class Slices:
    """Computes the slices of this process and adds up those of all processes.

    Args:
        count: Number of slices of a batch.
        batch_size: N, the sequences of a batch.
        team: The processes that share the slices.
        parameters: The trained weights, in the order of the gradient vector.
        truncate: Steps through which gradients flow back; 0: all.

    Attributes:
        part: The sequences of a batch that belong to this process.
    """

    def __init__(
        self, count: int, batch_size: int, team: Team, parameters: Sequence[Tensor], truncate: int = 0
    ) -> None:
        self._truncate = truncate
        self._count, self._batch_size, self._team, self._parameters = count, batch_size, team, parameters
        self._own: Node = bounds(count, team.size, team.rank)
        self.part = self._part(team.rank)
        # On a GPU the slices are computed one after the other: each fills the device.
        at_once = torch.get_num_threads() if parameters[0].device.type == "cpu" else 1
        threads = min(at_once, self._own[1] - self._own[0])
        self._pool = ThreadPoolExecutor(threads, "slice", initializer=keep_to_one_thread)

    def _sequences(self, index: int) -> tuple[int, int]:
        return bounds(self._batch_size, self._count, index)

    def _part(self, rank: int) -> slice:
        """Return the sequences of a batch that belong to a process."""
        first, end = bounds(self._count, self._team.size, rank)
        return slice(self._sequences(first)[0], self._sequences(end - 1)[1])

    def outputs(self, network: Network, batch: DeviceBatch, standardized: bool) -> Tensor:
        """Return the outputs (N, M), or (N, T, M), of the whole batch, the same in every process.

        Args:
            network: The network, in evaluation mode.
            batch: The sequences `part` of the batch.
            standardized: Whether the values are standardised already.
        """

        def of_slice(index: int) -> Tensor:
            values, lengths, _ = self._values(batch, index)
            with torch.inference_mode():
                outputs = outputs_of(network, values, lengths, standardized, self._truncate)
            if network.pooling.every_step:  # slices may be shorter than the batch
                outputs = functional.pad(outputs, (0, 0, 0, batch.whole[1] - outputs.shape[1]))
            return outputs

        own = torch.cat(list(self._pool.map(of_slice, range(*self._own))))
        parts = [self._part(rank) for rank in range(self._team.size)]
        return self._team.gather(own, [part.stop - part.start for part in parts])

    def _values(self, batch: DeviceBatch, index: int) -> tuple[Tensor, Tensor | None, slice]:
        """Return values and lengths of a slice, and where its sequences are in `batch`."""
        first, end = self._sequences(index)
        here = slice(first - self.part.start, end - self.part.start)
        values, lengths = batch.values[here], None if batch.lengths is None else batch.lengths[here]
        if lengths is not None:
            # The slice's own longest sequence, and no lengths if all are as long: what shares the process
            # must not change how the slice is computed.
            values = values[:, : int(lengths.max())]
            lengths = None if int(lengths.min()) == values.shape[1] else lengths
        return values, lengths, here

    def compute(
        self,
        network: Network,
        task: Task,
        batch: DeviceBatch,
        draws: torch.Generator | None,
        standardized: bool,
    ) -> tuple[Tensor, Gradients]:
        """Return the mean loss of the whole batch and its gradients, the same in every process.

        Args:
            network: The network, in training mode.
            task: Defines the loss.
            batch: The sequences `part` of the batch.
            draws: Source of dropout's random numbers for the whole batch; needed if the network has dropout.
            standardized: Whether the values are standardised already.
        """
        n, steps, _ = batch.whole
        in_spans = self._truncate and steps > self._truncate
        dropout: BatchDraws | SpanDraws | None = None
        if draws is not None:
            seed = draws.initial_seed()
            dropout = SpanDraws(seed, n, steps) if in_spans else BatchDraws(draws, n, steps)

        def vector(index: int) -> Tensor:
            return self._vector(network, task, batch, dropout, standardized, index)

        sums: dict[Node, Tensor] = {}
        # `map` starts all slices and yields their vectors in order.
        vectors = self._pool.map(vector, range(*self._own))
        # torch's own threads would wait actively after each sum, on cores that compute slices.
        with one_thread():
            for node in subtrees((0, self._count), self._own):
                sums[node] = add_leaves(node, vectors)
            return self._split(self._team.add_up(sums, self._count))

    def _vector(
        self,
        network: Network,
        task: Task,
        batch: DeviceBatch,
        dropout: BatchDraws | SpanDraws | None,
        standardized: bool,
        index: int,
    ) -> Tensor:
        """Return the gradients by all weights, the loss and the signals of one slice in one vector.

        The loss and the gradients are those of the sum over the slice, divided by the number of sequences, or
        of labelled steps, of the whole batch.
        """
        values, lengths, here = self._values(batch, index)
        targets, weights = batch.targets[here], None if batch.weights is None else batch.weights[here]
        share = (here.stop - here.start) / self._batch_size
        if network.pooling.every_step:
            width = values.shape[1]
            targets, weights = targets[:, :width], None if weights is None else weights[:, :width]
            share = int(labelled_steps(targets).sum()) / max(1, batch.labelled_steps)
        loss, gradients = loss_and_gradients(
            network,
            task,
            (values, lengths, targets),
            weights,
            None if dropout is None else dropout.part(self.part.start + here.start),
            standardized,
            share=share,
            truncate=self._truncate,
        )
        received = self._team.received() if index == self._own[0] else None
        flags = [float(number == received) for number in SIGNALS]
        parts = [
            gradients[weight].reshape(-1) if weight in gradients else weight.new_zeros(weight.numel())
            for weight in self._parameters
        ]
        return torch.cat([*parts, loss.reshape(1), loss.new_tensor(flags)])

    def _split(self, vector: Tensor) -> tuple[Tensor, Gradients]:
        """Return the loss and the gradients, which share the memory of the vector."""
        sizes = [weight.numel() for weight in self._parameters]
        *parts, rest = vector.split([*sizes, 1 + len(SIGNALS)])
        pairs = zip(self._parameters, parts, strict=True)
        return rest[0], {weight: part.view(weight.shape) for weight, part in pairs}


def signal_of(vector: Tensor) -> int | None:
    """Return the signal that a process had received when it computed its part of the vector, or None."""
    flags = vector[-len(SIGNALS) :].tolist()
    return next((int(number) for number in itertools.compress(SIGNALS, flags)), None)
