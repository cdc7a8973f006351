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
from scanline.data.reading import TO_EVALUATE, TO_PREDICT, exists, has_source, read_dataset, read_sources
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


def test_nothing_is_a_data_error_that_says_what_could_be_there(tmp_path):
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


def test_a_folder_with_nothing_in_it_says_what_could_be_there(tmp_path):
    message = (
        r"found a folder without train-images-idx3-ubyte, sub-folders of pictures, train and test files, or X"
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


def test_two_formats_of_one_name_have_to_be_told_apart(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    csv(tmp_path / "m_TRAIN.csv", WIDE)
    csv(tmp_path / "m_TEST.csv", WIDE)
    message = rf"^{tmp_path}/m: expected one data set; .* one of m_TEST\.csv, m_TRAIN\.csv, m_TRAIN\.ts$"
    with pytest.raises(UsageError, match=message):
        read_sources(tmp_path / "m", DEFAULT_DATA)


def test_parts_in_two_formats_have_to_be_told_apart(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    csv(tmp_path / "m_TEST.csv", WIDE)
    with pytest.raises(
        UsageError,
        match=r"expected one data set; give the path of one of m_TEST\.csv, m_TRAIN\.ts$",
    ):
        read_sources(tmp_path / "m", DEFAULT_DATA)


def test_two_training_files_have_to_be_told_apart(tmp_path):
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


# --- a column that says the part


SPLIT = "label,split,a\n" + "x,train,1\ny,train,1\n" * 3 + "x,test,2\ny,Validation,3\nx,val,3\n"


def test_a_column_may_say_which_part_a_sequence_is_in(tmp_path):
    data = partition(read_dataset(csv(tmp_path / "m.csv", SPLIT), DEFAULT_DATA), DEFAULT_SPLIT)
    assert {name: part.concatenated.ravel().tolist() for name, part in data.splits.items()} == {
        "train": [1] * 6,
        "validation": [3, 3],
        "test": [2],
    }
    assert data.test.classes == data.train.classes == ("x", "y")


def test_a_part_that_the_column_lacks_is_drawn_from_what_trains(tmp_path):
    text = "label,split,a\n" + "x,train,1\ny,train,1\n" * 10 + "x,test,2\n"
    data = partition(read_dataset(csv(tmp_path / "m.csv", text), DEFAULT_DATA), DEFAULT_SPLIT)
    assert [len(part) for part in data.splits.values()] == [18, 2, 1]


def test_a_class_that_only_tests_is_refused_with_its_line(tmp_path):
    path = csv(tmp_path / "m.csv", SPLIT + "z,test,2\n")
    message = r"m\.csv: line 11: expected a class of the training split, one of x, y, found z$"
    with pytest.raises(DataError, match=message):
        partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)


def test_a_column_without_train_cannot_train_but_can_be_judged(tmp_path):
    path = csv(tmp_path / "m.csv", "label,split,a\nx,test,1\ny,validation,2\n")
    message = rf"^{path}: column split: expected some training sequences, found none$"
    with pytest.raises(DataError, match=message):
        read_dataset(path, DEFAULT_DATA)
    assert read_dataset(path, DEFAULT_DATA, TO_EVALUATE).evaluation_source(
        "error"
    ).concatenated.ravel().tolist() == [1]
    assert values_of(read_sources(path, DEFAULT_DATA, TO_PREDICT)) == {"validation": [2], "test": [1]}


def test_an_archive_without_a_training_part_cannot_train_but_can_be_judged(tmp_path):
    np.savez(tmp_path / "m.npz", X_test=np.ones((2, 3, 1)), y_test=[0, 1])
    with pytest.raises(DataError, match=r"m\.npz: expected a training split, found only test$"):
        read_dataset(tmp_path / "m.npz", DEFAULT_DATA)
    assert len(read_dataset(tmp_path / "m.npz", DEFAULT_DATA, TO_EVALUATE).evaluation_source("error")) == 2


# --- parts by other paths


def test_the_test_and_validation_parts_may_lie_elsewhere(tmp_path):
    train, test = ts(tmp_path / "a.ts", ONES), ts(tmp_path / "b.ts", TWOS)
    validation = ts(tmp_path / "c.ts", [[3, 3]] * 2)
    settings = said(test=str(test), validation=str(validation))
    data = partition(read_dataset(train, settings), DEFAULT_SPLIT)
    assert {name: set(part.concatenated.ravel()) for name, part in data.splits.items()} == {
        "train": {1},
        "validation": {3},
        "test": {2},
    }
    assert data.settings == settings
    assert data.describe_splits()["test"] == {"n": 4, "from": str(test), "classes": {"a": 2, "b": 2}}


def test_the_test_part_of_another_source_is_its_test_part(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    ts(tmp_path / "m_TEST.ts", TWOS)
    other = ts(tmp_path / "a.ts", [[5, 5]] * 10)
    data = partition(read_dataset(other, said(test=str(tmp_path / "m"))), DEFAULT_SPLIT)
    assert set(data.test.concatenated.ravel()) == {2}


def test_a_source_that_has_other_parts_alone_is_refused(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    ts(tmp_path / "m_TEST.ts", TWOS)
    other = ts(tmp_path / "a.ts", [[5, 5]] * 10)
    message = (
        "^data.validation must be the path of a validation split, or of sequences without splits, "
        f"got {tmp_path}/m, which has train and test$"
    )
    with pytest.raises(UsageError, match=message):
        read_dataset(other, said(validation=str(tmp_path / "m")))


def test_a_second_test_part_is_refused(tmp_path):
    ts(tmp_path / "m_TRAIN.ts", ONES)
    ts(tmp_path / "m_TEST.ts", TWOS)
    message = f"^data.test must be empty for {tmp_path}/m, which has a test split, got x.ts$"
    with pytest.raises(UsageError, match=message):
        read_dataset(tmp_path / "m", said(test="x.ts"))


def test_a_test_path_to_nothing_is_named(tmp_path):
    train = ts(tmp_path / "a.ts", ONES)
    with pytest.raises(DataError, match=f"^{tmp_path}/b.ts: no such file or folder"):
        read_dataset(train, said(test=str(tmp_path / "b.ts")))


def test_a_table_that_tests_need_not_have_groups(tmp_path):
    train = csv(tmp_path / "a.csv", "label,person,a\n" + "x,p,1\ny,p,1\nx,q,1\ny,q,1\n" * 3)
    test = csv(tmp_path / "b.csv", "label,a\nx,2\n")
    data = partition(read_dataset(train, said(test=str(test), group_column="person")), DEFAULT_SPLIT)
    assert data.test.groups is None
    assert set(data.validation.groups) | set(data.train.groups) == {"p", "q"}


# --- parts that do not fit


def test_a_test_part_of_another_width_is_refused_with_both_shapes(tmp_path):
    train = csv(tmp_path / "a.csv", "id,label,a\n1,x,1\n1,x,1\n2,y,1\n")
    np.savez(tmp_path / "b.npz", X=np.ones((1, 5, 2)), y=["x"])
    message = (
        rf"^{tmp_path}/b\.npz, X: expected steps as in {train}, of shape \(2, 1 to 2, 1\), found \(1, 5, 2\)$"
    )
    with pytest.raises(DataError, match=message):
        partition(read_dataset(train, said(test=str(tmp_path / "b.npz"))), DEFAULT_SPLIT)


def test_sequences_of_another_length_are_a_test_part_too(tmp_path):
    train, test = ts(tmp_path / "a.ts", ONES), ts(tmp_path / "b.ts", [[1], [1, 2, 3]])
    data = partition(read_dataset(train, said(test=str(test))), DEFAULT_SPLIT)
    assert data.test.lengths.tolist() == [1, 3]


def test_pictures_and_other_sequences_do_not_mix(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((20, 3, 2), np.uint8), y=[0, 1] * 10)
    np.savez(tmp_path / "b.npz", X=np.zeros((4, 5, 2), np.uint8), y=[0, 1] * 2)
    settings = said(test=str(tmp_path / "b.npz"))
    with pytest.raises(DataError, match="expected 6 values a sequence, pictures of 3 x 2, found 10"):
        read_dataset(tmp_path / "a.npz", settings)


def test_a_class_that_does_not_train_is_refused_with_its_line(tmp_path):
    train = ts(tmp_path / "a.ts", ONES)
    test = ts(tmp_path / "b.ts", [[1], [2], [3]], ["a", "c", "c"], "a b c")
    message = (
        rf"^{test}: line 5: expected a class of the training split, one of a, b, found c "
        r"\(2 of 3 are unknown\)$"
    )
    with pytest.raises(DataError, match=message):
        partition(read_dataset(train, said(test=str(test))), DEFAULT_SPLIT)


def test_classes_are_matched_by_their_names_not_their_places(tmp_path):
    train = ts(tmp_path / "a.ts", ONES, classes="a b")
    test = ts(tmp_path / "b.ts", [[1], [2]], ["a", "b"], "b a")
    data = partition(read_dataset(train, said(test=str(test))), DEFAULT_SPLIT)
    assert data.test.classes == ("a", "b")
    assert data.test.targets.tolist() == [0, 1]


def test_a_missing_value_is_refused_unless_something_stands_in_for_it(tmp_path):
    samples = read_dataset(ts(tmp_path / "a.ts", [[1, "?"], *ONES]), DEFAULT_DATA)
    message = (
        r"a\.ts: line 4, step 1, feature 0: expected a finite number, found a missing value; use --missing"
    )
    with pytest.raises(DataError, match=message):
        partition(samples, DEFAULT_SPLIT)
    with pytest.raises(DataError, match=message):
        samples.evaluation_source("error")
    assert np.isnan(partition(samples, split(validation=0.0, test=0.0), "zero").train.concatenated).any()
    assert np.isnan(samples.evaluation_source("mean").concatenated).any()


def test_a_missing_value_of_the_test_part_is_refused_too(tmp_path):
    train, test = ts(tmp_path / "a.ts", ONES), ts(tmp_path / "b.ts", [[1], ["?"]])
    samples = read_dataset(train, said(test=str(test)))
    with pytest.raises(DataError, match=r"b\.ts: line 5, step 0, feature 0: expected a finite number"):
        partition(samples, DEFAULT_SPLIT)


# --- parts that are drawn


def test_both_parts_are_drawn_from_one_pile(tmp_path):
    path = ts(tmp_path / "a.ts", [[index, index] for index in range(100)])
    data = partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)
    parts = {name: set(part.concatenated.ravel().astype(int)) for name, part in data.splits.items()}
    assert {name: len(part) for name, part in parts.items()} == {"train": 72, "validation": 8, "test": 20}
    assert set.union(*parts.values()) == set(range(100))
    told = data.describe_splits()
    assert {name: set(part["sequences"]) for name, part in told.items()} == parts
    assert told["test"]["from"] == f"0.2 of {path}, drawn by class with seed 0"
    assert told["validation"]["from"] == f"0.1 of the rest of {path}, drawn by class with seed 0"
    assert told["train"]["from"] == f"the rest of {path}"


def test_the_split_depends_on_its_seed_alone(tmp_path):
    samples = read_dataset(ts(tmp_path / "a.ts", [[index] for index in range(40)]), DEFAULT_DATA)
    digests = [partition(samples, split(seed=seed)).test.fingerprint() for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("shares", "parts"),
    [
        ({"test": 0.0}, ["train", "validation"]),
        ({"validation": 0.0}, ["train", "test"]),
        ({"test": 0.0, "validation": 0.0}, ["train"]),
    ],
)
def test_a_share_of_0_draws_no_part(tmp_path, shares, parts):
    data = partition(read_dataset(ts(tmp_path / "a.ts", ONES), DEFAULT_DATA), split(**shares))
    assert list(data.splits) == parts
    assert sum(map(len, data.splits.values())) == 10
    if parts == ["train"]:
        assert data.describe_splits()["train"] == {
            "n": 10,
            "from": str(tmp_path / "a.ts"),
            "classes": {"a": 5, "b": 5},
        }


def test_a_class_that_the_test_part_leaves_one_of_is_said_to_be_a_rest(tmp_path):
    path = ts(tmp_path / "a.ts", [[1]] * 12, ["a"] * 10 + ["b"] * 2)
    message = rf"^the rest of {path}: class b has a single sequence, at least 2 are needed"
    with pytest.raises(DataError, match=message):
        partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)


def test_too_few_sequences_are_refused(tmp_path):
    path = ts(tmp_path / "a.ts", [[1]] * 2)
    with pytest.raises(DataError, match=rf"^{path}: class a has a single sequence"):
        partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)


PEOPLE = "label,person,a\n" + "".join(
    f"{label},{person},{number}\n" for number, person in enumerate("pqrstuvwxy") for label in ("no", "yes")
)


def test_one_persons_sequences_stay_in_one_part(tmp_path):
    path = csv(tmp_path / "m.csv", PEOPLE)
    data = partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)
    groups = {name: set(part.groups) for name, part in data.splits.items()}
    assert {name: len(group) for name, group in groups.items()} == {"train": 7, "validation": 1, "test": 2}
    assert set.union(*groups.values()) == set("pqrstuvwxy")
    told = data.describe_splits()
    assert told["test"]["groups"] == sorted(groups["test"])
    assert told["test"]["from"] == f"0.2 of {path}, drawn by person with seed 0"


@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_group_on_both_sides_of_a_given_split_is_refused(tmp_path, part):
    path = csv(
        tmp_path / "m.csv",
        f"label,split,group,a\nx,train,p,1\ny,train,q,1\nx,train,r,1\nx,{part},q,2\ny,{part},p,2\n",
    )
    message = (
        rf"^{path}: group p is in the training split and in the {part} split \(2 groups are\); "
        "split by group, or remove the group column$"
    )
    with pytest.raises(DataError, match=message):
        partition(read_dataset(path, DEFAULT_DATA), split(test=0.0, validation=0.0))


def test_a_group_in_given_test_and_validation_parts_is_refused_too(tmp_path):
    path = csv(
        tmp_path / "m.csv", "label,split,group,a\nx,train,p,1\ny,train,q,1\nx,test,r,1\nx,validation,r,2\n"
    )
    with pytest.raises(DataError, match="group r is in the test split and in the validation split; split by"):
        partition(read_dataset(path, DEFAULT_DATA), DEFAULT_SPLIT)


# --- what is judged


def test_the_test_part_is_judged_or_all_where_there_are_no_parts(tmp_path):
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


def test_a_folder_of_one_class_is_judged(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("L", (3, 2), 7).save(tmp_path / "cat" / "1.png")
    assert read_dataset(tmp_path, DEFAULT_DATA, TO_EVALUATE).evaluation_source("error").classes == ("cat",)
    with pytest.raises(DataError, match="expected at least two sub-folders with pictures"):
        read_dataset(tmp_path, DEFAULT_DATA)
