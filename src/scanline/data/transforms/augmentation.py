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

    def distances(self, count: int, step: int) -> tuple[list[int], list[int]]:
        """Return the rows and the columns by which each of `count` pictures moves up and left, at `step`."""
        draw = numpy_generator(self.seed, "shift", step)
        rows, columns = (draw.integers(0, 2 * self.pixels + 1, (count, 1)) - self.pixels for _ in range(2))
        return rows.ravel().tolist(), columns.ravel().tolist()

    def gather(self, source: SequenceSource, indices: Indices, step: int, out: NDArray[Any]) -> NDArray[Any]:
        """Gather pictures and move them, in one copy.

        Args:
            source: Pictures, cut into steps by the view.
            indices: (n,) which of them.
            step: Training step, counted from 0.
            out: One-dimensional, of the source's data type, with room for n * T * F values.

        Returns:
            (n, T, F) values, a view of `out`.
        """
        shape = len(indices), source.max_length, source.features
        values = out[: shape[0] * shape[1] * shape[2]].reshape(shape)
        move = self._move_rows if self.view.order is None else self._move_reordered
        for target, index, row, column in zip(
            values, indices.tolist(), *self.distances(shape[0], step), strict=True
        ):
            move(source.steps_of(index), target, row, column)
        return values

    def _move_rows(self, steps: NDArray[Any], target: NDArray[Any], row: int, column: int) -> None:
        """Move a picture whose values are in reading order."""
        view = self.view
        shape = view.height, view.width, view.channels
        height, width = view.height - abs(row), view.width - abs(column)
        target[:] = 0
        if height <= 0 or width <= 0:
            return
        from_row, from_column = max(row, 0), max(column, 0)
        to_row, to_column = max(-row, 0), max(-column, 0)
        target.reshape(shape)[to_row : to_row + height, to_column : to_column + width] = steps.reshape(shape)[
            from_row : from_row + height, from_column : from_column + width
        ]

    def _move_reordered(self, steps: NDArray[Any], target: NDArray[Any], row: int, column: int) -> None:
        """Move a picture whose values are in the order of the view."""
        view, top, left = self.view, row + self.pixels, column + self.pixels
        window = self._positions[top : top + view.height, left : left + view.width].reshape(-1)
        positions = window[view.order]
        flat = target.reshape(-1)
        steps.reshape(-1).take(positions, 0, flat, "clip")
        flat[positions < 0] = 0

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Where each value of a picture is in its sequence, with a margin of -1 around the picture."""
        view, order = self.view, self.view.order
        assert order is not None
        positions = np.argsort(order).reshape(view.height, view.width, view.channels)
        around = ((self.pixels, self.pixels), (self.pixels, self.pixels), (0, 0))
        return np.pad(positions, around, constant_values=-1)
