"""The processes that train together, as the training loop sees them. Here: one process, alone.

`training.distributed` has the team of several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import SequenceSource
from scanline.model.network import Network
from scanline.model.predictor import Predictor
from scanline.training.interruption import Interruption
from scanline.training.tree import Node

Abandon = Callable[[], bool] | None


class Team:
    """One process that computes everything itself.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        received: Returns the number of the signal that this process has received, or None.
    """

    rank = 0
    size = 1

    def __init__(self) -> None:
        self.received: Callable[[], int | None] = lambda: None

    @property
    def signal(self) -> int | None:
        """Number of a signal after which all processes stop at the same step, or None."""
        return self.received()

    def add_up(self, sums: Mapping[Node, Tensor], slices: int) -> Tensor:
        """Return the sum of all slices' vectors, with the same bits in every process.

        Args:
            sums: Sums of subtrees that together are the slices of this process.
            slices: Number of slices of all processes.
        """
        (total,) = sums.values()
        return total

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the rows of all processes one after another, in every process.

        Args:
            own: (n, M) rows of this process.
            sizes: Number of rows of each process.
        """
        return own

    def outputs(
        self, predictor: Predictor, source: SequenceSource, abandon: Abandon = None
    ) -> NDArray[np.float32]:
        """Return the outputs (N, M) of `predictor` for all sequences of `source`, in every process.

        Args:
            predictor: Of the same network in every process.
            source: The same in every process.
            abandon: Asked during the computation.

        Raises:
            Abandoned: In every process, once `abandon` has returned True in one.
        """
        return predictor.outputs(source, abandon)

    def listen_to(self, interruption: Interruption) -> None:
        """Take signals from `interruption`, which records those of this process."""
        self.received = lambda: interruption.signal_number

    def finish(self) -> None:
        """Wait until all processes have ended the training."""

    def wait_for_end(self) -> None:
        """Wait until another process has reported why the training ends, and has ended."""

    def check_weights(self, network: Network, step: int) -> None:
        """Check that all processes have the same weights after `step`."""
