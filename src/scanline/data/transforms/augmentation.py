"""Random changes of training data that keep its target valid."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.source import Indices, SequenceSource
from scanline.data.transforms.views import View
from scanline.seeding import numpy_generator


class PictureShift:
    """Moves each picture by up to `pixels` rows and columns, all distances equally likely; 0 moves in.

    The distances are a function of the seed and the step.

    Args:
        view: How the pictures were cut into steps.
        pixels: Largest distance, at least 1.
        seed: Seed of the distances.
    """

    def __init__(self, view: View, pixels: int, seed: int) -> None:
        self.view, self.pixels, self.seed = view, pixels, seed

    def gather(
        self, source: SequenceSource, indices: Indices, step: int, part: slice = slice(None)
    ) -> NDArray[Any]:
        """Gather pictures and move them.

        Args:
            source: Pictures, cut into steps by the view.
            indices: (N,) the pictures of the batch.
            step: Training step, counted from 0.
            part: Which n of the N to return. They move as they do in the whole batch.

        Returns:
            (n, T, F) values of the source's data type.
        """
        draw = numpy_generator(self.seed, "shift", step)
        distances = draw.integers(0, 2 * self.pixels + 1, (2, len(indices), 1)) - self.pixels
        rows, columns = distances[:, part]
        indices = indices[part]
        move = self._move_rows if self.view.order is None else self._move_reordered
        moved = move(source, indices, rows, columns)
        return moved.reshape(len(indices), -1, source.features)

    def _move_rows(
        self, source: SequenceSource, indices: Indices, rows: Indices, columns: Indices
    ) -> NDArray[Any]:
        """Move pictures whose values are in reading order, by (n, 1) rows up and (n, 1) columns left."""
        view = self.view
        width = view.width * view.channels
        # Row r of the result starts at row r + rows, column `columns`, and runs into the next row of the
        # picture, or into the next picture: what does not belong to the row is overwritten by 0 below.
        offsets = (np.arange(view.height) + rows) * width + columns * view.channels
        moved = source.windows(indices, offsets, width).reshape(
            len(indices), view.height, view.width, view.channels
        )
        rows, columns = rows[:, 0], columns[:, 0]
        for distance in range(1, min(self.pixels, view.height) + 1):
            moved[rows >= distance, -distance] = 0
            moved[rows <= -distance, distance - 1] = 0
        for distance in range(1, min(self.pixels, view.width) + 1):
            moved[columns >= distance, :, -distance] = 0
            moved[columns <= -distance, :, distance - 1] = 0
        return moved

    def _move_reordered(
        self, source: SequenceSource, indices: Indices, rows: Indices, columns: Indices
    ) -> NDArray[Any]:
        """Move pictures whose values are in the order of the view."""
        view = self.view
        top = (rows + self.pixels)[:, :, None] + np.arange(view.height)[:, None]
        left = (columns + self.pixels)[:, :, None] + np.arange(view.width)
        positions = self._positions[top, left].reshape(len(indices), -1)[:, view.order]
        values = source.gather(indices).values.reshape(len(indices), -1)
        moved = np.take_along_axis(values, np.maximum(positions, 0), 1)
        moved[positions < 0] = 0
        return moved

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Where each value of a picture is in its sequence, with a margin of -1 around the picture."""
        view, order = self.view, self.view.order
        assert order is not None
        # `order` maps step positions to pixels; argsort inverts the permutation.
        positions = np.argsort(order).reshape(view.height, view.width, view.channels)
        around = ((self.pixels, self.pixels), (self.pixels, self.pixels), (0, 0))
        return np.pad(positions, around, constant_values=-1)
