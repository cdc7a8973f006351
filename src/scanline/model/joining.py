"""Predictions of recordings from those of their windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.data.source import SequenceSource
from scanline.data.windows import Windows, WindowSource
from scanline.tasks import Task

# Numbers of the windows whose steps are predicted at once: windows overlap, and each has its own outputs.
_NUMBERS = 2**22

Compute = Callable[[SequenceSource], NDArray[np.float32]]


@dataclass(frozen=True)
class Joining:
    """How the outputs of windows become those of recordings.

    A recording has the mean of what its windows vote for, see `Task.votes`; each of its steps the mean of
    the windows that it is in, if the task predicts steps. One vote alone keeps its bits. Votes are added in
    the order of the windows, so that what else is predicted changes no bit.

    Attributes:
        windows: How recordings are cut.
        task: What is predicted.
    """

    windows: Windows
    task: Task

    def outputs(self, compute: Compute, source: SequenceSource) -> NDArray[np.float32]:
        """Return the outputs of recordings, (N, M), or (S, M) of their steps.

        Args:
            compute: Returns the outputs of the network for sequences, (W, M), or of all their steps.
            source: N recordings as steps of the network.
        """
        join = self._of_steps if self.task.per_step else self._of_recordings
        parts = [join(compute, self.windows.view(part)) for part in source.parts()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _of_recordings(self, compute: Compute, view: WindowSource) -> NDArray[np.float32]:
        outputs = compute(view)
        counts = np.bincount(view.recording)
        several = counts > 1
        if not several.any():
            return outputs
        sums = np.zeros((len(counts), outputs.shape[1]))
        # One after another: NumPy's other sums add in an order that depends on how many there are.
        np.add.at(sums, view.recording, self.task.votes(outputs))
        joined: NDArray[np.float32] = outputs[np.cumsum(counts) - counts]
        joined[several] = self.task.outputs_of_votes((sums / counts[:, None])[several])
        return joined

    def _of_steps(self, compute: Compute, view: WindowSource) -> NDArray[np.float32]:
        total, width = view.recordings.total_steps, self.task.output_size
        joined = np.empty((total, width), np.float32)
        sums, counts = np.zeros((total, width)), np.zeros(total, np.int32)
        at_once = max(1, _NUMBERS // (self.windows.length * (view.features + width)))
        for first in range(0, len(view), at_once):
            some = view.take(slice(first, first + at_once))
            outputs = compute(some)
            votes, row = self.task.votes(outputs), 0
            for start, length in zip(some.starts.tolist(), some.lengths.tolist(), strict=True):
                own, there = slice(row, row + length), slice(start, start + length)
                sums[there] += votes[own]
                counts[there] += 1
                joined[there] = outputs[own]
                row += length
        several = counts > 1
        joined[several] = self.task.outputs_of_votes(sums[several] / counts[several, None])
        return joined
