"""Folders of picture files, and values that are pixels."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.readers import pictures
from scanline.data.readers.pictures import as_pictures, is_picture_folder, picture_format, read_picture_folder
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DataSettings


def said(**settings) -> DataSettings:
    return DEFAULT_DATA.model_copy(update=settings)


def grey(value, height=4, width=3):
    return np.full((height, width), value, np.uint8)


def put(path: Path, pixels, **options) -> Path:
    """A picture file of `pixels`: (H, W), (H, W, 3) or (H, W, 4), or a PIL picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two cats and a dog of 4 x 3 pixels."""
    for name, value in (("cat/1.png", 10), ("cat/2.png", 20), ("dog/1.png", 30)):
        put(tmp_path / "pets" / name, grey(value))
    return tmp_path / "pets"


def read(folder, **settings) -> MemorySource:
    return read_picture_folder(folder, said(**settings))["all"]


def first_pixels(found):
    return found.values[:, 0, 0].tolist()


# --- a folder


def test_each_sub_folder_is_a_class_and_each_row_a_step(folder):
    found = read(folder)
    part = found
    assert part.classes == ("cat", "dog")
    assert part.targets.tolist() == [0, 0, 1]
    assert part.values.tolist() == [grey(10).tolist(), grey(20).tolist(), grey(30).tolist()]
    assert part.concatenated.dtype == np.uint8
    assert part.ids.tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert [found.info.locate(index) for index in range(3)] == part.ids.tolist()
    assert found.info.full_scale == 255
    assert found.info.picture == PictureFormat(4, 3, 2, 255, "mass", 1, "contain")
    assert found.info.settings.picture == "4x3"


def test_the_size_of_all_is_reported(folder):
    assert read(folder).info.notes == (f"{folder}: pictures of 4 x 3, the size of all files",)


def test_a_given_size_that_all_pictures_have_is_not_reported(folder):
    assert read(folder, picture="4x3").info.notes == ()


def test_files_are_read_in_the_natural_order_of_their_names(tmp_path):
    names = ["10.png", "2.png", "a10b2.png", "a10b10.png", "a9.png", "1.png", "01.png"]
    for value, name in enumerate(names):
        put(tmp_path / "x" / name, grey(value))
    put(tmp_path / "y" / "1.png", grey(99))
    expected = ["01.png", "1.png", "2.png", "10.png", "a9.png", "a10b2.png", "a10b10.png"]
    found = read(tmp_path)
    assert found.ids.tolist() == [f"x/{name}" for name in expected] + ["y/1.png"]
    assert first_pixels(found) == [names.index(name) for name in expected] + [99]


def test_classes_that_are_numbers_come_in_the_order_of_numbers(tmp_path):
    for value in (10, 9, 2):
        put(tmp_path / str(value) / "a.png", grey(value))
    found = read(tmp_path)
    assert found.classes == (2, 9, 10)
    assert found.targets.tolist() == [0, 1, 2]
    assert first_pixels(found) == [2, 9, 10]
    assert [found.info.locate(index) for index in range(3)] == ["2/a.png", "9/a.png", "10/a.png"]


def test_classes_that_are_text_come_in_the_order_of_text_with_their_files(tmp_path):
    """Numbers among text are text: 10 before 9, unlike the folders' natural order."""
    for value, name in enumerate(["10", "9", "none"]):
        put(tmp_path / name / "a.png", grey(value))
    found = read(tmp_path)
    assert found.classes == ("10", "9", "none")
    assert first_pixels(found) == [0, 1, 2]
    assert found.ids.tolist() == ["10/a.png", "9/a.png", "none/a.png"]


@pytest.mark.parametrize("end", ["png", "PNG", "pgm", "bmp", "tif", "ppm", "webp"])
def test_every_kind_without_loss_keeps_its_pixels_bit_for_bit(tmp_path, end):
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


# --- odd files


def test_sixteen_bits_a_pixel_are_read_as_their_upper_eight(tmp_path):
    values = np.array([[0, 257, 65535], [128 * 257, 51400, 13107]], np.uint16)
    for name in "ab":
        put(tmp_path / name / "1.png", values)
    assert read(tmp_path).values[0].tolist() == [[0, 1, 255], [128, 200, 51]]


def test_what_is_transparent_shows_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = [255, 0, 51]  # black ink: opaque, clear, one fifth opaque
    for name in "ab":
        put(tmp_path / name / "1.png", pixels)
    assert read(tmp_path).values[0].tolist() == [[0, 255, 204]]
    assert read(tmp_path, colour=True).values[0].tolist() == [[0] * 3 + [255] * 3 + [204] * 3]


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for name in "ab":
        put(tmp_path / name / "1.png", np.dstack([pixels, np.full((9, 9), 255, np.uint8)]))
    assert (read(tmp_path, colour=True).values[0] == pixels.reshape(9, 27)).all()


def test_a_picture_is_turned_before_its_size_is_looked_at(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side: to be turned a quarter clockwise
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


def test_hidden_files_and_folders_are_not_looked_at(folder):
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "._1.png").write_bytes(b"x")
    put(folder / ".cache" / "1.png", grey(1))
    found = read(folder)
    assert found.classes == ("cat", "dog")
    assert len(found) == 3
    assert len(found.info.notes) == 1


def test_skipped_columns_are_reported(folder):
    (folder / "notes.txt").write_text("x")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.txt").write_text("x")
    (folder / "empty").mkdir()
    (folder / "cat" / "list.txt").write_text("x")
    put(folder / "dog" / "puppies" / "1.png", grey(1))
    put(folder / "loose.png", grey(1))
    found = read(folder)
    assert len(found) == 3
    assert found.info.notes[1:] == (
        f"{folder}: ignored, as not a picture in the folder of a class: "
        "docs, empty, loose.png, cat/list.txt, dog/puppies",
    )


@pytest.mark.parametrize("name", ["1.gif", "1.npy", "1.jfif", "1"])
def test_a_class_whose_files_are_not_read_is_refused_by_name(folder, name):
    (folder / "bird").mkdir()
    (folder / "bird" / name).write_bytes(b"GIF89a")
    ending = Path(name).suffix or "no suffix"
    message = (
        rf"pets/bird: expected pictures .* of the class bird, found only 1 other files \({ending}\); convert"
    )
    with pytest.raises(DataError, match=message):
        read(folder)


def test_a_class_whose_pictures_are_a_folder_deeper_is_refused_by_name(folder):
    put(folder / "bird" / "small" / "1.png", grey(1))
    with pytest.raises(DataError, match=r"found only pictures in .*bird/small; move them to .*bird"):
        read(folder)


def test_a_folder_of_gif_pictures_only_is_refused_by_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.gif").write_bytes(b"GIF89a")
    assert is_picture_folder(tmp_path)
    with pytest.raises(DataError, match=r"a: expected pictures .*found only 1 other files \(\.gif\)"):
        read(tmp_path)


def test_grey_levels_of_0_and_1_are_questioned():
    values = np.array([[[0, 1], [1, 0]]], np.float32)
    source = MemorySource.from_array(values, np.zeros(1, np.int64), (0,), "x")
    assert "if 1 is white" in as_pictures(source, (2, 2)).info.notes[-1]


def test_a_file_that_is_no_picture_is_named(folder):
    (folder / "dog" / "2.png").write_text("not a picture")
    message = r"pets/dog/2\.png: expected a PNG, JPEG, .*, found something else; convert it$"
    with pytest.raises(DataError, match=message):
        read(folder)


def test_a_damaged_picture_is_named(folder):
    path = put(folder / "dog" / "1.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"pets/dog/1\.png: .* found a damaged one"):
        read(folder)


def test_an_empty_file_is_named(folder):
    (folder / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat/1\.png: .*, found an empty file \(0 bytes\)"):
        read(folder)


def test_a_picture_of_another_size_is_named_with_both_sizes_and_the_remedy(folder):
    put(folder / "dog" / "2.png", grey(1, 5, 3))
    message = (
        rf"^{folder}/dog/2\.png: expected a picture of 4 x 3 pixels as {folder}/cat/1\.png, found 5 x 3; "
        "give the size to which all are fitted, such as --picture 28x28$"
    )
    with pytest.raises(DataError, match=message):
        read(folder)


def test_pictures_of_any_size_are_fitted_to_the_given_size_with_a_note(folder):
    put(folder / "dog" / "2.png", grey(77, 50, 31))
    found = read(folder, picture="6x5")
    assert found.shape == (4, 6, 5)
    assert (found.values[3] == 77).all()
    assert found.info.notes == (f"{folder}: 4 of 4 pictures fitted to 6 x 5 (contain)",)
    assert read(folder, picture="4x3").info.notes == (f"{folder}: 1 of 4 pictures fitted to 4 x 3 (contain)",)


@pytest.mark.parametrize("fit", ["cover", "stretch"])
def test_a_given_fit_is_used(folder, fit):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8)
    put(folder / "dog" / "2.png", pixels)
    found = read(folder, picture="8x8", fit=fit)
    image = Image.fromarray(pixels)
    expected = (
        ImageOps.fit(image, (8, 8), Image.Resampling.BICUBIC)
        if fit == "cover"
        else image.resize((8, 8), Image.Resampling.BICUBIC)
    )
    assert (found.values[3] == np.asarray(expected)).all()
    assert found.info.picture.fit == fit


def test_ink_is_found_and_centred(tmp_path):
    pixels = np.full((60, 80), 255, np.uint8)
    pixels[10:50, 20:30] = 0
    for name in "ab":
        put(tmp_path / name / "1.png", pixels)
    found = read(tmp_path, picture="28x28", fit="ink")
    rows, columns = np.nonzero(found.values[0] > 25)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (20, 5)
    assert found.info.picture == PictureFormat(28, 28, 20, 255, "mass", 1, "ink")


def test_a_picture_without_ink_is_named(folder):
    with pytest.raises(DataError, match=r"cat/1\.png: the picture is uniform: nothing to read"):
        read(folder, fit="ink")


def test_a_single_class_is_refused(tmp_path):
    put(tmp_path / "cat" / "1.png", grey(1))
    (tmp_path / "dog").mkdir()
    message = f"^{tmp_path}: expected at least two sub-folders with pictures, one for each class, found cat$"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_folder_of_empty_folders_has_no_classes(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    assert not is_picture_folder(tmp_path)
    with pytest.raises(DataError, match=r"found a folder without .*sub-folders of pictures"):
        catalog.load(str(tmp_path))


def test_an_empty_folder_is_no_picture_folder(tmp_path):
    assert not is_picture_folder(tmp_path)


def test_links_that_lead_back_to_themselves_are_left_out(folder):
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "self").symlink_to(folder)
    assert is_picture_folder(folder)
    found = read(folder)
    assert found.classes == ("cat", "dog")
    assert "ignored, as not a picture in the folder of a class: self" in found.info.notes[1]


def test_a_picture_that_is_a_link_to_nothing_is_named(folder):
    (folder / "dog" / "2.png").symlink_to(folder / "nothing")
    with pytest.raises(DataError, match=r"dog/2\.png: cannot be read \(No such file or directory"):
        read(folder)


def test_a_folder_that_is_called_like_a_picture_is_none(folder):
    (folder / "dog" / "2.png").mkdir()
    assert len(read(folder)) == 3


def test_a_pipe_that_is_called_like_a_picture_is_named_and_not_waited_for(folder):
    os.mkfifo(folder / "dog" / "2.png")
    with pytest.raises(DataError, match=r"dog/2\.png: .*, found not a regular file"):
        read(folder)


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"^{folder}/dog: cannot be read \(Permission denied\)$"):
        read(folder)


def test_names_of_any_length_and_alphabet_are_classes(tmp_path):
    names = ["ä ö", "狗", "x" * 255]
    for name in names:
        put(tmp_path / name / ("y" * 251 + ".png"), grey(1))
    assert set(read(tmp_path).classes) == set(names)


def test_a_folder_called_none_picture_is_refused(folder):
    message = f"^data.picture must be empty or a size for {folder}, which has pictures, got none$"
    with pytest.raises(UsageError, match=message):
        read(folder, picture="none")


def test_more_pixels_than_there_is_memory_are_refused_with_the_remedy(folder, monkeypatch):
    def too_much(shape, dtype):
        raise MemoryError

    monkeypatch.setattr(pictures.np, "empty", too_much)
    with pytest.raises(
        DataError, match=r"3 pictures of 4 x 3 do not fit into memory; .* such as --picture 28x28$"
    ):
        read(folder)


@pytest.mark.parametrize("size", ["5000x28", "28x4097"])
def test_pictures_larger_than_a_model_may_read_are_refused_before_they_are_read(folder, size):
    height, width = size.split("x")
    message = rf"at most 4096 pixels high and wide, got {height} x {width}; .* such as --picture 28x28$"
    with pytest.raises(UsageError, match=message):
        read(folder, picture=size)


# --- values that are pixels


def found(values, dtype=np.float32, **settings) -> MemorySource:
    part = MemorySource.from_array(np.array(values, dtype), np.zeros(len(values), np.int64), (0,), "x.csv")
    info = SourceInfo(said(**settings), lambda index, step=0: f"line {index + 2}", notes=("a note",))
    return replace(part, info=info)


def test_a_row_of_grey_levels_becomes_a_picture():
    wide = found([[[value] for value in range(6)], [[250] for _ in range(6)]])
    made = as_pictures(wide, (2, 3))
    assert made.values.tolist() == [[[0, 1, 2], [3, 4, 5]], [[250] * 3] * 2]
    assert made.concatenated.dtype == np.uint8
    assert made.lengths.tolist() == [2, 2]
    assert (made.info.full_scale, made.info.settings.picture, made.info.settings.colour) == (
        255,
        "2x3",
        False,
    )
    assert made.info.picture == PictureFormat(2, 3, 1, 255, "mass", 1, "contain")
    assert made.info.notes == ("a note",)


def test_a_guess_is_reported_with_the_option_that_changes_it():
    made = as_pictures(found([[[1], [2]]]), (1, 2), "by their names")
    assert (
        made.info.notes[1]
        == "pictures of 1 x 2 pixels, by their names (data.picture=none reads them as numbers)"
    )


def test_what_was_said_of_the_fit_is_kept():
    assert as_pictures(found([[[1], [2]]], fit="ink"), (1, 2)).info.picture.fit == "ink"


def test_coloured_values_are_read_again_in_colour():
    made = as_pictures(found([[[1, 2, 3, 4, 5, 6]]], np.uint8), (1, 2), channels=3)
    assert made.info.picture.channels == 3
    assert made.info.settings.colour is True
    assert made.values.tolist() == [[[1, 2, 3, 4, 5, 6]]]


def test_the_ink_of_colours_cannot_be_found():
    message = "^data.fit must be contain, cover or stretch for pictures in colour, got ink$"
    with pytest.raises(UsageError, match=message):
        as_pictures(found([[[1, 2, 3]]], np.uint8, fit="ink"), (1, 1), channels=3)


@pytest.mark.parametrize(
    ("value", "seen"), [(0.5, "0.5"), (-1, "-1"), (256, "256"), (np.nan, "nothing"), (np.inf, "inf")]
)
def test_a_value_that_is_no_grey_level_is_named_with_its_place(value, seen):
    message = (
        r"^x\.csv: line 3, step 1, feature 0: expected a grey level, an integer from 0 to 255, "
        rf"found {seen}$"
    )
    with pytest.raises(DataError, match=message):
        as_pictures(found([[[1], [2]], [[3], [value]]]), (1, 2))


def test_too_many_values_for_the_size_are_counted():
    message = r"^x\.csv: expected 9 values a sequence, pictures of 3 x 3, found 2$"
    with pytest.raises(DataError, match=message):
        as_pictures(found([[[1], [2]]]), (3, 3))
    with pytest.raises(
        DataError, match=r"expected 27 values a sequence, pictures of 3 x 3 in colour, found 2$"
    ):
        as_pictures(found([[[1], [2]]]), (3, 3), channels=3)


def test_sequences_of_different_lengths_are_no_pictures():
    part = MemorySource(np.zeros((5, 1), np.float32), np.array([4, 1]), np.zeros(2, np.int64), (0,), "x.csv")
    ragged = replace(part, info=found([[[1]]]).info)
    with pytest.raises(DataError, match=r"expected 4 values a sequence, pictures of 2 x 2, found 1 to 4$"):
        as_pictures(ragged, (2, 2))


def test_a_picture_is_never_larger_than_its_box_or_smaller_than_a_pixel():
    assert picture_format(28, 28, 1, DEFAULT_DATA).box == 20
    assert picture_format(1, 90, 1, DEFAULT_DATA).box == 1
