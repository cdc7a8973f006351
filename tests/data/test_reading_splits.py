"""Splits of data that are read: by a column, by other paths, drawn."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.data.partition import partition
from scanline.data.reading import TO_EVALUATE, TO_PREDICT, read_dataset, read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from tests.data.test_reading import ONES, TWOS, csv, said, split, ts, values_of

# --- a column that says the part


SPLIT = "label,split,a\n" + "x,train,1\ny,train,1\n" * 3 + "x,test,2\ny,Validation,3\nx,val,3\n"


def test_a_column_may_name_the_split_of_a_sequence(tmp_path):
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


def test_a_column_without_train_cannot_train_but_can_be_evaluated(tmp_path):
    path = csv(tmp_path / "m.csv", "label,split,a\nx,test,1\ny,validation,2\n")
    message = rf"^{path}: column split: expected some training sequences, found none$"
    with pytest.raises(DataError, match=message):
        read_dataset(path, DEFAULT_DATA)
    assert read_dataset(path, DEFAULT_DATA, TO_EVALUATE).evaluation_source(
        "error"
    ).concatenated.ravel().tolist() == [1]
    assert values_of(read_sources(path, DEFAULT_DATA, TO_PREDICT)) == {"validation": [2], "test": [1]}


def test_an_archive_without_a_training_split_cannot_train_but_can_be_evaluated(tmp_path):
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
    message = r"a\.ts: line 4, step 1, feature 0: expected a finite number, found a missing value; "
    with pytest.raises(DataError, match=message + "use --missing"):
        partition(samples, DEFAULT_SPLIT)
    with pytest.raises(DataError, match=message + "the model was trained with input.missing=error"):
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
