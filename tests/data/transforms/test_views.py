"""Pictures, and any sequences, cut into the steps that the network reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.transforms.views import View, cut_steps
from scanline.errors import UsageError
from tests.conftest import make_sequences

GREY = np.arange(8).reshape(1, 2, 4)  # 0 1 2 3 over 4 5 6 7
# Written down once: the order of the six pixels of a picture of 2 x 3 under the seeds 0 and 1.
PERMUTED = ([5, 2, 4, 1, 0, 3], [3, 4, 5, 1, 0, 2])
# Two rows of two pixels; the colours of a pixel are its number 0 to 3 with r, g and b as tens.
COLOUR = np.array([[[10, 20, 30, 11, 21, 31], [12, 22, 32, 13, 23, 33]]])


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("rows", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("columns", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("pixels", [[0], [1], [2], [3], [4], [5], [6], [7]]),
        ("patches:1", [[0], [1], [2], [3], [4], [5], [6], [7]]),
        ("patches:2", [[0, 1, 4, 5], [2, 3, 6, 7]]),
    ],
)
def test_a_grey_picture_is_read_in_the_order_of_its_view(name, steps):
    view = View(name, 2, 4)
    assert view.apply(GREY).tolist() == [steps]
    assert view.features == len(steps[0])


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("rows", [[10, 20, 30, 11, 21, 31], [12, 22, 32, 13, 23, 33]]),
        ("columns", [[10, 20, 30, 12, 22, 32], [11, 21, 31, 13, 23, 33]]),
        ("pixels", [[10, 20, 30], [11, 21, 31], [12, 22, 32], [13, 23, 33]]),
        ("patches:1", [[10, 20, 30], [11, 21, 31], [12, 22, 32], [13, 23, 33]]),
        ("patches:2", [[10, 20, 30, 11, 21, 31, 12, 22, 32, 13, 23, 33]]),
    ],
)
def test_the_colours_of_a_pixel_stay_together(name, steps):
    view = View(name, 2, 2, 3)
    assert view.apply(COLOUR).tolist() == [steps]
    assert view.features == len(steps[0])


def test_patches_are_read_row_by_row_from_the_top_left():
    picture = np.arange(24).reshape(1, 4, 6)
    assert View("patches:2", 4, 6).apply(picture).tolist() == [
        [
            [0, 1, 6, 7],
            [2, 3, 8, 9],
            [4, 5, 10, 11],
            [12, 13, 18, 19],
            [14, 15, 20, 21],
            [16, 17, 22, 23],
        ]
    ]


def test_a_patch_as_large_as_the_picture_is_one_step():
    assert View("patches:4", 4, 4).apply(np.arange(16).reshape(1, 4, 4)).tolist() == [[list(range(16))]]


def test_the_pixels_of_mnist_are_784_steps_of_one_value():
    assert View("pixels", 28, 28).apply(np.zeros((5, 28, 28))).shape == (5, 784, 1)
    assert View("permuted", 28, 28).apply(np.zeros((5, 28, 28))).shape == (5, 784, 1)


def test_permuted_shows_every_pixel_once_in_the_same_order_for_every_picture():
    pictures = np.stack([np.arange(784), np.arange(784)[::-1]]).reshape(2, 28, 28)
    one, other = View("permuted", 28, 28, seed=3).apply(pictures)[:, :, 0]
    assert sorted(one) == list(range(784))
    assert (one + other == 783).all()
    assert (one != np.arange(784)).mean() > 0.9


def test_permuted_depends_on_the_seed_alone():
    orders = [View("permuted", 5, 7, seed=seed).apply(np.arange(35).reshape(1, 5, 7)) for seed in (0, 0, 1)]
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()


def test_the_permutation_of_a_seed_never_changes_for_models_rest_on_it():
    assert View("permuted", 2, 3, seed=0).apply(np.arange(6).reshape(1, 2, 3)).ravel().tolist() == PERMUTED[0]
    assert View("permuted", 2, 3, seed=1).apply(np.arange(6).reshape(1, 2, 3)).ravel().tolist() == PERMUTED[1]


def test_permuted_keeps_the_colours_of_a_pixel_together():
    grey = View("permuted", 3, 4, 1, 5).apply(np.arange(12).reshape(1, 3, 4))[0, :, 0]
    colour = View("permuted", 3, 4, 3, 5).apply(np.arange(36).reshape(1, 3, 12))[0]
    assert colour.tolist() == [[3 * pixel, 3 * pixel + 1, 3 * pixel + 2] for pixel in grey]


@st.composite
def views(draw):
    channels = draw(st.sampled_from([1, 3]))
    name = draw(st.sampled_from(["rows", "columns", "pixels", "permuted", "patches"]))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    if name == "patches":
        k = draw(st.integers(1, 4))
        return View(f"patches:{k}", height * k, width * k, channels)
    return View(name, height, width, channels, draw(st.integers(0, 2**40)))


@settings(deadline=None)
@given(view=views(), n=st.integers(1, 4), dtype=st.sampled_from([np.uint8, np.float32]), data=st.data())
def test_undo_is_the_inverse_of_apply(view, n, dtype, data):
    shape = n, view.height, view.width * view.channels
    pictures = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    steps = view.apply(pictures)
    assert steps.shape == (n, shape[1] * shape[2] // view.features, view.features)
    assert steps.dtype == dtype
    assert np.sort(steps[0], axis=None).tolist() == np.sort(pictures[0], axis=None).tolist()
    assert (view.undo(steps) == pictures).all()
    widths = [width for width in range(1, steps[0].size + 1) if steps[0].size % width == 0]
    cut = steps.reshape(n, -1, data.draw(st.sampled_from(widths)))
    assert (view.undo(cut) == pictures).all()
    assert (view.apply(view.undo(steps)) == steps).all()


def test_pictures_that_are_not_contiguous_are_read_alike():
    wide = np.arange(48).reshape(2, 4, 6)
    assert (View("columns", 4, 3).apply(wide[:, :, ::2]) == wide[:, :, ::2].transpose(0, 2, 1)).all()


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5), (2, 2)])
def test_patches_that_do_not_come_out_even_are_refused_with_the_size_of_the_pictures(shape):
    height, width = shape
    message = (
        r"input\.view patches:3 needs a height and a width that 3 divides, "
        rf"got pictures of {height} x {width}"
    )
    with pytest.raises(UsageError, match=message):
        View("patches:3", height, width)


def test_sequences_of_rows_are_seen_with_their_labels_and_names():
    rows = MemorySource(
        np.arange(16, dtype=np.uint8).reshape(4, 4),
        np.array([2, 2]),
        np.array([1, 0]),
        ("no", "yes"),
        "x",
        ids=np.array(["one", "two"]),
        groups=np.array(["a", "b"]),
    )
    seen = View("columns", 2, 4).see(rows)
    assert seen.values.tolist() == [
        [[0, 4], [1, 5], [2, 6], [3, 7]],
        [[8, 12], [9, 13], [10, 14], [11, 15]],
    ]
    assert seen.lengths.tolist() == [4, 4]
    assert (seen.targets.tolist(), seen.ids.tolist(), seen.groups.tolist()) == (
        [1, 0],
        ["one", "two"],
        ["a", "b"],
    )
    assert seen.concatenated.dtype == np.uint8


# --- steps of another width


def test_steps_are_cut_in_reading_order():
    values = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    cut = cut_steps(MemorySource.from_array(values, np.array([0]), (0,), "x"), 3)
    assert cut.values.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]]
    assert cut.lengths.tolist() == [4]


def test_steps_are_joined_too():
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    cut = cut_steps(MemorySource.from_array(values, np.array([0, 0]), (0,), "x"), 6)
    assert cut.values.tolist() == [[[0, 1, 2, 3, 4, 5]], [[6, 7, 8, 9, 10, 11]]]
    assert cut.lengths.tolist() == [1, 1]


@pytest.mark.parametrize("features", [0, 3])
def test_steps_of_their_own_width_are_left_as_they_are(features):
    sequences = make_sequences()
    assert cut_steps(sequences, features) is sequences


def test_steps_that_do_not_come_out_even_are_refused():
    with pytest.raises(
        UsageError, match=r"must divide the 15 values \(5 steps of 3\) of a sequence of made up, got 4"
    ):
        cut_steps(make_sequences(), 4)


def test_sequences_of_different_lengths_are_cut_each_by_itself():
    ragged = MemorySource(
        np.arange(6, dtype=np.float32)[:, None], np.array([4, 2]), np.zeros(2, int), (0,), "x"
    )
    cut = cut_steps(ragged, 2)
    assert cut.lengths.tolist() == [2, 1]
    assert cut.concatenated.tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(UsageError, match=r"must divide the 2 values \(2 steps of 1\).* got 4"):
        cut_steps(ragged, 4)


def test_lengths_that_only_come_out_even_together_are_refused():
    ragged = MemorySource(np.zeros((4, 1), np.float32), np.array([3, 1]), np.zeros(2, int), (0,), "x")
    with pytest.raises(UsageError, match=r"must divide the 3 values \(3 steps of 1\).* got 2"):
        cut_steps(ragged, 2)
