"""Folders of picture files: their classes, their order, and what is ignored or refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue as catalog
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.picture_folders import is_picture_folder
from scanline.errors import DataError, UsageError
from tests.data.readers.picture_files import first_pixels, grey, put, read

# --- classes and order


def test_each_sub_folder_is_a_class_and_each_row_a_step(pets):
    found = read(pets)
    assert found.classes == ("cat", "dog")
    assert found.targets.tolist() == [0, 0, 1]
    assert found.values.tolist() == [grey(10).tolist(), grey(20).tolist(), grey(30).tolist()]
    assert found.concatenated.dtype == np.uint8
    assert found.ids.tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert [found.info.locate(index) for index in range(3)] == found.ids.tolist()
    assert found.info.full_scale == 255
    assert found.info.picture == PictureFormat(4, 3, 2, 255, "mass", 1, "contain")
    assert found.info.settings.picture == "4x3"


def test_the_size_of_all_is_reported(pets):
    assert read(pets).info.notes == (f"{pets}: pictures of 4 x 3, the size of all files",)


def test_a_given_size_that_all_pictures_have_is_not_reported(pets):
    assert read(pets, picture="4x3").info.notes == ()


def test_files_are_read_in_the_natural_order_of_their_names(tmp_path):
    names = ["10.png", "2.png", "a10b2.png", "a10b10.png", "a9.png", "1.png", "01.png"]
    for value, name in enumerate(names):
        put(tmp_path / "x" / name, grey(value))
    put(tmp_path / "y" / "1.png", grey(99))
    expected = ["01.png", "1.png", "2.png", "10.png", "a9.png", "a10b2.png", "a10b10.png"]
    found = read(tmp_path)
    assert found.ids.tolist() == [f"x/{name}" for name in expected] + ["y/1.png"]
    assert first_pixels(found) == [names.index(name) for name in expected] + [99]


def test_numeric_classes_are_in_numeric_order(tmp_path):
    for value in (10, 9, 2):
        put(tmp_path / str(value) / "a.png", grey(value))
    found = read(tmp_path)
    assert found.classes == (2, 9, 10)
    assert found.targets.tolist() == [0, 1, 2]
    assert first_pixels(found) == [2, 9, 10]
    assert [found.info.locate(index) for index in range(3)] == ["2/a.png", "9/a.png", "10/a.png"]


def test_text_classes_and_their_files_are_in_text_order(tmp_path):
    """Numbers among text are text: 10 comes before 9, unlike in the natural order of folders."""
    for value, name in enumerate(["10", "9", "none"]):
        put(tmp_path / name / "a.png", grey(value))
    found = read(tmp_path)
    assert found.classes == ("10", "9", "none")
    assert first_pixels(found) == [0, 1, 2]
    assert found.ids.tolist() == ["10/a.png", "9/a.png", "none/a.png"]


# --- what is ignored or refused


def test_hidden_files_and_folders_are_ignored(pets):
    (pets / "cat" / ".DS_Store").write_bytes(b"x")
    (pets / "cat" / "._1.png").write_bytes(b"x")
    put(pets / ".cache" / "1.png", grey(1))
    found = read(pets)
    assert found.classes == ("cat", "dog")
    assert len(found) == 3
    assert len(found.info.notes) == 1


def test_ignored_files_and_folders_are_reported(pets):
    (pets / "notes.txt").write_text("x")
    (pets / "docs").mkdir()
    (pets / "docs" / "a.txt").write_text("x")
    (pets / "empty").mkdir()
    (pets / "cat" / "list.txt").write_text("x")
    put(pets / "dog" / "puppies" / "1.png", grey(1))
    put(pets / "loose.png", grey(1))
    found = read(pets)
    assert len(found) == 3
    assert found.info.notes[1:] == (
        f"{pets}: ignored, as not a picture in the folder of a class: "
        "docs, empty, loose.png, cat/list.txt, dog/puppies",
    )


@pytest.mark.parametrize("name", ["1.gif", "1.npy", "1.jfif", "1"])
def test_a_class_whose_files_are_not_read_is_refused_by_name(pets, name):
    (pets / "bird").mkdir()
    (pets / "bird" / name).write_bytes(b"GIF89a")
    ending = Path(name).suffix or "no suffix"
    message = (
        rf"pets/bird: expected pictures .* of the class bird, found only 1 other files \({ending}\); convert"
    )
    with pytest.raises(DataError, match=message):
        read(pets)


def test_a_class_whose_pictures_are_a_folder_deeper_is_refused_by_name(pets):
    put(pets / "bird" / "small" / "1.png", grey(1))
    with pytest.raises(DataError, match=r"found only pictures in .*bird/small; move them to .*bird"):
        read(pets)


def test_a_folder_of_gif_pictures_only_is_refused_by_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.gif").write_bytes(b"GIF89a")
    assert is_picture_folder(tmp_path)
    with pytest.raises(DataError, match=r"a: expected pictures .*found only 1 other files \(\.gif\)"):
        read(tmp_path)


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


def test_an_empty_folder_is_not_a_picture_folder(tmp_path):
    assert not is_picture_folder(tmp_path)


def test_links_to_themselves_are_ignored(pets):
    (pets / "loop").symlink_to(pets / "loop")
    (pets / "self").symlink_to(pets)
    assert is_picture_folder(pets)
    found = read(pets)
    assert found.classes == ("cat", "dog")
    assert "ignored, as not a picture in the folder of a class: self" in found.info.notes[1]


def test_a_folder_named_like_a_picture_is_ignored(pets):
    (pets / "dog" / "2.png").mkdir()
    assert len(read(pets)) == 3


def test_a_folder_without_permission_is_named(pets, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"^{pets}/dog: cannot be read \(Permission denied\)$"):
        read(pets)


def test_names_of_any_length_and_alphabet_are_classes(tmp_path):
    names = ["ä ö", "狗", "x" * 255]
    for name in names:
        put(tmp_path / name / ("y" * 251 + ".png"), grey(1))
    assert set(read(tmp_path).classes) == set(names)


def test_a_picture_folder_with_picture_none_is_refused(pets):
    message = f"^data.picture must be empty or a size for {pets}, which has pictures, got none$"
    with pytest.raises(UsageError, match=message):
        read(pets, picture="none")
