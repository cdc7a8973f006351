"""Shifted pictures."""

from __future__ import annotations

import numpy as np

from scanline.data.transforms.augmentation import shift_pictures


def test_a_picture_moves_as_a_whole_and_zeros_move_in():
    dot = np.zeros((400, 3, 4), np.uint8)
    dot[:, 1, 1] = 7
    moved = shift_pictures(dot, 1, 1, np.random.default_rng(0))
    assert (moved.sum((1, 2)) == 7).all()
    places = {tuple(int(i) for i in np.argwhere(picture)[0]) for picture in moved}
    assert places == {(row, column) for row in (0, 1, 2) for column in (0, 1, 2)}


def test_what_leaves_the_field_is_gone():
    corner = np.zeros((200, 2, 2), np.float32)
    corner[:, 0, 0] = 1
    counts = np.unique(shift_pictures(corner, 1, 1, np.random.default_rng(0)).sum((1, 2)), return_counts=True)
    assert counts[0].tolist() == [0, 1]
    assert abs(counts[1][0] / 200 - 5 / 9) < 0.1  # up or left, 5 of 9 moves


def test_the_colours_of_a_pixel_move_together():
    dot = np.zeros((50, 3, 3, 3), np.uint8)
    dot[:, 1, 1] = (7, 8, 9)
    moved = shift_pictures(dot.reshape(50, 3, 9), 3, 1, np.random.default_rng(0)).reshape(50, 9, 3)
    assert {tuple(pixel) for picture in moved for pixel in picture.tolist()} == {(0, 0, 0), (7, 8, 9)}
