"""Cuts a picture, or any sequence, into the steps that the network reads.

Every view of a picture is its values in another order, cut into steps of equal width:

    rows       a step for each row, from the top              (height, width x channels)
    columns    a step for each column, from the left          (width, height x channels)
    pixels     a step for each pixel, in reading order        (height x width, channels)
    permuted   the same pixels in an order drawn once         (height x width, channels)
    patches:k  a step for each k x k patch, in reading order  (height / k x width / k, k x k x channels)

"permuted" is the benchmark of Le, Jaitly and Hinton 2015, "A simple way to initialize recurrent networks of
rectified linear units".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import Indices, SequenceSource
from scanline.errors import UsageError
from scanline.seeding import numpy_generator


@dataclass(frozen=True)
class View:
    """One way to read pictures of height x width pixels.

    Attributes:
        name: As in the table above.
        height: Height in pixels.
        width: Width in pixels.
        channels: Values of a pixel, 1 or 3.
        seed: Seed of "permuted"; other views ignore it.

    Raises:
        UsageError: If the pictures cannot be cut into such patches.
    """

    name: str
    height: int
    width: int
    channels: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patch and (self.height % self.patch or self.width % self.patch):
            raise UsageError(
                f"input.view {self.name} needs a height and a width that {self.patch} divides, "
                f"got pictures of {self.height} x {self.width}"
            )

    @property
    def patch(self) -> int:
        """Side of a patch, the k of patches:k; 0 for other views."""
        return int(self.name.partition(":")[2] or 0)

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """Index into the picture, in reading order, of each value of the view; None if they are equal."""
        shape = (self.height, self.width, self.channels)
        values = np.arange(np.prod(shape)).reshape(shape)
        # Index arithmetic on an array of positions: the same transposes as of the picture itself.
        if self.name == "columns":
            return values.transpose(1, 0, 2).reshape(-1)
        if self.name == "permuted":
            # Sorted raw bits, not `permutation`: NumPy may change that, and a model is read for years.
            bits = numpy_generator(self.seed, "permutation").bit_generator.random_raw(
                self.height * self.width
            )
            return values.reshape(-1, self.channels)[np.argsort(bits, kind="stable")].reshape(-1)
        if self.patch:
            k = self.patch
            tiles = values.reshape(self.height // k, k, self.width // k, k, self.channels)
            return tiles.transpose(0, 2, 1, 3, 4).reshape(-1)
        return None

    @property
    def unit(self) -> str:
        """Name of a step for messages: "row", "column", "pixel", "patch", or "step" for "permuted"."""
        units = {"rows": "row", "columns": "column", "pixels": "pixel", "patches": "patch"}
        return units.get(self.name.partition(":")[0], "step")

    @property
    def features(self) -> int:
        """Values of a step."""
        if self.patch:
            return self.patch**2 * self.channels
        return self.channels * {"rows": self.width, "columns": self.height}.get(self.name, 1)

    def apply(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return the steps of pictures: (N, height, width x channels) -> (N, T, F)."""
        flat = pictures.reshape(len(pictures), -1)
        seen = flat if self.order is None else flat[:, self.order]
        return seen.reshape(len(pictures), -1, self.features)

    def undo(self, steps: NDArray[Any]) -> NDArray[Any]:
        """Invert `apply`, for steps of any width: (N, T, F) -> (N, height, width x channels)."""
        flat = steps.reshape(len(steps), -1)
        if self.order is not None:
            # argsort of a permutation is its inverse.
            flat = flat[:, np.argsort(self.order)]
        return flat.reshape(len(steps), self.height, -1)

    def see(self, pictures: MemorySource) -> MemorySource:
        """Return pictures that were read as rows, cut into the steps of this view."""
        seen = self.apply(pictures.values)
        lengths = np.full(len(seen), seen.shape[1], np.int64)
        return replace(pictures, concatenated=seen.reshape(-1, self.features), lengths=lengths)


def cut_steps(sequences: MemorySource, features: int) -> MemorySource:
    """Cut sequences into steps of `features` values: (N, T, F) -> (N, T * F / features, features).

    Args:
        sequences: The sequences; values keep their order.
        features: Values of a step; 0 keeps the steps.

    Raises:
        UsageError: If `features` does not divide the number of values of a sequence, or each step has a
            target of its own.
    """
    if features in (0, sequences.features):
        return sequences
    if sequences.step_targets is not None:
        raise UsageError(
            f"input.features must be 0 or {sequences.features} for a label at each step, got {features}"
        )
    counts = sequences.lengths * sequences.features
    check_divisible(sequences, counts, features)
    return replace(
        sequences, concatenated=sequences.concatenated.reshape(-1, features), lengths=counts // features
    )


def check_divisible(sequences: SequenceSource, counts: Indices, features: int) -> None:
    """Check that sequences can be cut into steps of `features` values.

    Args:
        sequences: The sequences.
        counts: (N,) number of values of each.
        features: Values of a step.

    Raises:
        UsageError: If `features` does not divide the number of values of a sequence.
    """
    uneven = np.flatnonzero(counts % features)
    if uneven.size:
        first = int(uneven[0])
        raise UsageError(
            f"input.features must divide the {counts[first]} values ({sequences.lengths[first]} steps of "
            f"{sequences.features}) of a sequence of {sequences.name}, got {features}"
        )
