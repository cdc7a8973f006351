"""Folders of WAV files: classes, order, rates, groups and splits by file name, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from scanline.data import catalogue
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA


def put(path: Path, value: int = 0, samples: int = 10, rate: int = 8_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.full((samples, channels), value * 256, np.int16))


def read(folder: Path, **settings):
    return catalogue.read(str(folder), DEFAULT_DATA.model_copy(update=settings))


@pytest.fixture
def digits(tmp_path):
    """Return a folder of the classes 2 and 10, each of the speakers ann and bob, of four lengths."""
    for number, (digit, name) in enumerate(((2, "ann"), (2, "bob"), (10, "ann"), (10, "bob")), 1):
        put(tmp_path / str(digit) / f"{digit}_{name}_0.wav", number, 10 * number)
    return tmp_path


def test_each_sub_folder_is_a_class_and_each_sample_a_step(digits):
    found = read(digits).first
    assert found.classes == (2, 10)
    assert found.targets.tolist() == [0, 0, 1, 1]
    assert found.lengths.tolist() == [10, 20, 30, 40]
    assert found.features == 1
    assert [found.steps_of(index)[0, 0] * 128 for index in range(4)] == [1, 2, 3, 4]
    assert found.ids.tolist() == ["2/2_ann_0.wav", "2/2_bob_0.wav", "10/10_ann_0.wav", "10/10_bob_0.wav"]
    assert found.info.sample_rate == found.info.settings.sample_rate == 8_000


def test_files_in_deeper_folders_are_read_and_hidden_ones_counted(digits):
    put(digits / "2" / "carl" / "2.wav")
    put(digits / "2" / "carl" / "10.wav")
    for name in ("2/.a.wav", "2/carl/._b.wav", ".DS_Store", "2/.git/c.wav"):
        put(digits / name)
    (digits / "2" / "notes.txt").write_text("")
    found = read(digits).first
    assert found.ids.tolist()[2:4] == ["2/carl/2.wav", "2/carl/10.wav"]
    assert found.info.notes == (
        f"{digits}: ignored, as not a WAV file in the folder of a class: 2/notes.txt",
        f"{digits}: 3 hidden files skipped",
    )


def test_folders_of_splits_are_read_and_have_one_rate(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            put(tmp_path / split / name / "1.wav", rate=16_000)
    found = read(tmp_path)
    assert list(found.splits) == ["train", "test"]
    put(tmp_path / "test" / "b" / "2.wav", rate=8_000)
    with pytest.raises(DataError, match=r"b/2\.wav: expected 16,000 samples a second as those of train"):
        read(tmp_path)


def test_two_channels_are_mixed_and_said(digits):
    put(digits / "2" / "a.wav", channels=2)
    assert read(digits).first.info.notes == (f"{digits}: two channels of 1 of 5 recordings mixed down",)


def test_another_rate_is_refused_by_name_or_resampled(digits):
    put(digits / "10" / "z.wav", samples=100, rate=16_000)
    with pytest.raises(DataError) as caught:
        read(digits)
    assert str(caught.value) == (
        f"{digits}/10/z.wav: expected 8,000 samples a second as 2/2_ann_0.wav, found 16,000; resample the "
        "file, or give --resample (data.resample = true)"
    )
    found = read(digits, resample=True).first
    assert found.lengths.tolist()[-1] == 50
    assert read(digits, resample=True, sample_rate=4_000).first.lengths.tolist() == [5, 10, 15, 20, 25]


def test_resampling_keeps_a_tone(tmp_path):
    tone = (20_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", 16_000, tone)
    settings = DEFAULT_DATA.model_copy(update={"sample_rate": 8_000, "resample": True})
    found = read_sources(tmp_path / "a.wav", settings, ("label",))["all"].concatenated[:, 0]
    expected = 20_000 / 2**15 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)


def test_other_formats_and_single_classes_are_refused_by_name(digits):
    (digits / "2" / "x.mp3").write_bytes(b"ID3")
    with pytest.raises(DataError, match=r"2: expected recordings in WAV files .*x\.mp3"):
        read(digits)
    (digits / "2" / "x.mp3").unlink()
    for path in (digits / "10").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="expected at least two sub-folders with WAV files"):
        read(digits)


def test_a_single_file_has_no_label_to_train_on(digits):
    path = digits / "2" / "2_ann_0.wav"
    with pytest.raises(DataError, match="expected a folder with WAV files in a sub-folder for each class"):
        read_sources(path, DEFAULT_DATA)
    found = read_sources(path, DEFAULT_DATA, ("label",))["all"]
    assert found.ids.tolist() == ["2_ann_0.wav"]
    assert not found.classes


# --- patterns of file names


@pytest.mark.parametrize("pattern", ["_(?P<group>[a-z]+)_", "_([a-z]+)_", "(?<=_)[a-z]+(?=_)"])
def test_groups_are_read_from_the_names_of_files(digits, pattern):
    assert read(digits, group_pattern=pattern).first.groups.tolist() == ["ann", "bob", "ann", "bob"]


def test_splits_are_read_from_the_names_of_files(digits):
    put(digits / "2" / "2_carl_0.wav")
    put(digits / "10" / "10_carl_0.wav")
    found = read(digits, test_pattern="_ann_", validation_pattern="carl")
    assert list(found.splits) == ["train", "test", "validation"]
    assert found.splits["test"].ids.tolist() == ["2/2_ann_0.wav", "10/10_ann_0.wav"]
    assert found.splits["train"].ids.tolist() == ["2/2_bob_0.wav", "10/10_bob_0.wav"]


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({"group_pattern": "^x"}, DataError, "expected a path that data.group_pattern (^x) matches"),
        (
            {"test_pattern": "^x"},
            DataError,
            "expected files whose path matches data.test_pattern",
        ),
        ({"test_pattern": "ann", "validation_pattern": "_0"}, DataError, "expected one split"),
        ({"test_pattern": "."}, DataError, "the patterns match all"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(digits, settings, error, expected):
    with pytest.raises(error) as caught:
        read(digits, **settings)
    assert expected in str(caught.value)


def test_patterns_are_refused_where_there_are_no_files_or_splits_already(tmp_path, digits):
    (digits / "table.csv").write_text("id,x,label\na,1,u\nb,2,v\n")
    with pytest.raises(UsageError, match=r"data\.group_pattern must be empty for .*table\.csv, which is no"):
        read(digits / "table.csv", group_pattern="x")
    for name in "ab":
        put(tmp_path / "s" / "train" / name / "1.wav")
    with pytest.raises(UsageError, match=r"data\.test_pattern must be empty for .*/s, which has"):
        read(tmp_path / "s", test_pattern="1")


def test_pictures_are_grouped_and_split_by_name_too(tmp_path):
    from tests.data.readers.picture_files import grey
    from tests.data.readers.picture_files import put as put_picture

    for name in ("a/x_1.png", "a/y_1.png", "b/x_2.png", "b/y_2.png"):
        put_picture(tmp_path / name, grey(9))
    found = read(tmp_path, group_pattern="/([xy])", test_pattern="/y")
    assert found.splits["train"].groups.tolist() == ["x", "x"]
    assert found.splits["test"].ids.tolist() == ["a/y_1.png", "b/y_2.png"]
