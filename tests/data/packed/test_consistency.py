"""A manifest that was changed and sealed again is refused where it disagrees with the sequences."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from scanline.data.packed.row_groups import encode_index, encode_row_group
from scanline.data.packed_data import read_packed
from scanline.errors import DataError
from tests.data.packed import small

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def files():
    return small.files()


def read_all(address) -> None:
    """Read every row group of a packed data set."""
    for source in read_packed(str(address)).splits.values():
        for _ in source.parts():
            pass


def fault(folder, content) -> str:
    small.write(str(folder), content)
    with pytest.raises(DataError) as error:
        read_all(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(folder))
    return str(error.value).removeprefix(f"{folder}/")


def test_the_sequences_are_those_that_were_packed(tmp_path, files):
    small.write(str(tmp_path), files)
    for name, source in read_packed(str(tmp_path)).splits.items():
        packed = small.sequences(name)
        parts = list(source.parts())
        assert np.array_equal(np.concatenate([part.concatenated for part in parts]), packed.concatenated)
        assert np.array_equal(source.targets, packed.targets)
        assert [source.identifier(index) for index in range(len(source))] == packed.ids.tolist()


SPLIT = ("splits", "train")


@pytest.mark.parametrize(
    ("field", "lie", "message"),
    [
        (("schema",), 2, "expected schema 1, found schema 2, written by Scanline 0.1.0"),
        (("schema",), None, "expected schema 1"),
        (("kind",), "scores", "expected the manifest of a packed data set"),
        (("features",), 3, "expected statistics of 3 features"),
        (("dtype",), "uint8", "expected a column steps of list<item: uint8>"),
        (("full_scale",), 0, "full_scale"),
        (("classes",), ["right", "left"], "train-000000.parquet: row 1: expected label: right"),
        (("classes",), ["left", "up"], "expected label: up, as in the manifest, found right"),
        (("classes",), ["left"], "expected counts of 1 classes"),
        (("numbers",), True, "expected a range of targets"),
        (("picture",), {"height": 1, "width": 1}, "picture"),
        (("settings",), {"shape": "round"}, "settings"),
        (("splits",), {}, "splits"),
        ((*SPLIT, "n"), 25, "expected row groups with 25 n"),
        ((*SPLIT, "steps"), 10**12, "expected row groups with 1,000,000,000,000 steps"),
        ((*SPLIT, "class_counts"), [11, 13], "sequences of each class"),
        ((*SPLIT, "targets"), {"min": 0, "mean": 1, "max": 2}, "expected a range of targets"),
        ((*SPLIT, "group_count"), 1, "expected the names of 1 groups, got 0"),
        ((*SPLIT, "groups"), ["a"], "expected the names of 0 groups, got 1"),
        ((*SPLIT, "lengths", "min"), 2, "length of the shortest sequence: 2, as in the manifest, found 1"),
        ((*SPLIT, "lengths", "median"), 4.0, "median length"),
        ((*SPLIT, "lengths", "max"), 10**12, "length of the longest sequence"),
        ((*SPLIT, "lengths", "histogram"), [[1, 4, 24]], "sequences of 1 to 4 steps: 24, as in the manifest"),
        ((*SPLIT, "lengths", "histogram"), [[1, 4, 20]], "expected 24 sequences in all bins"),
        ((*SPLIT, "lengths", "histogram"), [[1, 3, 15], [3, 5, 9]], "expected bins of lengths in order"),
        ((*SPLIT, "missing"), 1, "expected the place of the first missing value"),
        ((*SPLIT, "first_missing"), "s1", "expected the place of the first missing value"),
        ((*SPLIT, "statistics", "count"), [65, 66], "expected statistics of all values"),
        ((*SPLIT, "statistics", "mean"), [1e39, 0], "statistics.mean.0"),
        ((*SPLIT, "statistics", "m2"), [-1, 1], "statistics.m2.0"),
        ((*SPLIT, "statistics", "m2"), [1e300, 1], "expected deviations of float32 values"),
        ((*SPLIT, "index", "file"), "../index", "index.file"),
        ((*SPLIT, "index", "file"), "none.parquet", "none.parquet: cannot be read (no such file)"),
        ((*SPLIT, "index", "file"), "validation-index.parquet", "expected each file once"),
        ((*SPLIT, "index", "bytes"), 10, "train-index.parquet: expected at most 10 bytes"),
        ((*SPLIT, "index", "bytes"), 10**12, "train-index.parquet: expected the content"),
        ((*SPLIT, "index", "sha256"), "0" * 64, "train-index.parquet: expected the content"),
        ((*SPLIT, "row_groups"), [], "row_groups"),
        ((*SPLIT, "row_groups", 1, "file"), "test-000000.parquet", "expected each file once"),
        ((*SPLIT, "row_groups", 1, "n"), 9, "expected row groups with 24 n"),
        ((*SPLIT, "row_groups", 1, "bytes"), 10, "train-000001.parquet: expected at most 10 bytes"),
        ((*SPLIT, "row_groups", 1, "bytes"), 10**12, "train-000001.parquet: expected the content"),
        ((*SPLIT, "row_groups", 1, "sha256"), "0" * 64, "train-000001.parquet: expected the content"),
        (("another",), 1, "another"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_each_field_of_a_manifest_that_lies(tmp_path, files, field, lie, message):
    def change(tree: Any) -> None:
        for key in field[:-1]:
            tree = tree[key]
        tree[field[-1]] = lie

    assert message in fault(tmp_path, small.lying(files, change))


def test_two_row_groups_in_each_others_place(tmp_path, files):
    def swap(tree: Any) -> None:
        groups = tree["splits"]["train"]["row_groups"]
        for key in ("n", "steps"):
            groups[0][key], groups[2][key] = groups[2][key], groups[0][key]
        groups[0], groups[2] = groups[2], groups[0]

    assert "expected train" not in fault(tmp_path, small.lying(files, swap))


@pytest.mark.parametrize(("value", "message"), [(np.nan, "missing values"), (np.inf, "found infinity")])
def test_values_that_the_manifest_does_not_mention(tmp_path, files, value, message):
    part = small.sequences("train").take(slice(0, small.ROWS))
    part.concatenated[3, 1] = value
    content = small.replaced(files, "train-000000.parquet", encode_row_group(part))
    assert message in fault(tmp_path, content)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([0, 1, 2], "sequence 2: expected a target from 0 to 1, found 2"), ([0, -1, 0], "sequence 1: expected")],
)
def test_targets_that_are_no_classes(tmp_path, files, targets, message):
    source = small.sequences("train")
    changed = source.targets.copy()
    changed[:3] = targets
    content = small.replaced(files, "train-index.parquet", encode_index(source.lengths, changed))
    assert message in fault(tmp_path, content)


def test_a_changed_byte_of_the_manifest(tmp_path, files):
    content = files["manifest.json"].replace(b'"n": 24', b'"n": 25')
    assert "its content is not what was saved" in fault(tmp_path, {**files, "manifest.json": content})


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_manifest_that_is_none(tmp_path, files, content):
    assert fault(tmp_path, {**files, "manifest.json": content}).startswith("manifest.json")


def test_a_manifest_larger_than_the_limit(tmp_path, files, monkeypatch):
    # The limit is read once in a process.
    monkeypatch.setattr("scanline.data.packed.manifest.limit_of", {"MANIFEST_BYTES": 1000}.get)
    assert "expected at most 1,000 bytes" in fault(tmp_path, files)


def test_flipped_bits_of_a_row_group_and_of_an_index(tmp_path, files):
    for name in ("train-000000.parquet", "train-index.parquet"):
        small.write(str(tmp_path), files)
        for place in range(0, len(files[name]), 61):
            damaged = bytearray(files[name])
            damaged[place] ^= 1 << place % 8
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(DataError, match="expected the content that the manifest describes"):
                read_all(tmp_path)
        (tmp_path / name).write_bytes(files[name])


def test_counts_that_fit_the_manifest_but_not_the_files(tmp_path, files):
    def move(tree: Any) -> None:
        first, second = tree["splits"]["train"]["row_groups"][:2]
        first["steps"] += 1
        second["steps"] -= 1

    steps = json.loads(files["manifest.json"])["splits"]["train"]["row_groups"][0]["steps"]
    assert f"expected steps: {steps + 1}, as in the manifest, found {steps}" in fault(
        tmp_path, small.lying(files, move)
    )
