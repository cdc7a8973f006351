"""How a picture, or any sequence, becomes the steps that the network reads.

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
from scanline.errors import UsageError
from scanline.seeding import numpy_generator


@dataclass(frozen=True)
class View:
    """One way to read pictures of height x width pixels.

    name: as above. seed: what "permuted" is drawn from; the others do not look at it. channels: values a
    pixel, 1 or 3.
    Raises UsageError if the pictures cannot be cut into such patches.
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
        """k of patches:k, otherwise 0."""
        return int(self.name.partition(":")[2] or 0)

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """Which value of the picture, in reading order, stands at each place of the view; None: the same."""
        shape = (self.height, self.width, self.channels)
        values = np.arange(np.prod(shape)).reshape(shape)
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
        """What a step is called; one of "permuted" is a pixel from anywhere."""
        units = {"rows": "row", "columns": "column", "pixels": "pixel", "patches": "patch"}
        return units.get(self.name.partition(":")[0], "step")

    @property
    def features(self) -> int:
        """Values of a step."""
        if self.patch:
            return self.patch**2 * self.channels
        return self.channels * {"rows": self.width, "columns": self.height}.get(self.name, 1)

    def apply(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """(N, height, width x channels) -> (N, T, F)."""
        flat = pictures.reshape(len(pictures), -1)
        seen = flat if self.order is None else flat[:, self.order]
        return seen.reshape(len(pictures), -1, self.features)

    def undo(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `apply`, from steps of any width: (N, T, F) -> (N, height, width x channels)."""
        flat = steps.reshape(len(steps), -1)
        if self.order is not None:
            flat = flat[:, np.argsort(self.order)]
        return flat.reshape(len(steps), self.height, -1)

    def see(self, pictures: MemorySource) -> MemorySource:
        """`apply` to pictures that were read as rows."""
        seen = self.apply(pictures.values)
        lengths = np.full(len(seen), seen.shape[1], np.int64)
        return replace(pictures, concatenated=seen.reshape(-1, self.features), lengths=lengths)


def cut_steps(sequences: MemorySource, features: int) -> MemorySource:
    """The same values in the same order, `features` a step: (N, T, F) -> (N, T * F / features, features).

    features: 0 keeps the steps as they are.
    Raises UsageError if the values of a sequence cannot be cut evenly.
    """
    if features in (0, sequences.features):
        return sequences
    counts = sequences.lengths * sequences.features  # values of each sequence
    uneven = np.flatnonzero(counts % features)
    if uneven.size:
        first = int(uneven[0])
        raise UsageError(
            f"input.features must divide the {counts[first]} values ({sequences.lengths[first]} steps of "
            f"{sequences.features}) of a sequence of {sequences.name}, got {features}"
        )
    return replace(
        sequences, concatenated=sequences.concatenated.reshape(-1, features), lengths=counts // features
    )
