"""Picture files: formats, colours, sizes, fits, and files that cannot be read."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from scanline.data.picture_format import PictureFormat
from scanline.data.readers import pictures
from scanline.errors import DataError, UsageError
from tests.data.readers.picture_files import grey, put, read

# --- formats and colours


@pytest.mark.parametrize("end", ["png", "PNG", "pgm", "bmp", "tif", "ppm", "webp"])
def test_each_lossless_format_keeps_its_pixels_bit_for_bit(tmp_path, end):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    options = {"lossless": True, "exact": True} if end == "webp" else {}
    colours = np.repeat(pixels[:, :, None], 3, 2) if end == "ppm" else pixels
    put(tmp_path / "a" / f"1.{end}", colours, **options)
    put(tmp_path / "b" / f"1.{end}", colours, **options)
    assert (read(tmp_path).values == pixels).all()


def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    for name in "ab":
        put(tmp_path / name / "1.jpg", pixels)
    with Image.open(tmp_path / "a" / "1.jpg") as picture:
        in_grey, in_colour = np.asarray(picture.convert("L")), np.asarray(picture)
    assert (read(tmp_path).values[0] == in_grey).all()
    assert (read(tmp_path, colour=True).values[0] == in_colour.reshape(16, 72)).all()


def test_colours_become_features_of_a_step(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for name in "ab":
        put(tmp_path / name / "1.png", pixels)
    found = read(tmp_path, colour=True)
    assert found.values.tolist() == [pixels.reshape(2, 12).tolist()] * 2
    assert found.features == 12
    assert found.info.picture.channels == 3
    assert found.info.settings.colour is True


def test_a_grey_picture_among_coloured_ones_has_three_equal_colours(tmp_path):
    put(tmp_path / "a" / "1.png", grey(7, 1, 2))
    put(tmp_path / "b" / "1.png", np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert read(tmp_path, colour=True).values.tolist() == [[[7] * 6], [[1, 2, 3, 4, 5, 6]]]


# --- pixels of other kinds, sizes and files that cannot be read


def test_sixteen_bits_a_pixel_are_read_as_their_upper_eight(tmp_path):
    values = np.array([[0, 257, 65535], [128 * 257, 51400, 13107]], np.uint16)
    for name in "ab":
        put(tmp_path / name / "1.png", values)
    assert read(tmp_path).values[0].tolist() == [[0, 1, 255], [128, 200, 51]]


def test_transparent_pixels_are_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = [255, 0, 51]  # black ink: opaque, clear, one fifth opaque
    for name in "ab":
        put(tmp_path / name / "1.png", pixels)
    assert read(tmp_path).values[0].tolist() == [[0, 255, 204]]
    assert read(tmp_path, colour=True).values[0].tolist() == [[0] * 3 + [255] * 3 + [204] * 3]


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for name in "ab":
        put(tmp_path / name / "1.png", np.dstack([pixels, np.full((9, 9), 255, np.uint8)]))
    assert (read(tmp_path, colour=True).values[0] == pixels.reshape(9, 27)).all()


def test_a_picture_is_rotated_before_its_size_is_checked(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side; to be rotated by 90 degrees clockwise
    put(tmp_path / "a" / "1.png", np.array([[1, 2], [3, 4], [5, 6]], np.uint8), exif=exif)
    put(tmp_path / "b" / "1.png", grey(9, 2, 3))
    assert read(tmp_path).values[0].tolist() == [[5, 3, 1], [6, 4, 2]]


def test_a_palette_is_looked_up(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 10, 10, 10])
    picture.putpixel((1, 0), 1)
    for name in "ab":
        put(tmp_path / name / "1.png", picture)
    assert read(tmp_path, colour=True).values[0].tolist() == [[255, 0, 0, 10, 10, 10]]
    assert read(tmp_path).values[0].tolist() == [[76, 10]]  # 0.299 of red


def test_a_file_that_is_not_a_picture_is_named(pets):
    (pets / "dog" / "2.png").write_text("not a picture")
    message = r"pets/dog/2\.png: expected a PNG, JPEG, .*, found something else; convert it$"
    with pytest.raises(DataError, match=message):
        read(pets)


def test_a_damaged_picture_is_named(pets):
    path = put(pets / "dog" / "1.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"pets/dog/1\.png: .* found a damaged one"):
        read(pets)


def test_an_empty_file_is_named(pets):
    (pets / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat/1\.png: .*, found an empty file \(0 bytes\)"):
        read(pets)


def test_a_picture_of_another_size_is_named_with_both_sizes_and_the_remedy(pets):
    put(pets / "dog" / "2.png", grey(1, 5, 3))
    message = (
        rf"^{pets}/dog/2\.png: expected a picture of 4 x 3 pixels as {pets}/cat/1\.png, found 5 x 3; "
        "give the size to which all are fitted, such as --picture 28x28$"
    )
    with pytest.raises(DataError, match=message):
        read(pets)


def test_pictures_of_any_size_are_fitted_to_the_given_size_with_a_note(pets):
    put(pets / "dog" / "2.png", grey(77, 50, 31))
    found = read(pets, picture="6x5")
    assert found.shape == (4, 6, 5)
    assert (found.values[3] == 77).all()
    assert found.info.notes == (f"{pets}: 4 of 4 pictures fitted to 6 x 5 (contain)",)
    assert read(pets, picture="4x3").info.notes == (f"{pets}: 1 of 4 pictures fitted to 4 x 3 (contain)",)


@pytest.mark.parametrize("fit", ["cover", "stretch"])
def test_a_given_fit_is_used(pets, fit):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8)
    put(pets / "dog" / "2.png", pixels)
    found = read(pets, picture="8x8", fit=fit)
    image = Image.fromarray(pixels)
    expected = (
        ImageOps.fit(image, (8, 8), Image.Resampling.BICUBIC)
        if fit == "cover"
        else image.resize((8, 8), Image.Resampling.BICUBIC)
    )
    assert (found.values[3] == np.asarray(expected)).all()
    assert found.info.picture.fit == fit


def test_ink_is_located_and_centred(tmp_path):
    pixels = np.full((60, 80), 255, np.uint8)
    pixels[10:50, 20:30] = 0
    for name in "ab":
        put(tmp_path / name / "1.png", pixels)
    found = read(tmp_path, picture="28x28", fit="ink")
    rows, columns = np.nonzero(found.values[0] > 25)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (20, 5)
    assert found.info.picture == PictureFormat(28, 28, 20, 255, "mass", 1, "ink")


def test_a_picture_without_ink_is_named(pets):
    with pytest.raises(DataError, match=r"cat/1\.png: the picture is uniform: nothing to read"):
        read(pets, fit="ink")


def test_a_picture_that_is_a_link_to_nothing_is_named(pets):
    (pets / "dog" / "2.png").symlink_to(pets / "nothing")
    with pytest.raises(DataError, match=r"dog/2\.png: cannot be read \(No such file or directory"):
        read(pets)


def test_a_pipe_named_like_a_picture_is_refused_without_waiting(pets):
    os.mkfifo(pets / "dog" / "2.png")
    with pytest.raises(DataError, match=r"dog/2\.png: .*, found not a regular file"):
        read(pets)


def test_pictures_that_do_not_fit_into_memory_are_refused_with_the_remedy(pets, monkeypatch):
    def too_much(shape, dtype):
        raise MemoryError

    monkeypatch.setattr(pictures.np, "empty", too_much)
    with pytest.raises(
        DataError, match=r"3 pictures of 4 x 3 do not fit into memory; .* such as --picture 28x28$"
    ):
        read(pets)


@pytest.mark.parametrize("size", ["5000x28", "28x4097"])
def test_pictures_larger_than_a_model_may_read_are_refused_before_they_are_read(pets, size):
    height, width = size.split("x")
    message = rf"at most 4096 pixels high and wide, got {height} x {width}; .* such as --picture 28x28$"
    with pytest.raises(UsageError, match=message):
        read(pets, picture=size)
