"""The only batched inference: whoever wants answers for many sequences asks here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.memory import MemorySource
from scanline.data.source import Batch
from scanline.model.network import Network

Tensors = tuple[Tensor, Tensor | None, Tensor]
# Values and outputs of one batch, so that a few very long sequences do not take all memory.
_NUMBERS = 2**25


def to_device(batch: Batch, device: torch.device | str) -> Tensors:
    """(values, lengths or None, labels) of a batch as tensors on `device`."""
    lengths = None if batch.lengths is None else torch.tensor(batch.lengths, device=device)
    return torch.tensor(batch.values, device=device), lengths, torch.tensor(batch.targets, device=device)


class Abandoned(Exception):
    """Inference was asked to stop before all sequences had their answer."""


@torch.inference_mode()
def predict_logits(
    network: Network,
    sequences: MemorySource,
    batch_size: int = 512,
    abandon: Callable[[], bool] | None = None,
) -> NDArray[np.float32]:
    """Logits (N, K) for all sequences, without dropout; the classifier's training mode is left as it was.

    Sequences of alike lengths travel together: it costs less, and no answer depends on it.
    abandon: asked before each batch; once it says so, Abandoned is raised.
    """
    device = network.scale.device
    training = network.training
    network.eval()
    logits = np.empty((len(sequences), network.architecture.classes), np.float32)
    try:
        width = sequences.features + network.recurrent.output_size
        for index in alike_batches(sequences, width, batch_size):
            if abandon is not None and abandon():
                raise Abandoned
            values, lengths, _ = to_device(sequences.gather(index), device)
            logits[index] = network(values, lengths).cpu().numpy()
    finally:
        network.train(training)
    return logits


def alike_batches(
    sequences: MemorySource, width: int, batch_size: int = 512, numbers: int = _NUMBERS
) -> Iterator[NDArray[np.int64]]:
    """Indices of all sequences, batch by batch, alike lengths together, from the shortest to the longest.

    width: how many values each step of a batch needs; so many steps as take more than `numbers` of them are
    split into smaller batches.
    """
    order = np.argsort(sequences.lengths, kind="stable")
    start = 0
    while start < len(order):
        end = min(start + batch_size, len(order))
        while end > start + 1 and (end - start) * sequences.lengths[order[end - 1]] * width > numbers:
            end = start + (end - start) // 2
        yield order[start:end]
        start = end
