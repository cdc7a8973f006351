"""The order in which training visits sequences that are stored in row groups.

In each epoch the row groups are permuted, with neighbours from different parts of the data, and dealt to the
slices of a batch, a run of them to each slice. Each slice reads its run in windows of a few row groups, which
are permuted inside. So a process that computes some of the slices reads their row groups only, needs those of
one window of each slice at any time, and every sequence is visited once an epoch. The order is a function of
the seed and the step alone: it depends on the number of slices, not on who computes them.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.data.order import by_length
from scanline.seeding import numpy_generator


@dataclass(frozen=True)
class _Segment:
    """Sequences `low` to `high` - 1 of the source, which are in the row group `group`."""

    group: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class _Window:
    """Sequences that are visited in random order: the `start`-th and following ones of a slice's run."""

    start: int
    indices: NDArray[np.int64]
    groups: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Plan:
    """The windows of a slice's run in one epoch, and where each starts in the run."""

    starts: list[int]
    windows: list[list[_Segment]]


class _Slice:
    """The sequences of one slice of every batch.

    Args:
        number: Number of the slice.
        size: Number of its sequences in a batch.
        run: (first, end) of its run in each epoch, as positions in the permuted row groups.
        order: The order that it belongs to.
    """

    def __init__(self, number: int, size: int, run: tuple[int, int], order: WindowOrder) -> None:
        self.number, self.size, self._run, self._order = number, size, run, order
        self.length = run[1] - run[0]
        self._epochs: dict[int, _Plan] = {}
        self._windows: dict[tuple[int, int], _Window] = {}

    def at(self, step: int) -> NDArray[np.int64]:
        """Return the indices (size,) of the slice in the batch of `step`."""
        position, missing, pieces = step * self.size, self.size, []
        while missing:
            window, start = self._window_at(position)
            piece = window.indices[start : start + missing]
            pieces.append(piece)
            position, missing = position + len(piece), missing - len(piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def groups(self, step: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Return the row groups of the window of a batch, those of the next window, and how far that is.

        The first sequence of the batch decides: the next window's row groups are needed by the next batch.
        """
        window, start = self._window_at(step * self.size)
        remaining = len(window.indices) - start
        following, _ = self._window_at(step * self.size + remaining)
        return window.groups, following.groups, remaining

    def _window_at(self, position: int) -> tuple[_Window, int]:
        """Return the window of a position in all epochs, and the place of the position in it."""
        epoch, offset = divmod(position, self.length)
        if epoch not in self._epochs:
            self._epochs = {known: each for known, each in self._epochs.items() if known >= epoch - 1}
            self._epochs[epoch] = self._plan(epoch)
        plan = self._epochs[epoch]
        number = bisect.bisect_right(plan.starts, offset) - 1
        window = self._window(epoch, number, plan.starts[number], plan.windows[number])
        return window, offset - window.start

    def _plan(self, epoch: int) -> _Plan:
        segments, width = self._order.segments(epoch, self._run), self._order.width
        windows = [segments[at : at + width] for at in range(0, len(segments), width)]
        sizes = [sum(each.high - each.low for each in window) for window in windows]
        return _Plan([0, *itertools.accumulate(sizes[:-1])], windows)

    def _window(self, epoch: int, number: int, start: int, segments: Sequence[_Segment]) -> _Window:
        key = epoch, number
        if key not in self._windows:
            order = self._order
            # The window before is needed again if the batch of an earlier step is asked for.
            for old in sorted(self._windows)[:-2]:
                del self._windows[old]
            indices = np.concatenate([np.arange(each.low, each.high) for each in segments])
            draw = numpy_generator(order.seed, f"window {self.number}.{number}", epoch)
            indices = draw.permutation(indices)
            if order.bucket and order.lengths is not None:
                # The first sequences complete the part of a batch that the window before began.
                first = -(epoch * self.length + start) % self.size
                indices = by_length(indices, order.lengths, first, self.size, order.bucket, draw)
            self._windows[key] = _Window(start, indices, tuple(each.group for each in segments))
        return self._windows[key]


class WindowOrder:
    """An endless stream of epochs over stored sequences, cut into batches.

    Args:
        group_sizes: (G,) number of sequences of each row group, in the order of the source.
        slices: Number of sequences of each slice of a batch.
        seed: Seed of the order.
        window: Row groups whose sequences are mixed, those of all slices together.
        bucket: Number of batches that are sorted by length together; 0 or 1: no bucketing.
        lengths: (N,) length of each sequence, needed for bucketing.
    """

    def __init__(
        self,
        group_sizes: NDArray[np.int64],
        slices: Sequence[int],
        seed: int,
        window: int,
        bucket: int = 0,
        lengths: NDArray[np.int64] | None = None,
    ) -> None:
        self.seed, self.bucket, self.lengths = seed, bucket if bucket > 1 else 0, lengths
        self._window = window
        self.width = max(1, round(window / len(slices)))
        self._ends = np.cumsum(group_sizes)
        self._permuted: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        count, batch = int(self._ends[-1]), sum(slices)
        # Runs as long as the slices' shares of a batch, so that all slices come to the end of an epoch at
        # about the same step. Fewer sequences than slices: each slice reads all of them.
        offsets = [0, *itertools.accumulate(slices)]
        cuts = [count * offset // batch for offset in offsets]
        whole = any(low == high for low, high in itertools.pairwise(cuts))
        runs = [(0, count)] * len(slices) if whole else list(itertools.pairwise(cuts))
        self._offsets = offsets
        self._slices = [
            _Slice(number, size, run, self)
            for number, (size, run) in enumerate(zip(slices, runs, strict=True))
        ]

    def at(self, step: int) -> NDArray[np.int64]:
        """Return the indices (batch_size,) of the batch of `step`, counted from 0."""
        return np.concatenate([each.at(step) for each in self._slices])

    def groups(self, step: int, part: slice = slice(None)) -> tuple[list[int], list[int]]:
        """Return the row groups that a part of the batch of `step` is in, and those to read ahead.

        A batch at the end of a window has some sequences of the next one, in row groups that are not listed.
        A quarter of the next windows is read ahead, of those first that are needed soon: more would need
        more memory, and the rest is read quickly.

        Args:
            step: Training step, counted from 0.
            part: Which sequences of the batch.
        """
        first, end, _ = part.indices(self._offsets[-1])
        now: dict[int, None] = {}
        ahead: list[tuple[float, tuple[int, ...]]] = []
        for each, (low, high) in zip(self._slices, itertools.pairwise(self._offsets), strict=True):
            if low < end and first < high:
                needed, following, remaining = each.groups(step)
                now |= dict.fromkeys(needed)
                ahead.append((remaining / each.size, following))
        later = dict.fromkeys(group for _, groups in sorted(ahead) for group in groups if group not in now)
        return list(now), list(later)[: -(-len(now) // 4)]

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of the row groups in an epoch.

        The row groups are divided into as many strata as a window has row groups, in the order of the source.
        Consecutive row groups are from different strata. So the windows of data that are sorted by class, or
        by time, have row groups from everywhere, and are more alike than windows of any row groups.
        """
        draw, count = numpy_generator(self.seed, "row groups", epoch), len(self._ends)
        strata = min(self._window, count)
        stratum = np.arange(count) * strata // count
        sizes = np.bincount(stratum)
        # The groups of a stratum in random order, at equal distances, from a random place on.
        order = np.lexsort((draw.random(count), stratum))
        rank = np.arange(count) - (np.cumsum(sizes) - sizes)[stratum]
        places = (rank + draw.random(strata)[stratum]) / sizes[stratum]
        return order[np.argsort(places, kind="stable")]

    def segments(self, epoch: int, run: tuple[int, int]) -> list[_Segment]:
        """Return what is between two positions in the permuted row groups of an epoch."""
        if epoch not in self._permuted:
            self._permuted = {known: each for known, each in self._permuted.items() if known >= epoch - 1}
            groups = self._permutation(epoch)
            sizes = np.diff(self._ends, prepend=0)[groups]
            self._permuted[epoch] = groups, np.cumsum(sizes)
        groups, ends = self._permuted[epoch]
        first, end = run
        segments = []
        for place in range(int(np.searchsorted(ends, first, "right")), len(groups)):
            group = int(groups[place])
            stop = int(self._ends[group])
            # Distances from the end of the row group, in the permuted order and in the source.
            low = stop - (int(ends[place]) - first)
            high = stop - max(0, int(ends[place]) - end)
            start = int(self._ends[group - 1]) if group else 0
            segments.append(_Segment(group, max(low, start), high))
            if ends[place] >= end:
                break
        return segments
