"""Data frames and tables of a program: read as tables in files are, with the same messages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import scanline
from scanline.data.data_frames import frame_arrays, is_frame, read_long, to_frame
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

ROLES = {"label_column": "kind", "id_column": "seq", "time_column": "t"}
SETTINGS = DEFAULT_DATA.model_copy(update=ROLES)
SMALL = {"train.steps": 40, "model.hidden_size": 6}


@pytest.fixture
def long():
    """Return 24 sequences of 4 to 6 steps with the features x and y, whose rows are not in order."""
    rng = np.random.default_rng(0)
    rows = [
        (f"s{number}", step, rng.normal() + 4 * (number % 2), rng.normal(), "ab"[number % 2])
        for number in range(24)
        for step in range(4 + number % 3)
    ]
    frame = pd.DataFrame(rows, columns=["seq", "t", "x", "y", "kind"])
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def same(one, other) -> None:
    np.testing.assert_array_equal(one.concatenated, other.concatenated)
    assert one.lengths.tolist() == other.lengths.tolist()
    assert one.ids.tolist() == other.ids.tolist()
    assert one.classes == other.classes
    assert one.targets.tolist() == other.targets.tolist()


def test_a_frame_is_read_as_the_same_table_in_a_file(long, tmp_path):
    long.to_parquet(tmp_path / "long.parquet")
    from_file = read_sources(tmp_path / "long.parquet", SETTINGS)["all"]
    found = to_frame(long).read(SETTINGS)
    same(found, from_file)
    assert found.name == "the data frame"
    assert found.info.feature_names == ("x", "y")
    assert found.info.locate(0) == from_file.info.locate(0)
    assert not any("/" in note for note in found.info.notes)
    same(to_frame(pa.Table.from_pandas(long)).read(SETTINGS), from_file)


def test_the_levels_of_an_index_are_the_sequence_and_the_time(long):
    expected = to_frame(long).read(SETTINGS)
    plain = DEFAULT_DATA.model_copy(update={"label_column": "kind"})
    same(to_frame(long.set_index(["seq", "t"])).read(plain), expected)
    unnamed = long.set_index(["seq", "t"]).rename_axis(index=[None, None])
    found = to_frame(unnamed)
    assert found.levels == ("sequence", "step")
    same(found.read(plain), expected)


def test_a_wide_frame_has_a_sequence_in_each_row():
    wide = pd.DataFrame({"t0": [1.0, 2.0, 3.0], "t1": [4.0, 5.0, 6.0], "label": ["u", "v", "u"]})
    found = to_frame(wide).read(DEFAULT_DATA)
    assert found.values[:, :, 0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found.classes == ("u", "v")


def test_the_dtypes_of_labels_are_kept(long):
    found = to_frame(long.assign(kind=(long.kind == "b").astype(int))).read(SETTINGS)
    assert found.classes == (0, 1)


def test_frames_of_splits_are_read_with_the_settings_of_the_first(long):
    early = long.seq.isin([f"s{number}" for number in range(12)])
    splits = frame_arrays({"train": long[early], "test": long[~early]}).read(SETTINGS)
    assert [len(source) for source in splits.values()] == [12, 12]
    with pytest.raises(UsageError, match="expected splits train, validation and test, got mine"):
        frame_arrays({"mine": long})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": lambda f: [None, *f.x[1:]]}, "the data frame: row 1, column x: expected a finite number"),
        ({"x": lambda f: ["q", *f.x[1:]]}, "the data frame: expected columns with values of one kind each"),
        ({"t": 0}, "the data frame: row"),
        (
            {"seq": lambda f: [None, *f.seq[1:]]},
            "the data frame: row 1, column seq: expected the name",
        ),
    ],
)
def test_faults_are_named_in_one_line(long, change, message, tmp_path):
    with pytest.raises(DataError) as caught:
        scanline.train(long.assign(**change), **ROLES, settings=SMALL, run=tmp_path / "run", log=None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_frames_that_cannot_be_tables_are_refused(long):
    with pytest.raises(UsageError, match="got 3 levels"):
        to_frame(long.set_index(["seq", "t", "y"]))
    with pytest.raises(UsageError, match="expected columns with one name each, got 2 levels"):
        to_frame(pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])))
    assert not is_frame(np.zeros((2, 2)))
    assert not is_frame(pd.DataFrame)


def test_a_model_is_trained_evaluated_and_asked_with_frames(long, tmp_path):
    run = scanline.train(long, **ROLES, settings=SMALL, run=tmp_path / "run", log=None)
    model, unlabelled = run.model, long.drop(columns="kind")
    assert model.preprocessing.settings.id_column == "seq"
    assert model.evaluate(long).to_json()["n"] == 24
    probabilities = model.predict_proba(unlabelled)
    assert len(model.predict(unlabelled)) == 24
    # The sequences are in the order in which they first appear; each has the same bits alone.
    for row, name in zip(probabilities, dict.fromkeys(long.seq), strict=True):
        one = unlabelled[unlabelled.seq == name]
        np.testing.assert_array_equal(model.predict_proba(one)[0], row)
        values = one.sort_values("t")[["x", "y"]].to_numpy(np.float32)
        np.testing.assert_array_equal(model.predict_proba(values[None])[0], row)
    indexed = unlabelled.set_index(["seq", "t"])
    np.testing.assert_array_equal(model.predict_proba(indexed), probabilities)
    with pytest.raises(UsageError, match="the data frame: unknown column 'y'; expected one of seq, t, x"):
        model.predict(unlabelled.drop(columns="y"))
    assert read_long(unlabelled[["x", "y"]], model.preprocessing.settings, ()) is None


class Dataset:
    """What a flat `datasets.Dataset` offers: columns, a format, and classes stored as their index."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.column_names = table, table.column_names
        self.features = {"kind": type("ClassLabel", (), {"names": ["walk", "run"]})()}

    def with_format(self, name: str) -> Dataset:
        assert name == "arrow"
        return self

    def __getitem__(self, rows: slice) -> pa.Table:
        return self.table[rows]


def test_a_flat_data_set_of_hugging_face_is_read_with_the_names_of_its_classes(long, tmp_path):
    coded = pa.Table.from_pandas(long.assign(kind=(long.kind == "b").astype(int)))
    run = scanline.train(Dataset(coded), **ROLES, settings=SMALL, run=tmp_path / "run", log=None)
    assert list(run.model.class_names) == ["run", "walk"]
