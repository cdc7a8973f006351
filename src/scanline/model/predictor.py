"""Batched inference: the outputs of a network for all sequences of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.memory import MemorySource
from scanline.data.source import Batch
from scanline.model.network import Network

# Largest number of values and outputs in one batch, so that very long sequences do not exhaust the memory.
_MAX_NUMBERS = 2**25


class Abandoned(Exception):
    """Inference was asked to stop before it had computed all outputs."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """Computes a network's outputs in batches of sequences of similar lengths.

    Batching changes no output: a sequence has the same outputs alone and in any batch.

    Attributes:
        network: The network; dropout is off, and its training mode is restored afterwards.
        batch_size: Maximum number of sequences in a batch.
    """

    network: Network
    batch_size: int = 512

    @torch.inference_mode()
    def outputs(self, source: MemorySource, abandon: Callable[[], bool] | None = None) -> NDArray[np.float32]:
        """Return the outputs (N, M) for the N sequences of `source`.

        Args:
            source: Sequences as the network's steps.
            abandon: Called before each batch; Abandoned is raised once it returns True.
        """
        network = self.network
        device, training = network.scale.device, network.training
        network.eval()
        outputs = np.empty((len(source), network.architecture.classes), np.float32)
        try:
            width = source.features + network.recurrent.output_size
            for indices in similar_length_batches(source, width, self.batch_size):
                if abandon is not None and abandon():
                    raise Abandoned
                values, lengths = to_device(source.gather(indices), device)
                # Back to the order of the source: batches are ordered by length.
                outputs[indices] = network(values, lengths).cpu().numpy()
        finally:
            network.train(training)
        return outputs


def to_device(batch: Batch, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
    """Return values (N, T, F) and lengths (N,) of a batch as tensors; lengths are None if all are T."""
    lengths = None if batch.lengths is None else torch.tensor(batch.lengths, dtype=torch.int64, device=device)
    return torch.tensor(batch.values, dtype=None, device=device), lengths


def similar_length_batches(
    source: MemorySource, width: int, batch_size: int = 512, max_numbers: int = _MAX_NUMBERS
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
