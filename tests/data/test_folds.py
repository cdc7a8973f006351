"""Folds, training on validation sequences, and leaving the test split out."""

from __future__ import annotations

import numpy as np
import pytest

from scanline import recipe as recipes
from scanline.data.dataset import ALL, Dataset
from scanline.data.folds import folds, joined
from scanline.data.memory import MemorySource
from scanline.data.partition import partition
from scanline.data.reading import read_dataset
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT


def source(n: int, classes: int = 2, groups: np.ndarray | None = None) -> MemorySource:
    """Sequences of one step, whose value is their number."""
    values = np.arange(n, dtype=np.float32)[:, None, None]
    names = tuple("abcdefgh"[:classes])
    made = MemorySource.from_array(values, np.arange(n) % classes, names, "made up")
    return made if groups is None else made.__class__(**vars(made) | {"groups": groups})


def numbers(each: MemorySource) -> list[int]:
    return each.concatenated[:, 0].astype(int).tolist()


def settings(**changes):
    return DEFAULT_SPLIT.model_copy(update=changes)


def test_each_sequence_is_held_out_once_and_classes_are_in_proportion():
    data = source(30, classes=3)
    made = folds(data, 5, seed=0)
    assert sorted(np.concatenate([held for _, held in made]).tolist()) == list(range(30))
    for kept, held in made:
        assert sorted([*kept, *held]) == list(range(30))
        assert np.bincount(data.targets[held]).tolist() == [2, 2, 2]
        assert (np.diff(kept) > 0).all()


def test_folds_depend_on_the_seed_alone():
    data = source(30)
    one, two, other = (folds(data, 3, seed)[0][1].tolist() for seed in (0, 0, 1))
    assert one == two != other
    assert folds(data, 3, 2**40 + 1)[0][1].tolist() == folds(data, 3, (2**40 + 1) % 2**32)[0][1].tolist()


def test_a_group_is_never_divided():
    groups = np.repeat(np.arange(10), 3)
    for kept, held in folds(source(30, groups=groups), 4, seed=0):
        assert not set(groups[kept]) & set(groups[held])


@pytest.mark.parametrize(
    ("n", "groups", "count", "message"),
    [
        (6, None, 4, "expected at least 4 sequences of a class for split.folds = 4, found 3"),
        (12, [0, 0, 0, 1, 1, 1] * 2, 3, "expected at least 3 groups for split.folds = 3, found 2"),
    ],
)
def test_too_few_for_the_folds_are_refused(n, groups, count, message):
    with pytest.raises(DataError, match=message):
        folds(source(n, groups=None if groups is None else np.array(groups)), count, 0)


def test_the_test_split_is_drawn_and_left_out_unless_it_is_used():
    data = Dataset("made up", {ALL: source(40)})
    whole, unread = (partition(data, settings(use_test=used)) for used in (True, False))
    assert list(whole.splits) == ["train", "validation", "test"]
    assert list(unread.splits) == ["train", "validation"]
    for name in ("train", "validation"):
        assert numbers(whole.splits[name]) == numbers(unread.splits[name])
    assert set(unread.provenance) == {"train", "validation"}


def test_the_folds_divide_what_is_not_tested():
    data = Dataset("made up", {ALL: source(40)})
    tested = set(numbers(partition(data, settings()).test))
    held = [partition(data, settings(folds=4, fold=fold, use_test=False)) for fold in range(4)]
    rest = [numbers(each.validation) for each in held]
    assert sorted(number for each in rest for number in each) == sorted(set(range(40)) - tested)
    for each in held:
        assert sorted(numbers(each.train) + numbers(each.validation)) == sorted(set(range(40)) - tested)
        assert each.provenance["validation"].indices.tolist() == numbers(each.validation)
        assert "drawn with seed 0" in each.provenance["validation"].text
    assert held[2].provenance["validation"].text.startswith("fold 2 of 4 of ")


def test_validation_sequences_of_the_data_are_trained_on_if_they_are_not_used():
    parts = {"train": source(8), "validation": source(4), "test": source(6)}
    joined_up = partition(Dataset("made up", parts), settings(use_validation=False))
    assert list(joined_up.splits) == ["train", "test"]
    assert numbers(joined_up.train) == [*range(8), *range(4)]
    drawn = partition(Dataset("made up", {ALL: source(40)}), settings(use_validation=False))
    assert len(drawn.train) + len(drawn.test) == 40


def test_joined_sources_keep_ids_groups_and_places():
    one, two = source(3, groups=np.array(["x", "y", "x"])), source(2, groups=np.array(["z", "z"]))
    both = joined(one, two)
    assert both.groups.tolist() == ["x", "y", "x", "z", "z"]
    assert both.targets.tolist() == [0, 1, 0, 0, 1]
    assert both.info.locate(1) == one.info.locate(1)
    assert both.info.locate(4) == two.info.locate(1)
    assert joined(one, source(2)).groups is None


def test_the_splits_of_a_packed_data_set_are_fixed():
    class Packed:
        """Any source that is not in memory."""

        info = source(2).info
        lengths = np.ones(4, np.int64)
        name = "packed"
        classes = ("a", "b")

    parts = {"train": Packed(), "validation": Packed()}
    from scanline.data.folds import arrange

    data = Dataset("packed", parts, fixed=True, uri="s3://bucket/packed")
    assert list(arrange(data, settings()).splits) == ["train", "validation"]
    for changes, key in (({"folds": 2}, "folds"), ({"use_validation": False}, "use_validation")):
        with pytest.raises(UsageError, match=f"split.{key} must not be set for s3://bucket/packed"):
            arrange(data, settings(**changes))


def test_a_fold_beyond_the_folds_is_refused():
    with pytest.raises(UsageError, match="fold"):
        recipes.load("sequences", {"split.folds": 3, "split.fold": 3})


# --- reading without the test split


def write(path, rows):
    lines = "".join(f"{label},{','.join(map(str, values))}\n" for label, values in rows)
    path.write_text("label,t1,t2,t3\n" + lines)


ROWS = [("a", (1, 2, 3)), ("b", (3, 2, 1)), ("a", (2, 3, 4)), ("b", (4, 3, 2))]
HOW = DEFAULT_DATA.model_copy(update={"shape": "wide", "label_column": "label"})


def test_a_skipped_file_is_not_opened_and_named_as_unread(tmp_path):
    write(tmp_path / "waves_TRAIN.csv", ROWS)
    (tmp_path / "waves_TEST.csv").write_bytes(b"\xff\xff damaged")
    for path in (tmp_path / "waves", tmp_path):
        data = read_dataset(path, HOW, skip=("test",))
        assert list(data.splits) == ["train"]
        assert data.unread == {"test"}
        # No other test split is drawn in its place.
        assert list(partition(data, settings(validation=0.5)).splits) == ["train", "validation"]
        assert len(partition(data, settings(validation=0)).train) == 4
    with pytest.raises(DataError, match="waves_TEST"):
        read_dataset(tmp_path / "waves", HOW)


def test_a_split_column_and_a_named_file_are_skipped(tmp_path):
    lines = ["label,part,t1,t2"] + [
        f"{'ab'[i % 2]},{part},{i},{-i}" for i, part in enumerate(["train"] * 4 + ["test"] * 2)
    ]
    (tmp_path / "waves.csv").write_text("\n".join(lines) + "\n")
    how = HOW.model_copy(update={"split_column": "part"})
    data = read_dataset(tmp_path / "waves.csv", how, skip=("test",))
    assert (list(data.splits), data.unread) == (["train"], {"test"})
    write(tmp_path / "plain.csv", ROWS)
    named = HOW.model_copy(update={"test": str(tmp_path / "missing.csv")})
    data = read_dataset(tmp_path / "plain.csv", named, skip=("test",))
    assert (list(data.splits), data.unread) == ([ALL], {"test"})
    with pytest.raises(DataError, match=r"missing\.csv"):
        read_dataset(tmp_path / "plain.csv", named)
