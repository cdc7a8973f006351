"""Dropout, with random numbers that do not depend on how a batch is divided."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from scanline.seeding import torch_generator


class BatchDraws:
    """Uniform random numbers for the layers of a whole batch, of which each part takes its own.

    A part gets the numbers that it would get in the whole batch. Parts may be computed at once, on threads.

    Args:
        generator: Source of the numbers.
        sequences: N, the sequences of the whole batch.
        steps: T, its steps.
    """

    def __init__(self, generator: torch.Generator, sequences: int, steps: int) -> None:
        self._generator, self._shape = generator, (sequences, steps)
        self._drawn: list[Tensor] = []
        self._lock = threading.Lock()

    def part(self, first: int) -> PartDraws:
        """Return the numbers of the part that begins at sequence `first`."""
        return PartDraws(self, first)

    def nth(self, index: int, like: Tensor) -> Tensor:
        """Return draw number `index`, (N, T, width), of the width and dtype of `like`."""
        with self._lock:
            if index == len(self._drawn):
                shape = (*self._shape, like.shape[2])
                drawn = torch.rand(shape, generator=self._generator, dtype=like.dtype, device=like.device)
                self._drawn.append(drawn)
            return self._drawn[index]


class PartDraws:
    """The random numbers of one part of a batch, made by `BatchDraws.part`."""

    def __init__(self, batch: BatchDraws, first: int) -> None:
        self._batch, self._first, self._count = batch, first, 0

    def uniform(self, like: Tensor) -> Tensor:
        """Return the next numbers in [0, 1), of the shape of `like`, (n, t, width)."""
        whole = self._batch.nth(self._count, like)
        self._count += 1
        return whole[self._first : self._first + len(like), : like.shape[1]]


class SpanDraws:
    """The random numbers of one part of a batch that is read span by span: of each span when it is read.

    Args:
        seed: Of all numbers of the batch.
        sequences: N, the sequences of the whole batch.
        steps: T, its steps.
        first: Which sequence of the batch the part begins at.
    """

    def __init__(self, seed: int, sequences: int, steps: int, first: int = 0) -> None:
        self._seed, self._sequences, self._steps, self._first = seed, sequences, steps, first

    def part(self, first: int) -> SpanDraws:
        """Return the numbers of the part that begins at sequence `first`."""
        return SpanDraws(self._seed, self._sequences, self._steps, first)

    def span(self, start: int, end: int, device: str) -> PartDraws:
        """Return the numbers of the steps `start` to `end` - 1, the same each time."""
        generator = torch_generator(self._seed, "span", start, device)
        end = min(end, self._steps)
        return BatchDraws(generator, self._sequences, end - start).part(self._first)


Draws = torch.Generator | PartDraws


def dropout(values: Tensor, share: float, draws: Draws) -> Tensor:
    """Set a fraction of the values to 0 and scale the others to keep the expected value.

    Args:
        values: (N, T, width).
        share: Probability that a value is dropped, in [0, 1).
        draws: Source of the random numbers; torch's global state is not used.

    Returns:
        The shape of `values`.

    Source: Srivastava et al. (2014), in the inverted form of TensorFlow and torch.
    """
    if isinstance(draws, PartDraws):
        drawn = draws.uniform(values)
    else:
        # Drawn on the device of the values: CPU and GPU draw different numbers for the same seed.
        drawn = torch.rand(values.shape, generator=draws, dtype=values.dtype, device=values.device)
    return values * (drawn >= share) / (1.0 - share)
