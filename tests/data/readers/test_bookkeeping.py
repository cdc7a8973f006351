"""Columns that count rows or hold lengths are no features: they are used, or asked about."""

from __future__ import annotations

import pandas as pd
import pytest

from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.reading import TO_PREDICT
from scanline.errors import UsageError
from scanline.recipe import DEFAULT_DATA

SUFFIXES = [".csv", ".tsv", ".parquet"]


@pytest.fixture(params=SUFFIXES)
def read(request, tmp_path):
    def read_columns(columns, optional=(), **chosen):
        table, path = pd.DataFrame(columns), tmp_path / f"table{request.param}"
        if request.param == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if request.param == ".tsv" else ",")
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=chosen), optional)

    return read_columns


WIDE = {"t0": [0.5, 1.5, 2.5, 3.5], "t1": [5, 1, 6, 2], "label": list("aabb")}


@pytest.mark.parametrize("values", [[0, 1, 2, 3], [1, 2, 3, 4], [17, 4, 9, 5]])
@pytest.mark.parametrize("name", ["index", "Row", "row_id"])
def test_an_index_identifies_the_rows_of_a_wide_table(read, name, values):
    source = read({name: values} | WIDE)
    assert source.shape == (4, 2, 1)
    assert source.ids.tolist() == list(map(str, values))
    assert f"id column {name}, which counts the rows" in source.info.notes[0]
    assert source.info.settings.step_columns == ("t0", "t1")
    # Tables to predict need no index.
    assert read(WIDE, TO_PREDICT, **source.info.settings.model_dump()).shape == (4, 2, 1)


def test_an_index_beside_an_id_is_left_out(read):
    source = read({"index": [0, 1, 2, 3], "id": list("wxyz")} | WIDE)
    assert source.ids.tolist() == list("wxyz")
    assert source.features == 1
    assert source.max_length == 2
    assert "column index, which counts the rows, left out" in source.info.notes[0]


def test_a_column_of_another_name_that_counts_the_rows_is_asked_about(read):
    columns = {"k": range(8)} | {name: values * 2 for name, values in WIDE.items()}
    with pytest.raises(UsageError, match="column k counts the rows 0 to 7, like an index") as caught:
        read(columns)
    for option in ("--id-column k", "--feature-columns t0,t1 ", "--step-columns '*'"):
        assert option in str(caught.value)
    assert read(columns, id_column="k").max_length == 2
    assert read(columns, feature_columns=("t0", "t1")).max_length == 2
    assert read(columns, step_columns=("*",)).max_length == 3


def test_a_step_of_a_numbered_series_may_count_a_few_rows_by_chance(read):
    assert read(WIDE | {"t2": [0, 1, 2, 3]}).max_length == 3
    long = {"t0": range(12), "t1": [5.5] * 12, "label": list("ab") * 6}
    with pytest.raises(UsageError, match="column t0 counts the rows 0 to 11"):
        read(long)


def test_a_column_called_index_with_other_values_is_a_step(read):
    assert read({"index": [1.5, 1.4, 1.3, 1.2]} | WIDE).max_length == 3


LONG = {"id": list("aabbb"), "time": [0, 1, 0, 1, 2], "x": [3, 1, 4, 1, 5], "label": list("ppqqq")}


def test_an_index_of_a_long_table_is_no_feature(read):
    source = read({"index": range(5)} | LONG)
    assert source.info.feature_names == ("x",)
    assert "column index, which counts the rows, left out" in source.info.notes[0]
    longer = {"id": [*"aabbbcccdd"], "x": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3], "label": [*"ppqqqpppqq"]}
    with pytest.raises(UsageError, match=r"column k counts the rows 1 to 10.*--time-column k"):
        read({"k": range(1, 11)} | longer)


def test_the_length_of_its_sequence_is_no_feature_of_a_step(read):
    with pytest.raises(UsageError, match=r"column m is the number of steps.*--feature-columns x to leave"):
        read(LONG | {"m": [2, 2, 3, 3, 3]})
    assert read(LONG | {"m": [2, 2, 3, 3, 4]}).features == 2


BLANKS = {"t0": [0.1, 0.1, 0.4], "t1": [0.1, None, 0.5], "t2": [None, None, 0.6], "label": list("aba")}


@pytest.mark.parametrize("name", ["len", "n", "seq_length", "size"])
def test_a_column_that_counts_the_filled_cells_holds_the_lengths(read, name):
    source = read({name: [2, 1, 3]} | BLANKS)
    assert source.lengths.tolist() == [2, 1, 3]
    assert source.concatenated.ravel().tolist() == pytest.approx([0.1, 0.1, 0.1, 0.4, 0.5, 0.6])
    assert f"length column {name}, the number of filled cells" in source.info.notes[0]
    assert source.info.settings.length_column == name


def test_a_column_called_length_that_does_not_count_the_filled_cells_is_asked_about(read):
    columns = {"len": [2, 1, 2], "t0": [1.5, 2, 3], "t1": [4, 0, 6], "label": list("aba")}
    with pytest.raises(UsageError, match=r"column len may be the number of steps.*--length-column len"):
        read(columns)
    assert read(columns, length_column="len").lengths.tolist() == [2, 1, 2]
    assert read(columns, step_columns=("*",)).max_length == 3


def test_a_length_that_is_measured_is_a_feature(read):
    assert read({"length": [5.1, 4.9, 4.7], "width": [3.5, 3, 3.2], "label": list("aba")}).max_length == 2
