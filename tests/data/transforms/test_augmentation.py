"""Shifted pictures."""

from __future__ import annotations

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.views import View
from scanline.seeding import numpy_generator


def shift_by_padding(values, channels, pixels, seed, step):
    """The same by a margin of zeros: values (N, height, width x channels)."""
    generator = numpy_generator(seed, "shift", step)
    n, height, row = values.shape
    width = row // channels
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    wide = np.pad(values.reshape(n, height, width, channels), around)
    rows = generator.integers(0, 2 * pixels + 1, (n, 1)) + np.arange(height)
    columns = generator.integers(0, 2 * pixels + 1, (n, 1)) + np.arange(width)
    return wide[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(values.shape)


def shifted(values, channels=1):
    """Pictures (N, height, width x channels) moved by up to one pixel."""
    n, height, row = values.shape
    source = MemorySource.from_array(values, np.zeros(n, np.int64), (0,), "made up")
    shift = PictureShift(View("rows", height, row // channels, channels), 1, seed=0)
    return shift.gather(source, np.arange(n), 0)


def test_a_picture_moves_as_a_whole_and_zeros_move_in():
    dot = np.zeros((400, 3, 4), np.uint8)
    dot[:, 1, 1] = 7
    moved = shifted(dot)
    assert (moved.sum((1, 2)) == 7).all()
    places = {tuple(int(i) for i in np.argwhere(picture)[0]) for picture in moved}
    assert places == {(row, column) for row in (0, 1, 2) for column in (0, 1, 2)}


def test_what_leaves_the_field_is_gone():
    corner = np.zeros((200, 2, 2), np.float32)
    corner[:, 0, 0] = 1
    counts = np.unique(shifted(corner).sum((1, 2)), return_counts=True)
    assert counts[0].tolist() == [0, 1]
    assert abs(counts[1][0] / 200 - 5 / 9) < 0.1  # up or left, 5 of 9 moves


def test_the_colours_of_a_pixel_move_together():
    dot = np.zeros((50, 3, 3, 3), np.uint8)
    dot[:, 1, 1] = (7, 8, 9)
    moved = shifted(dot.reshape(50, 3, 9), 3).reshape(50, 9, 3)
    assert {tuple(pixel) for picture in moved for pixel in picture.tolist()} == {(0, 0, 0), (7, 8, 9)}
