"""Columns of a wide table are matched with those of the training data, or refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scanline
from scanline.api import train
from scanline.data.readers.step_columns import match_steps
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.reading import TO_PREDICT, read_dataset, read_sources
from scanline.errors import DataError
from scanline.evaluation.predict_files import predict_files
from scanline.recipe import DEFAULT_DATA

TABLE = "t0,t1,t2,label\n1,2,3,a\n4,5,7,b\n"
SUFFIXES = [".csv", ".tsv", ".parquet"]


def settings(text: str, folder):
    """The settings of a model that was trained on this table."""
    path = folder / "train.csv"
    path.write_text(text)
    return read_table_sequences(path, DEFAULT_DATA).info.settings


def write(table: pd.DataFrame, path, header: bool = True):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, header=header, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def read(path, known):
    return read_table_sequences(path, known, TO_PREDICT).values[..., 0].tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order", [["t0", "t1", "t2"], ["t2", "t1", "t0"], ["t1", "label", "t2", "t0"]])
def test_columns_are_matched_by_name_in_any_order(order, suffix, tmp_path):
    known = settings(TABLE, tmp_path)
    table = pd.DataFrame({"t0": [1.0], "t1": [2.0], "t2": [3.0], "label": ["a"]})[order]
    assert read(write(table, tmp_path / f"new{suffix}"), known) == [[1, 2, 3]]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["t0", "t2"], "t1 missing"),
        (["t0", "t1", "t2", "t3"], "t3 not in the training data"),
        (["t0", "t1", "T2"], "t2 missing and T2 not in the training data"),
    ],
)
def test_a_column_more_or_less_is_refused_by_name(names, found, suffix, tmp_path):
    known = settings(TABLE, tmp_path)
    path = write(pd.DataFrame({name: [1.0] for name in names}), tmp_path / f"new{suffix}")
    with pytest.raises(DataError, match="in any order, as in training") as caught:
        read(path, known)
    assert caught.value.found == found


@pytest.mark.parametrize("name", ["index", "Unnamed: 0", "row"])
def test_a_column_that_counts_the_rows_is_left_out(name, tmp_path):
    known = settings(TABLE, tmp_path)
    path = tmp_path / "new.csv"
    path.write_text(f"{name},t2,t1,t0\n0,3,2,1\n1,6,5,4\n")
    source = read_table_sequences(path, known, TO_PREDICT)
    assert source.values[..., 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert f"column {name} left out" in source.info.notes[0]


def test_test_and_validation_files_are_matched_too(tmp_path):
    (tmp_path / "train.csv").write_text(TABLE)
    (tmp_path / "test.csv").write_text("label,t2,t1,t0\na,3,2,1\n")
    assert read_sources(tmp_path, DEFAULT_DATA)["test"].values[..., 0].tolist() == [[1, 2, 3]]
    other = DEFAULT_DATA.model_copy(update={"validation": str(tmp_path / "test.csv")})
    dataset = read_dataset(tmp_path / "train.csv", other)
    assert dataset.validation.values[..., 0].tolist() == [[1, 2, 3]]


def test_without_a_header_line_columns_are_matched_by_position(tmp_path):
    known = settings(TABLE, tmp_path)
    path = tmp_path / "new.csv"
    path.write_text("1.5,2,3\n4,5,6\n")
    assert read(path, known) == [[1.5, 2, 3], [4, 5, 6]]
    path.write_text("1.5,2,3,9\n4,5,6,9\n")
    with pytest.raises(DataError, match="expected 3 columns with values, as in training, found 4"):
        read(path, known)


def test_a_file_with_a_header_line_is_matched_by_position_if_training_had_none(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("0,1.5,2\n1,4,5\n")
    label = DEFAULT_DATA.model_copy(update={"label_column": "0"})
    known = read_table_sequences(path, label).info.settings
    assert known.step_columns == ("1", "2")
    new = tmp_path / "new.csv"
    new.write_text("index,a,b\n0,1,2\n1,4,5\n")
    assert read(new, known) == [[1, 2], [4, 5]]
    new.write_text("1.5,2\n4,5\n")  # neither a header nor a label
    assert read(new, known) == [[1.5, 2], [4, 5]]


def test_a_header_of_numbers_in_another_order_is_refused(tmp_path):
    known = settings("0,1,2,label\n5,6,7,a\n8,9,9,b\n", tmp_path)
    path = tmp_path / "new.csv"
    path.write_text("2,1,0\n7,6,5\n")
    with pytest.raises(DataError, match="the names of the steps in another order"):
        read(path, known)


def test_columns_that_the_user_chose_may_have_others_beside_them(tmp_path):
    chosen = DEFAULT_DATA.model_copy(update={"feature_columns": ("t0", "t1")})
    path = tmp_path / "train.csv"
    path.write_text(TABLE)
    known = read_table_sequences(path, chosen).info.settings
    path.write_text("z,t1,t0\n9,2,1\n")
    assert read(path, known) == [[1, 2]]


def test_models_of_earlier_versions_read_by_position_as_before(tmp_path):
    tree = DEFAULT_DATA.model_dump() | {"shape": "wide", "label_column": "label"}
    del tree["step_columns"], tree["pad_value"]
    known = type(DEFAULT_DATA).model_validate(tree)
    path = tmp_path / "new.csv"
    path.write_text("index,t1,t0\n0,2,1\n1,3,4\n")
    assert read(path, known) == [[0, 2, 1], [1, 3, 4]]


def test_names_are_matched_before_lengths_cut_the_rows(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("n,t0,t1,t2,label\n2,1,2,,a\n3,4,5,6,b\n")
    known = read_table_sequences(path, DEFAULT_DATA.model_copy(update={"length_column": "n"})).info.settings
    path.write_text("t2,t1,t0,n\n,2,1,2\n")
    assert read(path, known) == [[1, 2]]


def test_100_000_columns_are_matched_in_no_time():
    wanted = [f"x{index}" for index in range(100_000)]
    assert match_steps(wanted[::-1], wanted, True, "t.csv") == (tuple(wanted), ())


def test_a_saved_model_predicts_the_same_for_columns_in_another_order(tmp_path):
    draw = np.random.default_rng(0)
    up = np.arange(40) % 2
    values = np.where(up[:, None], np.arange(6.0), np.arange(6.0)[::-1]) + draw.normal(size=(40, 6)) * 0.1
    table = pd.DataFrame(values, columns=[f"t{step}" for step in range(6)])
    write(table.assign(label=np.where(up, "up", "down")), tmp_path / "train.csv")
    short = {"train.samples": 0, "train.steps": 40, "model.hidden_size": 8, "train.epochs": 0}
    run = train(tmp_path / "train.csv", settings=short, run=tmp_path / "run", log=None)
    new = write(table, tmp_path / "new.csv"), write(table[table.columns[::-1]], tmp_path / "turned.csv")
    one, other = ([each.prediction for each in predict_files(run.path, [str(path)])] for path in new)
    assert one == other
    assert scanline.load(run.path).preprocessing.settings.step_columns == tuple(table.columns)
