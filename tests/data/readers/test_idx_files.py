"""IDX files under the names that QMNIST, EMNIST and torchvision give them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from scanline.data.reading import has_source, read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

PICTURES = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)


def idx(array: np.ndarray) -> bytes:
    code = {"uint8": 0x08, "int32": 0x0C}[array.dtype.name]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def put(
    folder: Path, stem: str = "", test: str = "test", labels: str = "labels-idx1-ubyte", packed: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    codes = np.array([3, 5], np.uint8)
    if "int" in labels:  # QMNIST: class, series, writer, ...
        codes = np.array([[3, 70, 900], [5, 71, 901]], np.int32)
    for split in ("train", test):
        for name, array in (("images-idx3-ubyte", PICTURES), (labels, codes)):
            content = idx(array)
            path = folder / f"{stem}{split}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def read(path: Path):
    return read_sources(path, DEFAULT_DATA)


@pytest.mark.parametrize("packed", [False, True])
def test_qmnist_is_read_with_the_class_of_its_label_columns(tmp_path, packed):
    found = read(put(tmp_path / "q", "qmnist-", labels="labels-idx2-int", packed=packed))
    assert found["train"].classes == found["test"].classes == (3, 5)
    np.testing.assert_array_equal(found["test"].values, PICTURES)
    assert found["test"].targets.tolist() == [0, 1]


def test_emnist_is_read_by_its_stem_and_turned_upright(tmp_path):
    put(tmp_path / "e", "emnist-letters-", packed=True)
    found = read(tmp_path / "e")
    np.testing.assert_array_equal(found["train"].values, PICTURES.transpose(0, 2, 1))
    assert "EMNIST's pictures were turned upright" in found["train"].info.notes[0]
    put(tmp_path / "e", "emnist-digits-")
    with pytest.raises(
        UsageError, match=r"found emnist-digits, emnist-letters; give the path of one, such as .*/emnist-d"
    ):
        read(tmp_path / "e")
    assert has_source(tmp_path / "e" / "emnist-letters")
    assert not has_source(tmp_path / "e" / "emnist")
    assert read(tmp_path / "e" / "emnist-letters")["train"].classes == (3, 5)


@pytest.mark.parametrize("place", ["raw", "MNIST/raw"])
def test_the_folder_of_torchvision_is_read(tmp_path, place):
    put(tmp_path / place, test="t10k")
    np.testing.assert_array_equal(read(tmp_path)["test"].values, PICTURES)


def test_two_folders_of_torchvision_are_ambiguous(tmp_path):
    for name in ("MNIST", "KMNIST"):
        put(tmp_path / name / "raw", test="t10k")
    with pytest.raises(
        UsageError, match=r"found KMNIST/raw, MNIST/raw; give the path of one, such as .*/KMNIST/raw"
    ):
        read(tmp_path)


def test_files_that_are_missing_are_named(tmp_path):
    put(tmp_path / "q", "qmnist-", labels="labels-idx2-int")
    (tmp_path / "q" / "qmnist-test-labels-idx2-int").unlink()
    with pytest.raises(DataError, match=r"expected four IDX files, raw or \.gz, found no qmnist-test-labels"):
        read(tmp_path / "q")


def test_a_label_column_out_of_range_is_named(tmp_path):
    put(tmp_path / "q", "qmnist-", labels="labels-idx2-int")
    (tmp_path / "q" / "qmnist-train-labels-idx2-int").write_bytes(idx(np.array([[3], [-1]], np.int32)))
    with pytest.raises(DataError, match=r"item 1 .* expected a label from 0 to 255, found -1"):
        read(tmp_path / "q")
