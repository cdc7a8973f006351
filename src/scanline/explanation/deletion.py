"""The deletion check: whether removing the values with the largest attributions lowers the probability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import SequenceSource
from scanline.model.network import Network
from scanline.model.predictor import Predictor, similar_length_batches, to_device
from scanline.seeding import numpy_generator
from scanline.tasks import Task

_NODES = 16  # enough to rank the values
_BATCH = 64


@dataclass(frozen=True)
class DeletionCheck:
    """Mean drop of the explained output when values are replaced by the baseline.

    The explained output is the predicted class's probability, or what else the task explains.

    Attributes:
        n: Number of sequences.
        share: Fraction of the values of each sequence that were replaced.
        before: Mean of the explained output.
        by_attribution: Mean drop if the values with the largest attributions are replaced.
        at_random: Mean drop if as many random values are replaced.
        at_random_present: Mean drop if as many random values that differ from the baseline are replaced.
    """

    n: int
    share: float
    before: float
    by_attribution: float
    at_random: float
    at_random_present: float


def check_by_deletion(
    network: Network,
    task: Task,
    source: SequenceSource,
    background: NDArray[np.float32],
    share: float = 0.1,
    seed: int = 0,
) -> DeletionCheck:
    """Compare replacing the values with the largest attributions and replacing random values.

    Args:
        network: The network.
        task: Its task.
        source: The network's steps.
        background: (F,) what replaced values become.
        share: Fraction of values to replace.
        seed: Seed of the random choices.

    Returns:
        The mean drops of the explained output.
    """
    probabilities = task.probabilities(Predictor(network).outputs(source))
    explained = np.array([task.explained_output(row) for row in probabilities])
    before = probabilities[np.arange(len(source)), explained]
    generator = numpy_generator(seed, "deletion")
    replaced: dict[str, list[NDArray[np.float32]]] = {
        kind: [] for kind in ("by_attribution", "at_random", "at_random_present")
    }
    order: list[int] = []
    for indices, values, attributions in _ranking_attributions(network, source, explained, background):
        for row, sequence, attribution in zip(indices, values, attributions, strict=True):
            # Padding is cut off before ranking, or its values could be chosen.
            length = int(source.lengths[row])
            flat, ranks = sequence[:length].reshape(-1), attribution[:length].reshape(-1)
            stand_in = np.tile(background, length)
            for kind, places in _chosen_places(flat, stand_in, ranks, share, generator).items():
                without = flat.copy()
                without[places] = stand_in[places]
                replaced[kind].append(without.reshape(length, -1))
            order.append(int(row))
    rows = np.array(order)
    drops = {}
    for kind, sequences in replaced.items():
        changed = MemorySource(
            np.concatenate(sequences),
            source.lengths[rows],
            source.targets[rows],
            source.classes,
            source.name,
        )
        after = task.probabilities(Predictor(network).outputs(changed))[np.arange(len(rows)), explained[rows]]
        drops[kind] = float((before[rows] - after).mean())
    return DeletionCheck(len(source), share, float(before.mean()), **drops)


def _chosen_places(
    flat: NDArray[np.float32],
    stand_in: NDArray[np.float32],
    ranks: NDArray[np.float32],
    share: float,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Return the indices of the values to replace, for each way to choose them."""
    count = max(1, round(flat.size * share))
    present = np.flatnonzero(flat != stand_in)
    return {
        "by_attribution": np.argsort(-ranks, kind="stable")[:count],
        "at_random": generator.permutation(flat.size)[:count],
        # Replacing a value that equals the baseline changes nothing, and in pictures many do.
        "at_random_present": generator.permutation(present)[: min(count, len(present))],
    }


def _ranking_attributions(
    network: Network,
    source: SequenceSource,
    explained: NDArray[np.int64],
    background: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
    """Yield indices (n,), values and attributions (n, T, F); accurate enough to rank the values."""
    network.eval()
    device = network.scale.device
    # Only gradients of the inputs are needed; those of the weights would cost time and memory.
    trainable = [weight.requires_grad for weight in network.parameters()]
    network.requires_grad_(False)
    width = source.features + network.recurrent.output_size
    try:
        for indices in similar_length_batches(source, width, _BATCH):
            values, lengths = to_device(source.gather(indices), device)
            values = values.float()
            start = torch.as_tensor(background, device=device).expand_as(values)
            begin, end = start, values
            if network.embeddings.changes:  # as in `attribution`
                begin, end = (network.embeddings(network.normalise(each)) for each in (start, values))
            target = torch.as_tensor(explained[indices], device=device)[:, None]
            total = torch.zeros_like(end)
            for node in range(_NODES):
                # Midpoint rule: the nodes lie at the middle of _NODES equal intervals.
                position = (begin + (node + 0.5) / _NODES * (end - begin)).requires_grad_()
                logits = (network.read if network.embeddings.changes else network)(position, lengths).gather(
                    1, target
                )
                (gradient,) = torch.autograd.grad(logits.sum(), position)
                total += gradient
            attributions = (total / _NODES * (end - begin)).cpu().numpy()
            yield (
                indices,
                values.cpu().numpy(),
                network.embeddings.by_feature(attributions).astype(np.float32),
            )
    finally:
        for weight, was_trainable in zip(network.parameters(), trainable, strict=True):
            weight.requires_grad_(was_trainable)
