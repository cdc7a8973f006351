"""Named data sets and folders of IDX files."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue as catalog
from scanline.data import published
from scanline.data.partition import partition
from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT

SHARED = os.environ.get("SCANLINE_DATA")
needs_mnist = pytest.mark.skipif(
    not (SHARED and (Path(SHARED) / "mnist").is_dir()), reason="MNIST is not in $SCANLINE_DATA"
)


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch, tmp_path):
    """No test looks into the user's folders or onto the network unless it says so."""
    monkeypatch.delenv("SCANLINE_DATA", raising=False)
    monkeypatch.setenv("SCANLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCANLINE_OFFLINE", "1")


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
    assert facts.found is None
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


def test_digits_are_always_at_hand_and_verify():
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
        DataError, match=r"nothing: no such file or folder; expected a \.ts, \.csv, .* a folder of IDX files"
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


# --- named sets on disk: a small set under a name of the catalog, with checksums of its own


@pytest.fixture
def small(monkeypatch):
    """The files of a data set in place of the real MNIST: 60,000 pictures of one pixel."""
    files = contents(train=60_000, test=10, side=1, classes=10)
    digests = tuple(hashlib.sha256(content).hexdigest() for content in files.values())
    entry = replace(published.PUBLISHED[0], raw_sha256=digests)
    monkeypatch.setattr(catalog, "PUBLISHED", (entry, *published.PUBLISHED[1:]))
    monkeypatch.setattr(catalog, "SHAPES", ((60_000, 1, 1), (60_000,), (10, 1, 1), (10,)))
    return files


def test_scanline_data_is_looked_into_before_the_cache(small, tmp_path, monkeypatch):
    cached = write_folder(tmp_path / "cache" / "mnist", small)
    assert catalog.find("mnist") == cached
    given = write_folder(tmp_path / "data" / "mnist", small)
    monkeypatch.setenv("SCANLINE_DATA", str(tmp_path / "data"))
    assert catalog.find("mnist") == given
    assert catalog.fetch("mnist") == given
    assert catalog.describe("mnist").found == given


def test_an_incomplete_folder_does_not_count(small, tmp_path):
    write_folder(tmp_path / "cache" / "mnist", dict(list(small.items())[:3]))
    assert catalog.find("mnist") is None


def test_a_repacked_file_is_as_good_as_a_raw_one(small, tmp_path):
    packed = {name + ".gz": gzip.compress(content, 1) for name, content in small.items()}
    write_folder(tmp_path / "cache" / "mnist", packed)
    data = catalog.load("mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10)
    assert all(check.ok and check.note == "SHA-256 matches" for check in catalog.verify("mnist"))


def test_a_damaged_cached_file_is_to_be_fetched_again(small, tmp_path):
    folder = write_folder(tmp_path / "cache" / "mnist", small)
    path = folder / published.FILES[2]
    path.write_bytes(small[published.FILES[2]][:-1])
    with pytest.raises(DataError, match=r"t10k-images.*; run `scanline data fetch mnist --force`$"):
        catalog.load("mnist")
    checks = catalog.verify("mnist")
    assert [check.ok for check in checks] == [True, True, False, True]
    assert checks[2].path == path
    assert "truncated" in checks[2].note


def test_other_bytes_under_a_known_name_are_refused(small, tmp_path, monkeypatch):
    files = small | {published.FILES[3]: idx(np.zeros(10))}
    write_folder(tmp_path / "data" / "mnist", files)
    monkeypatch.setenv("SCANLINE_DATA", str(tmp_path / "data"))
    message = (
        r"t10k-labels.*: not mnist's file: expected uncompressed bytes with SHA-256 .*; download the file"
    )
    with pytest.raises(DataError, match=message):
        catalog.load("mnist")
    assert [check.ok for check in catalog.verify("mnist")] == [True, True, True, False]


def test_another_shape_under_a_known_name_is_refused(tmp_path):
    write_folder(tmp_path / "cache" / "kmnist", contents())
    message = r"train-images.*: not kmnist's file: expected items of shape \(60000, 28, 28\), found \(24, 7"
    with pytest.raises(DataError, match=message):
        catalog.load("kmnist")


def test_a_set_with_known_gz_checksums_is_compared_only_if_packed_as_published(small, tmp_path, monkeypatch):
    packed = {name + ".gz": gzip.compress(content) for name, content in small.items()}
    digests = tuple(hashlib.sha256(content).hexdigest() for content in packed.values())
    entry = replace(published.PUBLISHED[0], raw_sha256=(), gz_sha256=digests)
    monkeypatch.setattr(catalog, "PUBLISHED", (entry,))
    first = published.FILES[0]
    folder = write_folder(tmp_path / "cache" / "mnist", packed)
    (folder / (first + ".gz")).write_bytes(gzip.compress(small[first], 1))
    notes = [check.note for check in catalog.verify("mnist")]
    assert notes == ["complete; recompressed, so the checksum cannot be compared"] + ["SHA-256 matches"] * 3


def test_what_is_not_at_hand_cannot_be_verified():
    with pytest.raises(DataError, match=r"mnist was not found: run `scanline data fetch mnist`"):
        catalog.verify("mnist")


def test_offline_a_set_that_is_not_at_hand_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"SCANLINE_OFFLINE is set.* folder that has mnist/train-images"):
        catalog.load("mnist")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("form", ["raw_sha256", "gz_sha256"])
def test_fetch_brings_all_four_files_checked_and_counts_the_bytes(small, tmp_path, monkeypatch, form):
    packed = [gzip.compress(content) for content in small.values()]
    if form == "gz_sha256":
        digests = tuple(hashlib.sha256(content).hexdigest() for content in packed)
        entry = replace(catalog.PUBLISHED[0], raw_sha256=(), gz_sha256=digests)
        monkeypatch.setattr(catalog, "PUBLISHED", (entry,))
    entry = replace(catalog.PUBLISHED[0], packed_bytes=tuple(len(content) for content in packed))
    monkeypatch.setattr(catalog, "PUBLISHED", (entry,))
    asked = []

    def deliver(urls, target, *, limit_bytes, check, force, on_progress):
        asked.append(urls[0])
        content = packed[len(asked) - 1]
        assert len(content) <= limit_bytes
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content[:-20])
        assert check(target) is not None
        target.write_bytes(content)
        assert check(target) is None
        on_progress(len(content), None)
        return target

    monkeypatch.setattr(catalog.download, "fetch", deliver)
    seen = []
    folder = catalog.fetch("mnist", lambda received, total: seen.append((received, total)))
    assert folder == tmp_path / "cache" / "mnist" == catalog.find("mnist")
    assert asked == [published.PUBLISHED[0].mirrors[0] + name + ".gz" for name in published.FILES]
    total = sum(len(content) for content in packed)
    assert seen[-1] == (total, total)
    assert len(seen) == 4


# --- what is no name of the catalog


TS = "@univariate true\n@classLabel true a b\n@data\n" + "1,2:a\n3,4:b\n" * 10


@pytest.fixture
def data(monkeypatch, tmp_path):
    """An empty $SCANLINE_DATA, seen from another empty folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("SCANLINE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "data"


def write(path: Path, text: str = TS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "file",
    ["Vowels_TRAIN.ts", "ts/Vowels_TRAIN.ts", "Vowels/Vowels_TRAIN.ts", "ts/Vowels/Vowels_TRAIN.ts"],
)
def test_a_name_is_looked_for_in_scanline_data_and_its_ts(data, file):
    write(data / file)
    path = catalog.locate("Vowels")
    assert path == data / ("ts/Vowels" if file.startswith("ts/") else "Vowels")
    samples = catalog.read("Vowels", DEFAULT_DATA)
    assert (samples.name, samples.path) == ("Vowels", path)
    assert partition(samples, DEFAULT_SPLIT).address == str(path)


def test_a_file_in_scanline_data_is_found_by_its_name(data):
    write(data / "mine.csv", "label,a\n" + "x,1\ny,2\n" * 6)
    assert catalog.locate("mine.csv") == data / "mine.csv"


def test_what_lies_here_wins_over_scanline_data(data, tmp_path):
    write(data / "Vowels_TRAIN.ts")
    write(tmp_path / "here" / "Vowels_TRAIN.ts")
    assert catalog.locate("Vowels") == Path("Vowels")


def test_a_path_is_not_looked_for_elsewhere(data):
    write(data / "Vowels_TRAIN.ts")
    assert catalog.locate("./Vowels") == Path("Vowels")
    with pytest.raises(DataError, match=r"^Vowels: no such file or folder"):
        catalog.read("./Vowels", DEFAULT_DATA)


def test_a_name_that_nothing_has_lists_the_names(data):
    assert catalog.locate("Vowels") is None
    assert catalog.locate("") is None
    with pytest.raises(
        UsageError, match=r"unknown data set 'Vowels': expected one of mnist, .*, or the path of"
    ):
        catalog.read("Vowels", DEFAULT_DATA)


def test_two_files_that_a_name_may_mean_are_a_usage_error(data):
    write(data / "ts" / "Vowels_TRAIN.ts")
    write(data / "ts" / "Vowels_TRAIN.csv", "label,a\nx,1\n")
    with pytest.raises(
        UsageError,
        match=r"Vowels: expected one data set; give the path of one of Vowels_TRAIN\.csv, Vowels_T",
    ):
        catalog.read("Vowels", DEFAULT_DATA)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b"])
def test_a_name_that_no_system_allows_is_unknown(data, name):
    with pytest.raises(UsageError, match="unknown data set"):
        catalog.read(name, DEFAULT_DATA)


def test_a_scanline_data_that_no_system_allows_holds_nothing(monkeypatch):
    monkeypatch.setenv("SCANLINE_DATA", "x" * 5000)
    assert catalog.find("mnist") is None
    assert catalog.locate("Vowels") is None


def test_a_scanline_data_that_may_not_be_entered_holds_nothing(data, monkeypatch):
    def refuse(folder, name):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(catalog, "idx_file", refuse)
    assert catalog.find("mnist") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("test", "x.ts"),
        ("label_column", "y"),
        ("picture", "8x8"),
        ("colour", True),
        ("fit", "cover"),
        ("shape", "wide"),
    ],
)
def test_nothing_is_to_be_said_of_how_a_named_set_is_read(key, value):
    settings = DEFAULT_DATA.model_copy(update={"name": "digits", key: value})
    message = f"^data.{key} must not be set for digits, whose format and splits are fixed$"
    with pytest.raises(UsageError, match=message):
        catalog.read("digits", settings)


def test_a_named_set_is_read_whole_whatever_the_split_says():
    samples = catalog.read("digits", DEFAULT_DATA.model_copy(update={"name": "digits"}))
    data_set = partition(samples, DEFAULT_SPLIT.model_copy(update={"test": 0.0}))
    assert [len(part) for part in data_set.splits.values()] == [1257, 180, 360]


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
