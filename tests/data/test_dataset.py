"""Data sets: their splits, descriptions of these, and how the data are located again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanline.data.dataset import Dataset, Provenance
from scanline.data.memory import MemorySource
from scanline.data.source_info import SourceInfo
from scanline.recipe import DEFAULT_DATA


def labelled(labels, groups=None, classes=None) -> MemorySource:
    labels = np.array(labels)
    classes = tuple(range(labels.max() + 1)) if classes is None else classes
    part = MemorySource.from_array(np.zeros((len(labels), 1, 1), np.uint8), labels, classes, "x.csv")
    return part if groups is None else replace(part, groups=np.array(groups, dtype=object))


def read() -> MemorySource:
    return replace(labelled([0, 1]), info=SourceInfo(DEFAULT_DATA))


def test_the_split_is_described_part_by_part():
    everything = replace(
        labelled([0, 1, 0, 1], ["b", "a", "a", "b"], ("cat", "dog")), ids=np.array(["w", "x", "y", "z"])
    )
    data = Dataset(
        "mine",
        {"train": everything.take(np.array([1, 2])), "test": everything.take(np.array([0]))},
        provenance={
            "train": Provenance("the rest of x.csv", np.array([1, 2])),
            "test": Provenance("0.2 of x.csv", np.array([0])),
        },
    )
    assert data.describe_splits() == {
        "train": {
            "n": 2,
            "from": "the rest of x.csv",
            "classes": {"cat": 1, "dog": 1},
            "groups": ["a"],
            "sequences": [1, 2],
            "ids": ["x", "y"],
        },
        "test": {
            "n": 1,
            "from": "0.2 of x.csv",
            "classes": {"cat": 1, "dog": 0},
            "groups": ["b"],
            "sequences": [0],
            "ids": ["w"],
        },
    }


def test_a_part_of_unknown_origin_is_called_by_its_source():
    assert Dataset("mine", {"train": labelled([0, 1])}).describe_splits() == {
        "train": {"n": 2, "from": "x.csv", "classes": {"0": 1, "1": 1}}
    }


@pytest.mark.parametrize(
    ("made", "title"), [("folder", "the folder mine"), ("file", "the file mine"), ("no", "the files mine")]
)
def test_a_data_set_is_found_again_by_its_whole_path_and_called_by_its_name(
    tmp_path, monkeypatch, made, title
):
    path = tmp_path / "mine"
    if made == "folder":
        path.mkdir()
    elif made == "file":
        path.touch()
    monkeypatch.chdir(tmp_path)
    data = Dataset("mine", {"train": read()}, path=path.relative_to(tmp_path))
    assert data.address == str(path)
    assert data.title == title


def test_a_named_data_set_is_found_by_its_name_and_arrays_are_not_found_again():
    named = Dataset("mnist", {"train": labelled([0, 1])}, fixed=True)
    assert (named.address, named.title) == ("mnist", "mnist")
    arrays = Dataset("arrays", {"train": read()})
    assert (arrays.address, arrays.title) == ("", "the arrays of a program")
