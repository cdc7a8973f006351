"""Named data sets on disk, and names that are not in the catalogue."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue as catalog
from scanline.data import published
from scanline.data.partition import partition
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from tests.data.test_catalogue import contents, idx, write_folder

pytestmark = pytest.mark.usefixtures("no_user_data")

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
    assert catalog.describe("mnist").path == given


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


def test_a_missing_data_set_cannot_be_verified():
    with pytest.raises(DataError, match=r"mnist was not found: run `scanline data fetch mnist`"):
        catalog.verify("mnist")


def test_offline_a_missing_set_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"SCANLINE_OFFLINE is set.* folder that has mnist/train-images"):
        catalog.load("mnist")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("form", ["raw_sha256", "gz_sha256"])
def test_fetch_downloads_and_verifies_all_four_files_and_counts_the_bytes(small, tmp_path, monkeypatch, form):
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
def test_options_for_reading_are_refused_for_a_named_set(key, value):
    settings = DEFAULT_DATA.model_copy(update={"name": "digits", key: value})
    message = f"^data.{key} must not be set for digits, whose format and splits are fixed$"
    with pytest.raises(UsageError, match=message):
        catalog.read("digits", settings)


def test_a_named_set_is_read_whole_for_any_split():
    samples = catalog.read("digits", DEFAULT_DATA.model_copy(update={"name": "digits"}))
    data_set = partition(samples, DEFAULT_SPLIT.model_copy(update={"test": 0.0}))
    assert [len(part) for part in data_set.splits.values()] == [1257, 180, 360]
