"""Any source by its path: which reader, which files belong together, which parts they make."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scanline.data import reading as sources
from scanline.data.catalogue import read
from scanline.data.partition import partition
from scanline.data.readers.arrays import Arrays
from scanline.data.reading import TO_EVALUATE, exists, has_source, read_dataset, read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings, SplitSettings

NAN = np.nan


def said(**settings) -> DataSettings:
    return DEFAULT_DATA.model_copy(update=settings)


def split(**shares) -> SplitSettings:
    return DEFAULT_SPLIT.model_copy(update=shares)


def ts(path: Path, values, labels=None, classes="a b") -> Path:
    """A .ts file of sequences of one feature: values is a list of lists."""
    labels = ["a", "b"] * len(values) if labels is None else labels
    lines = [
        f"{','.join(map(str, value))}:{label}"
        for value, label in zip(values, labels[: len(values)], strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"@univariate true\n@classLabel true {classes}\n@data", *lines]) + "\n")
    return path


def csv(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


WIDE = "label,a,b\n" + "x,1,2\ny,3,4\n" * 6
ONES, TWOS = [[1, 1]] * 10, [[2, 2]] * 4


def values_of(found) -> dict[str, list]:
    return {name: sorted(set(each.concatenated.ravel().tolist())) for name, each in found.items()}


# --- which reader a path gets


def test_a_ts_file_is_read(tmp_path):
    found = read_sources(ts(tmp_path / "one.ts", [[1, 2], [3]]), DEFAULT_DATA)
    assert list(found) == ["all"]
    assert found["all"].lengths.tolist() == [2, 1]


@pytest.mark.parametrize("name", ["one.csv", "ONE.CSV"])
def test_a_csv_file_is_read(tmp_path, name):
    assert read_sources(csv(tmp_path / name, WIDE), DEFAULT_DATA)["all"].shape == (12, 2, 1)


def test_a_tsv_and_a_parquet_file_are_read(tmp_path):
    tsv = csv(tmp_path / "one.tsv", WIDE.replace(",", "\t"))
    frame = pd.DataFrame({"label": ["x", "y"], "a": [1.0, 3.0], "b": [2.0, 4.0]})
    frame.to_parquet(tmp_path / "one.parquet")
    assert read_sources(tsv, DEFAULT_DATA)["all"].shape == (12, 2, 1)
    assert read_sources(tmp_path / "one.parquet", DEFAULT_DATA)["all"].values[:, :, 0].tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_an_npz_file_may_have_parts(tmp_path):
    np.savez(tmp_path / "one.npz", X=np.zeros((4, 3, 2)), y=[0, 1, 0, 1])
    assert list(read_sources(tmp_path / "one.npz", DEFAULT_DATA)) == ["all"]
    part = {
        "X_train": np.zeros((4, 3, 2)),
        "y_train": [0, 1, 0, 1],
        "X_test": np.ones((1, 3, 2)),
        "y_test": [1],
    }
    np.savez(tmp_path / "two.npz", **part)
    assert values_of(read_sources(tmp_path / "two.npz", DEFAULT_DATA)) == {"train": [0], "test": [1]}


def test_an_array_file_is_read_with_its_labels(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((4, 3, 2)))
    np.save(tmp_path / "y.npy", [0, 1, 0, 1])
    for path in (tmp_path / "X.npy", tmp_path):
        assert read_sources(path, DEFAULT_DATA)["all"].shape == (4, 3, 2)


def test_a_folder_of_pictures_is_read(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (3, 2), 7).save(tmp_path / name / "1.png")
    assert read_sources(tmp_path, DEFAULT_DATA)["all"].info.picture.width == 3


def test_arrays_of_a_program_are_read():
    samples = read(Arrays(np.zeros((4, 3, 2)), [0, 1, 0, 1], name="mine"), DEFAULT_DATA)
    assert (samples.name, samples.path, samples.picture) == ("mine", None, None)


def test_a_missing_source_names_the_formats_that_could_be_there(tmp_path):
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/none: no such file or folder; expected a \.ts, .* files$"
    ):
        read_sources(tmp_path / "none", DEFAULT_DATA)


def test_a_file_of_another_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"one\.xls: expected a \.ts, .*, found a file with another suffix$"):
        read_sources(csv(tmp_path / "one.xls", "x"), DEFAULT_DATA)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "one.csv")
    with pytest.raises(
        DataError, match=r"one\.csv: expected .*, found something that is not a regular file$"
    ):
        read_sources(tmp_path / "one.csv", DEFAULT_DATA)


def test_an_empty_folder_names_the_formats_that_could_be_there(tmp_path):
    message = (
        r"found a folder without train-images-idx3-ubyte, sub-folders of "
        r"pictures or WAV files, train and test files, or X"
    )
    with pytest.raises(DataError, match=message):
        read_sources(tmp_path, DEFAULT_DATA)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b"])
def test_a_name_that_no_system_allows_is_nothing(name):
    assert not exists(Path(name))
    assert not has_source(Path(name))
    with pytest.raises(DataError, match="no such file or folder"):
        read_sources(Path(name), DEFAULT_DATA)


def test_a_link_that_leads_to_itself_is_nothing(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop: no such file or folder"):
        read_sources(tmp_path / "loop", DEFAULT_DATA)


def test_a_folder_that_may_not_be_entered_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder / "train-images-idx3-ubyte"))

    monkeypatch.setattr(sources, "is_idx_folder", refuse)
    with pytest.raises(DataError, match=rf"^{tmp_path}: cannot be read \(Permission denied\)$"):
        read_sources(tmp_path, DEFAULT_DATA)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter any folder")
def test_a_folder_closed_to_the_user_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\)"):
            read_sources(closed, DEFAULT_DATA)
    finally:
        closed.chmod(0o700)


# --- files that belong together


@pytest.mark.parametrize("joint", ["-", "_"])
@pytest.mark.parametrize(("train", "test"), [("TRAIN", "TEST"), ("train", "test"), ("Training", "Testing")])
def test_a_name_stands_for_its_train_and_test_files(tmp_path, joint, train, test):
    ts(tmp_path / f"Vowels{joint}{train}.ts", ONES)
    ts(tmp_path / f"Vowels{joint}{test}.ts", TWOS)
    assert has_source(tmp_path / "Vowels")
    assert values_of(read_sources(tmp_path / "Vowels", DEFAULT_DATA)) == {"train": [1], "test": [2]}
    samples = read_dataset(tmp_path / "Vowels", DEFAULT_DATA)
    assert (samples.name, samples.path) == ("Vowels", tmp_path / "Vowels")
    assert partition(samples, DEFAULT_SPLIT).title == "the files Vowels"


def test_the_case_of_a_name_does_not_matter(tmp_path):
    ts(tmp_path / "Vowels_TRAIN.ts", ONES)
    ts(tmp_path / "vowels_test.TS", TWOS)
    assert values_of(read_sources(tmp_path / "VOWELS", DEFAULT_DATA)) == {"train": [1], "test": [2]}


@pytest.mark.parametrize("end", [".csv", ".tsv", ".csv.gz", ".parquet", ".npz"])
def test_other_formats_are_parts_by_their_names_too(tmp_path, end):
    for name, number in (("train", 1), ("test", 2)):
        path, frame = (
            tmp_path / f"m_{name}{end}",
            pd.DataFrame({"label": ["x", "y"], "a": number, "b": number}),
        )
        if end == ".npz":
            np.savez(path, X=np.full((2, 2, 1), number), y=[0, 1])
        elif end == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="\t" if "tsv" in end else ",")
    assert values_of(read_sources(tmp_path / "m", DEFAULT_DATA)) == {"train": [1], "test": [2]}


@pytest.mark.parametrize("names", [("train", "test", "val"), ("a_train", "a_test", "a_validation")])
def test_a_folder_of_train_and_test_files_is_their_name(tmp_path, names):
    folder = tmp_path / "mine"
    for name, number in zip(names, (1, 2, 3), strict=True):
        csv(folder / f"{name}.csv", f"label,a\nx,{number}\ny,{number}\n")
    csv(folder / "README.md", "x")
    found = read_sources(folder, DEFAULT_DATA)
    assert values_of(found) == {"train": [1], "validation": [3], "test": [2]}
    assert read_dataset(folder, DEFAULT_DATA).name == "mine"


def test_a_folder_of_the_archive_is_its_name(tmp_path):
    folder = tmp_path / "Vowels"
    ts(folder / "Vowels_TRAIN.ts", ONES)
    ts(folder / "Vowels_TEST.ts", TWOS)
    ts(folder / "VowelsTwo_TRAIN.ts", [[9], [9]])
    assert values_of(read_sources(folder, DEFAULT_DATA)) == {"train": [1], "test": [2]}


def test_the_folder_one_stands_in_has_a_name_too(tmp_path, monkeypatch):
    ts(tmp_path / "Vowels" / "Vowels_TRAIN.ts", ONES)
    ts(tmp_path / "Vowels" / "Other_TRAIN.ts", TWOS)
    monkeypatch.chdir(tmp_path / "Vowels")
    assert values_of(read_sources(Path(), DEFAULT_DATA)) == {"train": [1]}


def test_array_files_are_parts_with_their_own_labels(tmp_path):
    for part, number in (("train", 1), ("test", 2)):
        np.save(tmp_path / f"X_{part}.npy", np.full((4, 3, 2), number))
        np.save(tmp_path / f"y_{part}.npy", [0, 1, 0, 1])
    assert values_of(read_sources(tmp_path, DEFAULT_DATA)) == {"train": [1], "test": [2]}


def test_a_training_file_alone_has_a_test_part_drawn(tmp_path):
    ts(tmp_path / "Vowels_TRAIN.ts", ONES)
    data = partition(read_dataset(tmp_path / "Vowels", DEFAULT_DATA), DEFAULT_SPLIT)
    assert [len(part) for part in data.splits.values()] == [6, 2, 2]


def test_a_test_file_alone_is_nothing_to_train_on(tmp_path):
    ts(tmp_path / "Vowels_TEST.ts", ONES)
    assert not has_source(tmp_path / "Vowels")
    with pytest.raises(DataError, match="Vowels: no such file or folder"):
        read_sources(tmp_path / "Vowels", DEFAULT_DATA)


def test_two_formats_of_one_name_are_ambiguous(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    csv(tmp_path / "m_TRAIN.csv", WIDE)
    csv(tmp_path / "m_TEST.csv", WIDE)
    message = rf"^{tmp_path}/m: expected one data set; .* one of m_TEST\.csv, m_TRAIN\.csv, m_TRAIN\.ts$"
    with pytest.raises(UsageError, match=message):
        read_sources(tmp_path / "m", DEFAULT_DATA)


def test_splits_in_two_formats_are_ambiguous(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    csv(tmp_path / "m_TEST.csv", WIDE)
    with pytest.raises(
        UsageError,
        match=r"expected one data set; give the path of one of m_TEST\.csv, m_TRAIN\.ts$",
    ):
        read_sources(tmp_path / "m", DEFAULT_DATA)


def test_two_training_files_are_ambiguous(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    ts(tmp_path / "m-train.ts", ONES)
    with pytest.raises(
        UsageError,
        match=r"expected one data set; give the path of one of m-train\.ts, m_TRAIN\.ts",
    ):
        read_sources(tmp_path / "m", DEFAULT_DATA)


def test_a_folder_of_many_names_asks_for_one_and_lists_no_more_than_twelve(tmp_path):
    for index in range(20):
        ts(tmp_path / f"m{index:02}_TRAIN.ts", ONES)
    with pytest.raises(UsageError, match=r"path of one of m00_TRAIN\.ts, .*, m11_TRAIN\.ts and 8 more$"):
        read_sources(tmp_path, DEFAULT_DATA)


def test_a_path_that_is_there_wins_over_files_that_begin_like_it(tmp_path):
    ts(tmp_path / "m.ts", [[7], [7]])
    ts(tmp_path / "m.ts_TRAIN.ts", ONES)
    assert values_of(read_sources(tmp_path / "m.ts", DEFAULT_DATA)) == {"all": [7]}


@pytest.mark.parametrize("name", ["m.x", "m(1)", "m+", "[m]"])
def test_a_name_is_no_pattern(tmp_path, name):
    ts(tmp_path / f"{name}_TRAIN.ts", ONES)
    ts(tmp_path / "max_TRAIN.ts", TWOS)
    assert values_of(read_sources(tmp_path / name, DEFAULT_DATA)) == {"train": [1]}


def test_what_was_guessed_of_the_training_file_holds_for_the_test_file(tmp_path):
    """Two steps a sequence make the training file long; each sequence of the other has one."""
    csv(tmp_path / "train.csv", "id,label,a\n1,x,1\n1,x,1\n2,y,1\n2,y,1\n")
    csv(tmp_path / "test.csv", "id,label,a\n1,x,2\n2,y,2\n")
    found = read_sources(tmp_path, DEFAULT_DATA)
    assert found["test"].info.settings.shape == found["train"].info.settings.shape == "long"


def test_a_training_file_may_say_that_it_trains_but_not_that_it_tests(tmp_path):
    csv(tmp_path / "train.csv", "label,split,a\nx,train,1\ny,train,1\n")
    csv(tmp_path / "test.csv", "label,split,a\nx,test,2\ny,test,2\n")
    assert values_of(read_sources(tmp_path, DEFAULT_DATA)) == {"train": [1], "test": [2]}
    csv(tmp_path / "train.csv", "label,split,a\nx,train,1\ny,test,1\n")
    with pytest.raises(
        DataError, match=r"train\.csv: expected the train split of .*, found a file with splits"
    ):
        read_sources(tmp_path, DEFAULT_DATA)


# --- what is judged


def test_the_test_split_is_evaluated_or_everything_where_there_are_no_splits(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    ts(tmp_path / "m_TEST.ts", TWOS)
    assert set(
        read_dataset(tmp_path / "m", DEFAULT_DATA).evaluation_source("error").concatenated.ravel()
    ) == {2}
    alone = ts(tmp_path / "a.ts", ONES)
    assert len(read_dataset(alone, DEFAULT_DATA).evaluation_source("error")) == 10
    named = read("digits", DEFAULT_DATA)
    assert len(named.evaluation_source("error")) == 360
    assert named.picture is not None


def test_a_folder_of_one_class_is_evaluated(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("L", (3, 2), 7).save(tmp_path / "cat" / "1.png")
    assert read_dataset(tmp_path, DEFAULT_DATA, TO_EVALUATE).evaluation_source("error").classes == ("cat",)
    with pytest.raises(DataError, match="expected at least two sub-folders with pictures"):
        read_dataset(tmp_path, DEFAULT_DATA)
