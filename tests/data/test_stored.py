"""Sequences that are read from row groups when they are needed: as those in memory, in every respect."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from scanline.data.checks import check_values
from scanline.data.memory import MemorySource
from scanline.data.packed.manifest import FileDigest, read_manifest, write_manifest
from scanline.data.packed.row_groups import encode_index
from scanline.data.packed_data import read_packed
from scanline.data.preprocessing import Preprocessing
from scanline.data.splits import balanced
from scanline.data.stored import StoredSource
from scanline.data.summary import summarise
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.imputer import feature_means
from scanline.data.transforms.scaler import Scaler
from scanline.data.transforms.views import View
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA
from scanline.storage.digest import sha256
from tests.conftest import make_sequences
from tests.data.packed.writing import ragged, write_packed


def stored(folder, source: MemorySource, rows: int = 3, name: str = "train") -> StoredSource:
    location = write_packed(folder, {name: source}, rows)
    opened = read_packed(location.uri).splits[name]
    assert isinstance(opened, StoredSource)
    return opened


@pytest.fixture(params=["ragged", "uniform"])
def pair(request, tmp_path):
    """The same sequences in memory and stored."""
    source = ragged() if request.param == "ragged" else make_sequences(10, 4, 3, 2)
    return source, stored(tmp_path / "packed", source)


def same_batch(one, other) -> bool:
    return (
        np.array_equal(one.values, other.values)
        and one.values.dtype == other.values.dtype
        and np.array_equal(one.targets, other.targets)
        and ((one.lengths is None) == (other.lengths is None))
        and (one.lengths is None or np.array_equal(one.lengths, other.lengths))
    )


def test_sizes_and_targets_are_those_of_the_sequences_in_memory(pair):
    source, other = pair
    assert other.shape == source.shape
    assert other.uniform == source.uniform
    assert other.total_steps == source.total_steps
    assert other.classes == source.classes
    assert np.array_equal(other.lengths, source.lengths)
    assert np.array_equal(other.targets, source.targets)
    assert other.dtype == source.dtype


@pytest.mark.parametrize("indices", [[0], [9, 0, 4], [2, 2, 8, 1], list(range(10)), [3, 4, 5]])
def test_batches_are_those_of_the_sequences_in_memory(pair, indices):
    source, other = pair
    assert same_batch(other.gather(np.array(indices)), source.gather(np.array(indices)))


def test_a_batch_is_gathered_into_memory_that_is_given(pair):
    source, other = pair
    indices = np.array([9, 1, 5])
    out = np.full(200, np.nan, np.float32)
    batch = other.gather(indices, out)
    assert np.shares_memory(batch.values, out)
    assert np.array_equal(batch.values, source.gather(indices).values)


def test_weights_are_gathered(pair):
    source, other = pair
    weights = np.arange(10, dtype=np.float32)
    batch = other.with_weights(weights).gather(np.array([7, 2]))
    assert batch.weights is not None
    assert batch.weights.tolist() == [7, 2]
    assert np.array_equal(balanced(other), balanced(source))


def test_parts_are_the_sequences_in_order_with_identifiers(pair):
    source, other = pair
    parts = list(other.parts())
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert np.array_equal(np.concatenate([part.concatenated for part in parts]), source.concatenated)
    assert [part.identifier(0) for part in parts] == [str(source.identifier(i)) for i in (0, 3, 6, 9)]
    assert [other.identifier(index) for index in (9, 0, 5)] == [str(source.identifier(i)) for i in (9, 0, 5)]


def test_steps_of_one_sequence_and_of_several(pair):
    source, other = pair
    assert np.array_equal(other.steps_of(6), source.steps_of(6))
    assert np.array_equal(other.steps_between(2, 7), source.steps_between(2, 7))


@pytest.mark.parametrize("between", [(0, 10), (2, 9), (3, 6), (5, 6)])
def test_consecutive_sequences_stay_stored(pair, between):
    source, other = pair
    taken, expected = other.take(slice(*between)), source.take(slice(*between))
    assert isinstance(taken, StoredSource)
    assert np.array_equal(
        np.concatenate([part.concatenated for part in taken.parts()]), expected.concatenated
    )
    assert np.array_equal(taken.targets, expected.targets)
    every = np.arange(len(expected))
    assert same_batch(taken.gather(every), expected.gather(every))
    assert taken.identifier(0) == str(source.identifier(between[0]))
    again = taken.take(slice(0, 1))
    assert np.array_equal(again.steps_of(0), expected.steps_of(0))


def test_other_sequences_are_taken_into_memory_in_the_order_asked_for(pair):
    source, other = pair
    indices = np.array([8, 0, 5, 9])
    taken, expected = other.take(indices), source.take(indices)
    assert isinstance(taken, MemorySource)
    assert np.array_equal(taken.concatenated, expected.concatenated)
    assert np.array_equal(taken.targets, expected.targets)
    assert [taken.identifier(place) for place in range(4)] == [str(source.identifier(i)) for i in indices]
    assert taken.info.locate(1) == f"sequence {source.identifier(0)}"
    assert len(other.subsample(4)) == 4


def test_nothing_to_take_is_an_error(pair):
    _, other = pair
    with pytest.raises(DataError, match="no sequence is left"):
        other.take(np.array([], int))


def test_row_groups_are_read_when_they_are_needed_and_not_before(tmp_path):
    other = stored(tmp_path / "packed", ragged())
    for file in (tmp_path / "packed").glob("train-00000[23].parquet"):
        file.unlink()
    assert other.gather(np.array([0, 5])).values.shape == (2, 3, 2)
    with pytest.raises(DataError, match=r"train-000002.parquet: cannot be read \(no such file\)"):
        other.gather(np.array([6]))


def test_a_flipped_bit_is_an_error_that_names_the_file(tmp_path):
    other = stored(tmp_path / "packed", ragged())
    file = tmp_path / "packed" / "train-000001.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train-000001.parquet: expected the content that the manifest"):
        other.gather(np.array([4]))
    assert len(other.gather(np.array([0])).values) == 1


def test_row_groups_of_another_data_set_are_an_error(tmp_path):
    one = write_packed(tmp_path / "one", {"train": ragged()}, 5)
    write_packed(tmp_path / "other", {"train": ragged((3, 1, 4, 2, 5, 3, 2, 6, 4, 1))}, 5)
    opened = read_packed(one.uri).train
    assert isinstance(opened, StoredSource)
    # As if manifest and index were of one writing and a row group of another, with its own digest.
    entry = read_packed(str(tmp_path / "other")).train
    assert isinstance(entry, StoredSource)
    mixed = replace(opened, stored=entry.stored)
    with pytest.raises(DataError, match="expected sequences of the lengths in the index"):
        mixed.gather(np.array([9]))


# --- preprocessing


def fitted(data, **changes) -> Preprocessing:
    from scanline import recipe

    settings = recipe.load("sequences", {f"input.{key}": value for key, value in changes.items()}).input
    return Preprocessing.fit(data, settings)


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_missing_values_are_replaced_when_a_row_group_is_read(tmp_path, missing):
    source = ragged()
    steps = source.concatenated.copy()
    steps[[1, 4, 5, 20], [0, 1, 0, 1]] = np.nan
    source = replace(source, concatenated=steps)
    data = read_packed(write_packed(tmp_path, {"train": source}, 3).uri)
    preprocessing = fitted(data, missing=missing)
    whole = fitted(replace(data, splits={"train": source}), missing=missing)
    assert np.allclose(preprocessing.means, whole.means, rtol=1e-12)
    other, expected = preprocessing.prepare(data.train), preprocessing.prepare(source)
    every = np.arange(len(source))
    assert same_batch(other.gather(every), expected.gather(every))
    if missing != "forward-fill":  # otherwise they have to be computed
        assert other.layout is not None
        assert other.layout.statistics is not None
    one, two = (Scaler.fit(each, "standard") for each in (other, expected))
    assert np.allclose(one.shift, two.shift, atol=1e-7)
    assert np.allclose(one.scale, two.scale, rtol=1e-6)


def test_steps_are_cut_when_a_row_group_is_read(tmp_path):
    source = make_sequences(10, 4, 3, 2)
    data = read_packed(write_packed(tmp_path, {"train": source}, 4).uri)
    preprocessing = fitted(data, features=6)
    other, expected = preprocessing.prepare(data.train), preprocessing.prepare(source)
    assert other.shape == expected.shape == (10, 2, 6)
    assert same_batch(other.gather(np.array([9, 0])), expected.gather(np.array([9, 0])))
    with pytest.raises(UsageError, match="must divide the 12 values"):
        fitted(data, features=5).prepare(data.train)
    assert other.fingerprint() != data.train.fingerprint()


@pytest.mark.parametrize("view", ["rows", "columns", "permuted", "patches:2"])
def test_pictures_are_viewed_and_moved_as_in_memory(tmp_path, view):
    from scanline.data import catalogue

    digits = catalogue.load("digits")
    small = {name: source.take(slice(0, 40)) for name, source in digits.splits.items()}
    data = read_packed(write_packed(tmp_path, small, 16).uri)
    assert data.picture == digits.picture
    preprocessing = fitted(data, view=view)
    other, expected = preprocessing.prepare(data.train), preprocessing.prepare(small["train"])
    shift = PictureShift(View(view, 8, 8), 2, seed=1)
    indices = np.array([39, 3, 17, 16, 0])
    assert other.dtype == np.uint8
    assert np.array_equal(other.gather(indices).values, expected.gather(indices).values)
    moved, wanted = (shift.gather(each, indices, 5, slice(1, 4)) for each in (other, expected))
    assert np.array_equal(moved, wanted)


def test_a_fault_of_preprocessing_names_the_sequence(tmp_path):
    settings = DEFAULT_DATA.model_copy(update={"pad_value": "0", "shape": "long"})
    source = ragged()
    source = replace(source, info=replace(source.info, settings=settings))
    steps = source.concatenated.copy()
    steps[source.starts[7] : source.starts[8]] = 0
    location = write_packed(tmp_path, {"train": replace(source, concatenated=steps)}, 3)
    data = read_packed(location.uri)
    prepared = fitted(data).prepare(data.train)
    with pytest.raises(DataError, match="sequence recording 7: expected values before the padding"):
        prepared.gather(np.array([8]))


def test_statistics_come_from_the_manifest(tmp_path):
    source = ragged()
    data = read_packed(write_packed(tmp_path, {"train": source}, 3).uri)
    for file in tmp_path.glob("train-0*.parquet"):
        file.unlink()  # nothing is read
    scaler, expected = Scaler.fit(data.train, "standard"), Scaler.fit(source, "standard")
    assert np.allclose(scaler.shift, expected.shift, atol=1e-7)
    assert np.allclose(scaler.scale, expected.scale, rtol=1e-6)
    assert np.allclose(feature_means(data.train), feature_means(source), atol=1e-7)


def test_a_constant_feature_keeps_its_scale(tmp_path):
    source = ragged()
    steps = source.concatenated.copy()
    steps[:, 1] = 1e6 + 0.1
    data = read_packed(write_packed(tmp_path, {"train": replace(source, concatenated=steps)}, 3).uri)
    assert Scaler.fit(data.train, "standard").scale[1] == 1


def test_missing_values_are_reported_from_the_manifest(tmp_path):
    source = ragged()
    steps = source.concatenated.copy()
    steps[0, 0] = np.nan
    data = read_packed(write_packed(tmp_path, {"train": replace(source, concatenated=steps)}, 3).uri)
    with pytest.raises(DataError, match="sequence recording 0: expected a finite number, found a miss"):
        check_values(data.train, missing=False)
    check_values(data.train, missing=True)
    assert summarise(data)["parts"]["train"]["missing"] == 1


def test_the_same_fingerprint_for_the_same_content_and_another_for_other_targets(tmp_path):
    one = stored(tmp_path / "one", ragged())
    assert one.fingerprint() == stored(tmp_path / "two", ragged()).fingerprint()
    assert one.fingerprint() != one.with_targets((one.targets + 1) % 3, one.classes).fingerprint()
    assert one.fingerprint() != one.take(slice(0, 4)).fingerprint()


def test_all_sequences_read_into_memory_keep_the_layout(tmp_path):
    source = ragged()
    location = write_packed(tmp_path, {"train": source}, 3)
    data = read_packed(location.uri, in_memory=True)
    assert isinstance(data.train, MemorySource)
    assert np.array_equal(data.train.concatenated, source.concatenated)
    assert data.train.layout is not None
    assert data.train.layout.group_sizes.tolist() == [3, 3, 3, 1]
    assert data.describe_splits()["train"].keys() == {"n", "from", "classes"}


def test_verify_checks_every_file(tmp_path):
    from scanline.data import catalogue

    location = write_packed(tmp_path, {"train": ragged()}, 3)
    checks = catalogue.verify(location.uri)
    assert len(checks) == 6  # the manifest, the index and four row groups
    assert all(check.ok for check in checks)
    (tmp_path / "train-000002.parquet").write_bytes(b"something else")
    assert [check.ok for check in catalogue.verify(location.uri)].count(False) == 1


def test_other_files_of_splits_are_refused(tmp_path):
    location = write_packed(tmp_path, {"train": ragged()}, 3)
    settings = DEFAULT_DATA.model_copy(update={"test": "other.csv"})
    with pytest.raises(UsageError, match="must be empty for"):
        read_packed(location.uri, settings)


def test_a_sequence_is_found_by_its_identifier(pair):
    source, other = pair
    assert other.find(str(source.identifier(7))) == 7
    assert other.find("unknown") is None


def test_verify_compares_values_with_the_statistics(tmp_path):
    from scanline.data import catalogue

    location = write_packed(tmp_path, {"train": ragged()}, 3)
    manifest = read_manifest(location)
    split = manifest.splits["train"]
    lying = split.statistics.model_copy(update={"mean": [split.statistics.mean[0] + 1, 0.0]})
    splits = {"train": split.model_copy(update={"statistics": lying})}
    write_manifest(location, manifest.model_copy(update={"splits": splits}))
    wrong = [check.note for check in catalogue.verify(location.uri) if not check.ok]
    assert len(wrong) == 1
    assert "expected the mean and variance of the values" in wrong[0]


def test_names_that_are_not_those_of_the_features_are_refused(tmp_path):
    location = write_packed(tmp_path, {"train": ragged()}, 3, feature_names=("x", "y", "z"))
    with pytest.raises(DataError, match="expected names of 2 features, got 3"):
        read_packed(location.uri)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_that_is_no_regular_file_is_not_read(tmp_path, kind):
    location = write_packed(tmp_path, {"train": ragged()}, 3)
    file = tmp_path / "train-000001.parquet"
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="expected a regular file"):
        read_packed(location.uri).train.steps_of(4)


def test_an_index_of_more_sequences_than_the_manifest_says_is_refused(tmp_path):
    location = write_packed(tmp_path, {"train": ragged()}, 3)
    content = encode_index(np.ones(100_000, np.int64), np.zeros(100_000, np.int64))
    location.write("train-index.parquet", content)
    manifest = read_manifest(location)
    index = FileDigest(file="train-index.parquet", bytes=len(content), sha256=sha256(content))
    splits = {"train": manifest.splits["train"].model_copy(update={"index": index})}
    write_manifest(location, manifest.model_copy(update={"splits": splits}))
    with pytest.raises(DataError, match="expected 10 rows, as in the manifest, found 100,000"):
        read_packed(location.uri)
