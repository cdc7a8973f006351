"""Pooling of sequences that are read span by span: their pooled vectors, and where gradients go.

`scanline.model.pooling` defines what is computed. Here it is accumulated over spans in the forward pass; the
backward pass asks for the gradient by the outputs of one span at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from scanline.kernels.steps import step_mask


class SpanPooling(ABC):
    """The pooling of N sequences of one direction.

    Args:
        lengths: (N,) number of steps of each sequence.
    """

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths

    @abstractmethod
    def add(self, outputs: Tensor, first: int) -> None:
        """Take in the outputs (N, t, H) of the steps from `first` on, 0 past a sequence's end."""

    @abstractmethod
    def pooled(self) -> Tensor:
        """Return the pooled vectors, (N, H), when all spans have been taken in."""

    @abstractmethod
    def gradient(self, by_pooled: Tensor, first: int, steps: int) -> Tensor | None:
        """Return the gradient by the outputs of the steps `first` to `first + steps` - 1.

        Args:
            by_pooled: (N, H) gradient by the pooled vectors.
            first: First step of the span.
            steps: t, its number of steps.

        Returns:
            (N, t, H), or None if it is 0.
        """

    def _real(self, first: int, steps: int) -> Tensor:
        """Return (N, t, 1) whether a step of a span exists."""
        return step_mask((self.lengths - first).clamp(0, steps), steps)[:, :, None]


class _AtOneStep(SpanPooling):
    """Poolings with the output at one step, for each sequence and unit: `index`, (N, H)."""

    index: Tensor

    def gradient(self, by_pooled: Tensor, first: int, steps: int) -> Tensor | None:
        """Return the gradient at the steps that were chosen."""
        here = (self.index >= first) & (self.index < first + steps)
        if not here.any():
            return None
        n, units = by_pooled.shape
        gradient = by_pooled.new_zeros(n, steps, units)
        places = (self.index - first).clamp(0, steps - 1)[:, None]
        return gradient.scatter_(1, places, torch.where(here, by_pooled, 0)[:, None])


class LastOfSpans(_AtOneStep):
    """The output at the last step of each sequence."""

    def __init__(self, lengths: Tensor) -> None:
        super().__init__(lengths)
        self._last: Tensor | None = None

    def add(self, outputs: Tensor, first: int) -> None:
        """Keep the outputs at the last steps that are in this span."""
        if self._last is None:
            self._last = outputs.new_zeros(len(outputs), outputs.shape[2])
            self.index = (self.lengths - 1)[:, None].expand(-1, outputs.shape[2])
        place = self.lengths - 1 - first
        here = (place >= 0) & (place < outputs.shape[1])
        rows = torch.arange(len(outputs), dtype=torch.int64, device=outputs.device)
        found = outputs[rows, place.clamp(0, outputs.shape[1] - 1)]
        self._last = torch.where(here[:, None], found, self._last)

    def pooled(self) -> Tensor:
        """Return the outputs at the last steps."""
        assert self._last is not None
        return self._last


class MeanOfSpans(SpanPooling):
    """The mean over the sequence's own steps, added up in float64 as in `pooling.Mean`."""

    def __init__(self, lengths: Tensor) -> None:
        super().__init__(lengths)
        self._sum: Tensor | None = None
        self._dtype = torch.float32

    def add(self, outputs: Tensor, first: int) -> None:
        """Add up the outputs, which are 0 past a sequence's end."""
        total = (outputs * self._real(first, outputs.shape[1])).sum(1, dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._dtype = outputs.dtype

    def pooled(self) -> Tensor:
        """Return the means."""
        assert self._sum is not None
        return (self._sum / self.lengths[:, None]).to(self._dtype)

    def gradient(self, by_pooled: Tensor, first: int, steps: int) -> Tensor | None:
        """Return the same share for each step."""
        share = by_pooled / self.lengths[:, None]
        return share[:, None] * self._real(first, steps)


class MaxOfSpans(_AtOneStep):
    """The maximum over the sequence's own steps. The first of the steps that have it gets the gradient."""

    def __init__(self, lengths: Tensor) -> None:
        super().__init__(lengths)
        self._max: Tensor | None = None

    def add(self, outputs: Tensor, first: int) -> None:
        """Keep the larger outputs, and where they are."""
        own = outputs.masked_fill(~self._real(first, outputs.shape[1]), -torch.inf)
        largest, place = own.max(1)
        if self._max is None:
            self._max, self.index = largest, place + first
            return
        larger = largest > self._max
        self._max = torch.where(larger, largest, self._max)
        self.index = torch.where(larger, place + first, self.index)

    def pooled(self) -> Tensor:
        """Return the maxima."""
        assert self._max is not None
        return self._max


# By the name of the pooling. In one direction, the last step is the last output.
SPAN_POOLINGS: dict[str, type[SpanPooling]] = {
    "last": LastOfSpans,
    "last-step": LastOfSpans,
    "mean": MeanOfSpans,
    "max": MaxOfSpans,
}
