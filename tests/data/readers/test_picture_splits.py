"""Splits of folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue as catalog
from scanline.data.partition import partition
from scanline.data.readers.picture_folders import read_picture_folder
from scanline.data.reading import TO_EVALUATE, read_dataset
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from tests.data.readers.picture_files import data_settings, first_pixels, grey, put, read

# --- parts


def build(root: Path, **parts) -> Path:
    """root/part/class/1.png and so on; parts: {part: {class: grey values}}."""
    for part, classes in parts.items():
        for name, values in classes.items():
            for index, value in enumerate(values):
                put(root / part / name / f"{index}.png", grey(value))
    return root


def test_train_and_test_folders_are_parts(tmp_path):
    build(tmp_path, train={"a": [1, 2], "b": [3]}, test={"b": [4]}, validation={"a": [5]})
    found = read_picture_folder(tmp_path, DEFAULT_DATA)
    assert {name: first_pixels(part) for name, part in found.items()} == {
        "train": [1, 2, 3],
        "validation": [5],
        "test": [4],
    }
    assert found["test"].ids.tolist() == ["b/0.png"]


@pytest.mark.parametrize(
    ("name", "part"),
    [("TEST", "test"), ("testing", "test"), ("val", "validation"), ("Valid", "validation")],
)
def test_the_usual_names_of_parts_are_known_in_any_case(tmp_path, name, part):
    build(tmp_path, **{"Training": {"a": [1], "b": [2]}, name: {"a": [1], "b": [2]}})
    assert list(read_picture_folder(tmp_path, DEFAULT_DATA)) == ["train", part]


@pytest.mark.parametrize(
    ("one", "two", "part"),
    [("train", "training", "train"), ("val", "valid", "validation"), ("TEST", "test", "test")],
)
def test_two_folders_for_one_part_are_refused_by_name(tmp_path, one, two, part):
    parts = {"train": {"a": [1], "b": [2]}, one: {"a": [1], "b": [2]}, two: {"a": [1], "b": [2]}}
    build(tmp_path, **parts)
    message = f"^{tmp_path}: expected one folder of the {part} split, got {one} and {two}; remove one$"
    with pytest.raises(UsageError, match=message):
        read_picture_folder(tmp_path, DEFAULT_DATA)


def test_a_test_folder_without_a_training_folder_cannot_train(tmp_path):
    build(tmp_path, test={"a": [1], "b": [2]})
    message = f"^{tmp_path}: expected a folder train with pictures beside test, found none$"
    with pytest.raises(DataError, match=message):
        catalog.load(str(tmp_path))
    samples = catalog.read(str(tmp_path), DEFAULT_DATA, optional=TO_EVALUATE)
    assert samples.evaluation_source("error").targets.tolist() == [0, 1]


def test_a_split_folder_without_pictures_is_skipped_with_a_note(tmp_path):
    build(tmp_path, train={"a": [1] * 9, "b": [2] * 9})
    (tmp_path / "test").mkdir()
    put(tmp_path / "loose.png", grey(1))
    found = read_picture_folder(tmp_path, DEFAULT_DATA)
    assert list(found) == ["train"]
    assert found["train"].info.notes[1:] == (
        f"{tmp_path}: ignored, as not a picture in the folder of a class: test, loose.png",
    )


def test_a_class_of_the_test_part_that_does_not_train_is_named_with_its_file(tmp_path):
    build(tmp_path, train={"a": [1] * 3, "b": [2] * 3}, test={"a": [1], "c": [3, 4]})
    message = (
        rf"^{tmp_path}/test: c/0\.png: expected a class of the training split, one of a, b, "
        r"found c \(2 of 3 are unknown\)$"
    )
    with pytest.raises(DataError, match=message):
        catalog.load(str(tmp_path))


def test_a_test_split_of_one_class_is_evaluated(tmp_path):
    build(tmp_path, train={"a": [1] * 3, "b": [2] * 3}, test={"b": [3, 4]})
    data = catalog.load(str(tmp_path))
    assert data.test.classes == ("a", "b")
    assert data.test.targets.tolist() == [1, 1]


def test_a_test_part_with_fewer_classes_has_the_training_parts_numbers_for_them(tmp_path):
    build(tmp_path, train={"1": [1] * 3, "2": [2] * 3, "10": [10] * 3}, test={"10": [10], "2": [2]})
    data = catalog.load(str(tmp_path))
    assert data.train.classes == data.test.classes == (1, 2, 10)
    assert data.test.targets.tolist() == [1, 2]
    assert data.test.values[:, 0, 0].tolist() == [2, 10]


def test_test_pictures_of_another_size_are_refused_as_training_pictures_are(tmp_path):
    build(tmp_path, train={"a": [1, 1], "b": [2, 2]})
    put(tmp_path / "test" / "a" / "1.png", grey(1, 9, 9))
    message = (
        rf"^{tmp_path}/test/a/1\.png: expected a picture of 4 x 3 pixels as {tmp_path}/train/a/0\.png, "
        "found 9 x 9; give the size"
    )
    with pytest.raises(DataError, match=message):
        catalog.load(str(tmp_path))


def test_test_pictures_are_fitted_to_a_given_size(tmp_path):
    build(tmp_path, train={"a": [1] * 3, "b": [2] * 3})
    put(tmp_path / "test" / "a" / "1.png", grey(8, 9, 9))
    data = partition(catalog.read(str(tmp_path), data_settings(picture="4x3")), DEFAULT_SPLIT)
    assert (data.test.values == 8).all()
    assert f"{tmp_path}/test: 1 of 1 pictures fitted to 4 x 3 (contain)" in data.notes


def test_another_folder_may_be_the_test_part(tmp_path):
    build(tmp_path / "one", **{".": {"a": [1] * 3, "b": [2] * 3}})
    put(tmp_path / "two" / "b" / "1.png", grey(9, 8, 6))
    data = partition(read_dataset(tmp_path / "one", data_settings(test=str(tmp_path / "two"))), DEFAULT_SPLIT)
    assert data.test.targets.tolist() == [1]
    assert (data.test.values == 9).all()
    assert f"{tmp_path}/two: 1 of 1 pictures fitted to 4 x 3 (contain)" in data.notes


def test_a_class_that_is_called_train_is_no_part(tmp_path):
    for name in ("train", "car"):
        put(tmp_path / name / "1.png", grey(1))
    assert read(tmp_path).classes == ("car", "train")


def test_a_folder_of_pictures_is_split_by_class(tmp_path):
    build(tmp_path, **{".": {"a": range(40), "b": range(40, 60)}})
    data = catalog.load(str(tmp_path))
    assert [np.bincount(part.targets).tolist() for part in data.splits.values()] == [[29, 14], [3, 2], [8, 4]]
    pixels = [part.values[:, 0, 0] for part in data.splits.values()]
    assert sorted(np.concatenate(pixels)) == list(range(60))
    assert data.describe_splits()["test"]["ids"] == [
        f"{'a' if value < 40 else 'b'}/{value if value < 40 else value - 40}.png" for value in pixels[2]
    ]
