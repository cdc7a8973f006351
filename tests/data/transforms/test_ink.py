"""Making pictures look like those that a network was trained on."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from sklearn.datasets import load_digits

from scanline.data.picture_format import PictureFormat
from scanline.data.transforms.framing import fit_picture
from scanline.data.transforms.ink import prepare_picture
from scanline.errors import DataError
from scanline.formats.images import read_pixels

MNIST = PictureFormat(height=28, width=28, box=20, levels=255, centre="mass")
DIGITS = PictureFormat(height=8, width=8, box=8, levels=16, centre="box")


def bar(height, width, top, left, tall, wide, ink=0.0, paper=1.0):
    """A picture of one filled rectangle."""
    picture = np.full((height, width), paper, np.float32)
    picture[top : top + tall, left : left + wide] = ink
    return picture


def extent(values):
    """First and last row and column that hold more than a tenth of the full value."""
    rows, columns = np.nonzero(values > 25)
    return rows.min(), rows.max(), columns.min(), columns.max()


def seven(height, width, top, left, size, pen):
    """A 7 drawn with straight pen strokes in a picture of white paper."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across = (np.abs(y - top) < pen / 2) & (x >= left) & (x <= left + size / 2)
    share = (y - top) / size
    down = (np.abs(x - (left + size / 2 - share * size / 4)) < pen / 2) & (y >= top) & (y <= top + size)
    return np.where(across | down, 0.1, 1.0).astype(np.float32)


@pytest.mark.parametrize(("ink", "paper"), [(0, 1), (1, 0), (0.3, 0.8), (0.8, 0.3), (0.45, 0.55)])
def test_ink_is_light_on_black_whatever_its_polarity_and_contrast(ink, paper):
    found = prepare_picture(bar(50, 70, 10, 20, 30, 12, ink, paper), MNIST)
    assert found.dtype == np.uint8
    assert found.shape == (28, 28)
    # 30 x 12 becomes 20 x 8, its middle at pixel 14: rows 4 or 5 to 23 or 24, columns 10 or 11 to 17 or 18
    assert extent(found) in {(4 + i, 23 + i, 10 + j, 17 + j) for i in (0, 1) for j in (0, 1)}
    assert found[8:20, 12:16].min() == 255
    assert found[:4].max() == found[:, :10].max() == 0


@pytest.mark.parametrize(("tall", "wide"), [(60, 30), (30, 60), (40, 40), (200, 50), (20, 10), (6, 3)])
def test_the_longest_side_fills_the_box_and_the_aspect_is_kept(tall, wide):
    top, bottom, left, right = extent(prepare_picture(bar(300, 400, 50, 90, tall, wide), MNIST))
    assert max(bottom - top + 1, right - left + 1) == 20
    assert abs((bottom - top + 1) / (right - left + 1) - tall / wide) < 0.25


def test_the_centre_of_mass_lies_in_the_middle_within_half_a_pixel():
    found = prepare_picture(seven(200, 300, 30, 150, 140, 20), MNIST).astype(float)
    assert abs(found.sum(1) @ np.arange(28) / found.sum() - 14) <= 0.5
    assert abs(found.sum(0) @ np.arange(28) / found.sum() - 14) <= 0.5


def test_with_centre_box_the_rectangle_of_the_ink_lies_in_the_middle():
    form = PictureFormat(28, 28, 20, 255, "box")
    top, bottom, left, right = extent(prepare_picture(seven(200, 300, 30, 150, 140, 20), form))
    assert abs(top + bottom - 27) <= 1
    assert abs(left + right - 27) <= 1


def test_ink_that_the_shift_would_push_over_the_edge_stays_whole():
    picture = bar(240, 240, 20, 20, 200, 100)
    picture[20:220, 120:130] = 0
    picture[200:220, 120:220] = 0  # heavy left, light right
    form = PictureFormat(24, 24, 24, 255, "mass")
    found = prepare_picture(picture, form)
    assert extent(found) == (0, 23, 0, 23)


def test_a_field_need_not_be_square():
    found = prepare_picture(bar(60, 60, 10, 25, 40, 10), PictureFormat(32, 16, 24, 255, "mass"))
    assert found.shape == (32, 16)
    top, bottom, left, right = extent(found)
    assert (bottom - top + 1, right - left + 1) == (24, 6)


def test_ink_wider_than_the_field_is_made_to_fit():
    top, bottom, left, right = extent(
        prepare_picture(bar(60, 60, 20, 10, 10, 40), PictureFormat(32, 16, 24, 255, "box"))
    )
    assert (bottom - top + 1, right - left + 1) == (4, 16)


def test_values_reach_the_largest_level_and_no_more():
    found = prepare_picture(bar(64, 64, 8, 20, 48, 24, 0.4, 0.7), DIGITS)
    assert found.shape == (8, 8)
    assert found.max() == 16


def test_a_speck_far_away_decides_nothing():
    picture = seven(200, 300, 40, 150, 120, 20)
    clean = prepare_picture(picture, MNIST)
    picture[190:193, 5:8] = 0
    assert np.abs(prepare_picture(picture, MNIST).astype(int) - clean).max() <= 2


def test_a_detached_stroke_belongs_to_the_character():
    picture = bar(200, 200, 80, 60, 100, 20)
    picture[40:56, 60:140] = 0  # 80 x 16 of ink, 24 pixels above the upright: rows 40 to 179 in all
    top, bottom, left, right = extent(prepare_picture(picture, MNIST))
    assert (bottom - top + 1, right - left + 1) == (20, 11)  # 140 x 80 scaled by 20 / 140


def test_a_thin_pen_in_a_large_scan_stays_bright():
    found = prepare_picture(seven(2400, 2400, 300, 400, 1800, 6), MNIST)
    top, bottom, *_ = extent(found)
    assert bottom - top + 1 == 20
    assert (found[top : bottom + 1].max(1) >= 150).all()
    assert 1.8 <= np.median(found[top + 4 : bottom - 1].sum(1) / 255) <= 3  # pixels across, as in MNIST


def test_a_small_character_in_a_large_scan_is_located():
    top, bottom, left, right = extent(prepare_picture(bar(3000, 2000, 2100, 300, 60, 30), MNIST))
    assert (bottom - top + 1, right - left + 1) == (20, 10)


@pytest.mark.parametrize("seed", range(3))
def test_the_texture_of_paper_is_not_ink(seed):
    noise = np.random.default_rng(seed).normal(0, 0.03, (200, 300)).astype(np.float32)
    picture = np.clip(seven(200, 300, 40, 150, 120, 20) * 0.7 + 0.2 + noise, 0, 1)
    clean = prepare_picture(seven(200, 300, 40, 150, 120, 20), MNIST).astype(int)
    assert np.abs(prepare_picture(picture, MNIST) - clean).mean() < 6


def test_uneven_light_is_not_ink():
    light = (np.linspace(1, 0.5, 300)[None] * np.linspace(1, 0.8, 200)[:, None]).astype(np.float32)
    clean = prepare_picture(seven(200, 300, 40, 150, 120, 20), MNIST).astype(int)
    found = prepare_picture(seven(200, 300, 40, 150, 120, 20) * light, MNIST)
    assert np.abs(found - clean).mean() < 6


def test_the_input_is_left_as_it_was():
    picture = seven(100, 100, 20, 20, 60, 8)
    before = picture.copy()
    picture.flags.writeable = False
    prepare_picture(picture, MNIST)
    assert (picture == before).all()


def test_a_view_that_is_not_contiguous_gives_the_same():
    picture = seven(100, 120, 20, 20, 60, 8)
    view = np.repeat(np.repeat(picture, 2, 0), 3, 1)[::2, ::3]
    assert (prepare_picture(view, MNIST) == prepare_picture(picture, MNIST)).all()


def mnist_test_images():
    folder = os.environ.get("SCANLINE_DATA")
    if not folder:
        pytest.skip("SCANLINE_DATA names no folder with MNIST")
    path = Path(folder, "mnist", "t10k-images-idx3-ubyte.gz")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)


def test_every_mnist_test_image_comes_back_bit_for_bit():
    changed = [
        i
        for i, image in enumerate(mnist_test_images())
        if (prepare_picture(image / np.float32(255), MNIST) != image).any()
    ]
    assert changed == []


def test_mnist_images_come_back_bit_for_bit_through_a_png(tmp_path):
    for i, image in enumerate(mnist_test_images()[::200]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        assert (fit_picture(read_pixels(tmp_path / f"{i}.png"), MNIST, "") == image).all()


def test_inverted_mnist_images_come_back_within_one_level():
    images = mnist_test_images()[::20]
    same = 0
    for image in images:
        found = prepare_picture(1 - image / np.float32(255), MNIST)
        same += np.abs(found - np.rint(image * (255.0 / image.max()))).max() <= 1
    assert same >= 0.97 * len(images)  # the rest loses specks that MNIST's authors kept


def test_every_digit_of_scikit_learn_comes_back_bit_for_bit():
    images = load_digits().images
    assert all((prepare_picture((i / 16).astype(np.float32), DIGITS) == i).all() for i in images)


def test_inverted_digits_keep_their_place():
    images = [i for i in load_digits().images if i.max() == 16]
    same = [(prepare_picture((1 - i / 16).astype(np.float32), DIGITS) == i).all() for i in images]
    assert np.mean(same) >= 0.97


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3,), (2, 2, 3)])
def test_an_array_that_is_no_picture_is_refused(shape):
    with pytest.raises(DataError, match=r"seven\.png: expected a picture of \(height, width\)"):
        prepare_picture(np.zeros(shape, np.float32), MNIST, "seven.png")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (28, 28), (300, 200)])
def test_a_uniform_picture_holds_nothing_to_read(shape):
    with pytest.raises(DataError, match=r"seven\.png: the picture is uniform: nothing to read"):
        prepare_picture(np.full(shape, 0.5, np.float32), MNIST, "seven.png")


def test_hardly_any_contrast_is_refused():
    with pytest.raises(DataError, match=r"seven\.png: almost no contrast.*found 0\.020; give a clearer"):
        prepare_picture(bar(50, 50, 10, 10, 30, 10, 0.5, 0.52), MNIST, "seven.png")


def test_paper_with_texture_and_no_ink_is_refused():
    noise = np.random.default_rng(0).normal(0.8, 0.03, (60, 60)).astype(np.float32)
    with pytest.raises(
        DataError, match=r"nothing stands out: expected ink on an even background, found a contrast of 0.09"
    ):
        prepare_picture(noise, MNIST)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(DataError, match=r"seven\.png: the picture holds NaN or infinity"):
        prepare_picture(np.array([[0, value]], np.float32), MNIST, "seven.png")


def test_values_outside_0_to_1_are_refused():
    with pytest.raises(DataError, match=r"expected values 0\.\.1, found 0\.\.255; scale the picture"):
        prepare_picture(np.array([[0, 255]], np.float32), MNIST)


@pytest.mark.parametrize("form", [MNIST, DIGITS])
@settings(max_examples=120, deadline=None)
@given(
    picture=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.floats(0, 1, width=32),
    )
)
def test_any_picture_is_refused_or_takes_the_form(form, picture):
    try:
        found = prepare_picture(picture, form)
    except DataError:
        return
    assert found.shape == (form.height, form.width)
    assert found.dtype == np.uint8
    assert 0 < found.max() <= form.levels
