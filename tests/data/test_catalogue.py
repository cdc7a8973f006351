"""Named data sets and folders of IDX files."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue as catalog
from scanline.data import published
from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

SHARED = os.environ.get("SCANLINE_DATA")
needs_mnist = pytest.mark.skipif(
    not (SHARED and (Path(SHARED) / "mnist").is_dir()), reason="MNIST is not in $SCANLINE_DATA"
)


pytestmark = pytest.mark.usefixtures("no_user_data")


def idx(array) -> bytes:
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def contents(train: int = 24, test: int = 6, side: int = 7, classes: int = 2) -> dict[str, bytes]:
    return {
        published.FILES[0]: idx(np.arange(train * side * side).reshape(train, side, side) % 256),
        published.FILES[1]: idx(np.arange(train) % classes),
        published.FILES[2]: idx(np.zeros((test, side, side))),
        published.FILES[3]: idx(np.arange(test) % classes),
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_names_are_a_closed_list():
    assert catalog.names() == ("mnist", "fashion-mnist", "kmnist", "digits")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_the_mnist_likes_are_described_with_their_counts(name):
    facts = catalog.describe(name)
    assert (facts.classes, facts.train, facts.validation, facts.test) == (10, 55_000, 5_000, 10_000)
    assert facts.path is None
    assert facts.licence


def test_every_mirror_is_an_https_folder_and_every_file_has_a_checksum():
    for entry in published.PUBLISHED:
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in entry.mirrors)
        checksums = entry.raw_sha256 or entry.gz_sha256
        assert [len(bytes.fromhex(checksum)) for checksum in checksums] == [32] * 4


def test_importing_the_catalog_imports_nothing_heavy():
    program = (
        "import sys, scanline.data.catalogue; "
        "print([m for m in ('torch', 'sklearn', 'requests', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_lists_the_names_and_suggests_the_nearest():
    with pytest.raises(
        UsageError, match=r"'Minst': expected one of mnist, f.*; did you mean 'mnist'\?"
    ) as caught:
        catalog.load("Minst")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("ask", [catalog.find, catalog.fetch, catalog.verify, catalog.describe])
def test_every_question_about_an_unknown_name_is_a_usage_error(ask):
    with pytest.raises(UsageError, match="unknown data set 'nist'"):
        ask("nist")


def test_no_name_at_all_is_a_usage_error():
    with pytest.raises(UsageError, match="unknown data set ''"):
        catalog.load("")


# --- digits


def test_digits_have_1257_180_and_360_sequences_of_8_rows():
    data = catalog.load("digits")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1257, 180, 360]
    assert data.train.values.shape == (1257, 8, 8)
    assert data.train.values.dtype == np.uint8
    assert data.train.values.max() == 16
    assert data.full_scale == 16
    assert data.picture == PictureFormat(height=8, width=8, box=8, levels=16, centre="box")
    assert data.train.classes == tuple(range(10))


def test_digits_are_split_in_the_same_way_every_time_and_share_no_picture():
    first, second = catalog.load("digits"), catalog.load("digits")
    assert first.test.fingerprint() == second.test.fingerprint()
    pictures = [
        {values.tobytes() for values in part.values} for part in (first.train, first.validation, first.test)
    ]
    assert len(set.union(*pictures)) == sum(len(part) for part in pictures)


def test_digits_are_always_available_and_verify():
    assert catalog.find("digits") == catalog.fetch("digits", force=True)
    assert [(check.ok, check.note) for check in catalog.verify("digits")] == [(True, "SHA-256 matches")]


# --- folders


def test_a_folder_of_idx_files_is_a_data_set(tmp_path):
    data = catalog.load(str(write_folder(tmp_path / "mine", contents(classes=3))))
    assert (data.name, data.path) == ("mine", tmp_path / "mine")
    assert data.address == str(tmp_path / "mine")
    assert data.train.classes == (0, 1, 2)
    assert len(data.train) + len(data.validation) == 24
    assert len(data.validation) == 3  # a twelfth is 2, and each of 3 classes needs one
    assert len(data.test) == 6
    assert data.full_scale == 255
    assert data.picture == PictureFormat(height=7, width=7, box=5, levels=255, centre="mass")


def test_the_validation_part_is_the_same_on_every_load(tmp_path):
    folder = str(write_folder(tmp_path / "mine", contents()))
    assert catalog.load(folder).validation.fingerprint() == catalog.load(folder).validation.fingerprint()


def test_packed_raw_and_dotted_names_mix(tmp_path):
    files = contents()
    names = [
        published.FILES[0] + ".gz",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte.gz",
        published.FILES[3],
    ]
    packed = [gzip.compress(c) if n.endswith("gz") else c for n, c in zip(names, files.values(), strict=True)]
    folder = write_folder(tmp_path / "mine", dict(zip(names, packed, strict=True)))
    assert len(catalog.load(str(folder)).test) == 6


def test_60000_training_images_are_split_as_mnist_is(tmp_path):
    folder = write_folder(tmp_path / "mine", contents(train=60_000, side=1, classes=10))
    data = catalog.load(str(folder))
    assert (len(data.train), len(data.validation)) == (55_000, 5_000)
    assert data.validation.targets[:3].tolist() == [0, 1, 2]
    assert data.train.values[0, 0, 0] == 5_000 % 256


def test_the_classes_are_the_labels_of_the_training_file(tmp_path):
    labels = {published.FILES[1]: idx([3, 7] * 12), published.FILES[3]: idx([7, 7, 3, 3, 3, 7])}
    data = catalog.load(str(write_folder(tmp_path / "mine", contents() | labels)))
    assert data.train.classes == data.test.classes == (3, 7)
    assert data.test.targets.tolist() == [1, 1, 0, 0, 0, 1]


def test_a_test_label_that_the_training_file_lacks_is_named_with_its_place(tmp_path):
    files = contents() | {published.FILES[3]: idx([0, 1, 4, 0, 200, 0])}
    message = (
        r"t10k-labels-idx1-ubyte: item 2 \(byte 10\): expected a label .* found 4 \(2 of 6 are unknown\)"
    )
    with pytest.raises(DataError, match=message):
        catalog.load(str(write_folder(tmp_path / "mine", files)))


def test_missing_files_are_all_named(tmp_path):
    folder = write_folder(tmp_path / "mine", {published.FILES[0]: contents()[published.FILES[0]]})
    message = (
        "mine: expected four IDX files, raw or .gz, found no train-labels-idx1-ubyte, "
        "no t10k-images-idx3-ubyte, no t10k-labels-idx1-ubyte; add the missing files"
    )
    with pytest.raises(DataError, match=message):
        catalog.load(str(folder))


def test_a_path_to_nothing_is_a_data_error(tmp_path):
    with pytest.raises(
        DataError, match=r"nothing: no such file or folder; expected a \.ts, .* a folder of IDX files"
    ):
        catalog.load(str(tmp_path / "nothing"))


def test_a_file_of_another_name_is_a_data_error(tmp_path):
    (tmp_path / "mine").write_bytes(b"")
    with pytest.raises(DataError, match=r"mine: expected a \.ts, .*, found a file with another suffix"):
        catalog.load(str(tmp_path / "mine"))


def test_a_path_that_no_system_allows_is_a_data_error():
    with pytest.raises(DataError, match=r"no such file or folder; expected a \.ts"):
        catalog.load("./" + "x" * 5000)


def test_training_and_test_pictures_of_different_sizes_are_refused(tmp_path):
    files = contents() | {published.FILES[2]: idx(np.zeros((6, 5, 7)))}
    with pytest.raises(DataError, match=r"t10k-images.*: expected pictures of 7 x 7 .*, found 5 x 7; down"):
        catalog.load(str(write_folder(tmp_path / "mine", files)))


def test_a_class_of_one_picture_is_named_with_its_file(tmp_path):
    files = contents(classes=1) | {published.FILES[1]: idx([9] + [0] * 23)}
    with pytest.raises(
        DataError,
        match=r"train-images-idx3-ubyte: class 9 has a single sequence.*; add sequences of that class",
    ):
        catalog.load(str(write_folder(tmp_path / "mine", files)))


def test_a_damaged_file_of_a_folder_is_to_be_had_from_its_source(tmp_path):
    files = contents() | {published.FILES[2]: b"\0\0\x08"}
    with pytest.raises(DataError, match=r"t10k-images.*; download the file again from its source$"):
        catalog.load(str(write_folder(tmp_path / "mine", files)))


def test_a_name_wins_over_a_folder_and_a_path_reaches_the_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "digits", contents())
    monkeypatch.chdir(tmp_path)
    assert len(catalog.load("digits").test) == 360
    assert len(catalog.load("./digits").test) == 6


# --- the real ones


needs_ts = pytest.mark.skipif(
    not (SHARED and (Path(SHARED) / "ts" / "JapaneseVowels_TRAIN.ts").is_file()),
    reason="JapaneseVowels is not in $SCANLINE_DATA/ts",
)


@needs_ts
def test_japanese_vowels_have_270_and_370_sequences_of_7_to_29_steps(monkeypatch, tmp_path):
    monkeypatch.setenv("SCANLINE_DATA", SHARED)
    monkeypatch.chdir(tmp_path)
    data_set = catalog.load("JapaneseVowels")
    assert [len(part) for part in data_set.splits.values()] == [243, 27, 370]
    lengths = np.concatenate([part.lengths for part in data_set.splits.values()])
    assert (lengths.min(), lengths.max()) == (7, 29)
    assert data_set.train.features == 12
    assert data_set.train.classes == tuple("123456789")
    # each of nine speakers has 30 utterances, in order; the test part's counts stand in the file's header
    assert np.bincount(data_set.validation.targets).tolist() == [3] * 9
    assert np.bincount(data_set.test.targets).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert data_set.name == "JapaneseVowels"
    assert data_set.address == str(Path(SHARED).resolve() / "ts" / "JapaneseVowels")


@needs_ts
def test_basic_motions_have_40_and_40_sequences_of_100_steps(monkeypatch, tmp_path):
    monkeypatch.setenv("SCANLINE_DATA", SHARED)
    monkeypatch.chdir(tmp_path)
    data_set = catalog.load("BasicMotions")
    assert data_set.test.shape == (40, 100, 6)
    assert data_set.train.classes == ("Standing", "Running", "Walking", "Badminton")
    assert np.bincount(data_set.test.targets).tolist() == [10, 10, 10, 10]
    assert [len(part) for part in data_set.splits.values()] == [36, 4, 40]


@needs_ts
def test_a_folder_of_several_archives_asks_for_one(monkeypatch):
    message = r"ts: expected one data set; .* one of BasicMotions_TEST\.ts, .*JapaneseVowels_TRAIN\.ts"
    with pytest.raises(UsageError, match=message):
        catalog.read(f"{SHARED}/ts", DEFAULT_DATA)


@needs_mnist
def test_mnist_is_split_as_the_tutorials_split_it(monkeypatch):
    monkeypatch.setenv("SCANLINE_DATA", SHARED)
    data = catalog.load("mnist")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert data.validation.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.train.values.shape == (55_000, 28, 28)
    assert data.picture == PictureFormat(height=28, width=28, box=20, levels=255, centre="mass")
    assert data.full_scale == 255


@needs_mnist
def test_mnist_verifies(monkeypatch):
    monkeypatch.setenv("SCANLINE_DATA", SHARED)
    assert [(check.ok, check.note) for check in catalog.verify("mnist")] == [(True, "SHA-256 matches")] * 4
