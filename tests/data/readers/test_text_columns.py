"""A table whose columns are not clear: a question with both readings, a hint, and what `data show` prints."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from scanline.cli.data import command
from scanline.data.readers.column_roles import assign
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

MACHINES = pd.DataFrame(
    {
        "timestamp": [1, 2, 1, 2],
        "machine_id": ["M-000", "M-000", "M-001", "M-001"],
        "temperature": [1.5, 2.5, 3.5, 4.5],
        "zustand": ["ok", "ok", "bad", "bad"],
    }
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "machines.csv"
    MACHINES.to_csv(path, index=False)
    return path


def settings(**chosen):
    return DEFAULT_DATA.model_copy(update={"label_column": "zustand"} | chosen)


def test_a_column_of_text_without_an_id_asks_how_to_read_the_table(table):
    with pytest.raises(UsageError, match="is each row a step, or a sequence") as caught:
        read_table_sequences(table, settings())
    assert "--id-column machine_id" in str(caught.value)
    assert "--shape wide --feature-columns temperature" in str(caught.value)
    source = read_table_sequences(table, settings(id_column="machine_id"))
    assert (source.ids.tolist(), source.features) == (["M-000", "M-001"], 1)
    wide = settings(shape="wide", feature_columns=("temperature",))
    assert len(read_table_sequences(table, wide)) == 4


def test_a_feature_of_text_is_a_category_where_a_column_identifies_the_sequences(tmp_path):
    path = tmp_path / "lines.csv"
    MACHINES.assign(line=["Linie B", "", "Linie B", "A"]).to_csv(path, index=False)
    source = read_table_sequences(path, settings(id_column="machine_id"))
    assert source.info.feature_names == ("temperature", "line")
    assert source.info.categories == (None, ("Linie B", "", "A"))
    assert source.concatenated[:, 1].tolist() == [0, 1, 0, 2]
    assert source.info.settings.categorical_columns == ("line",)


def test_a_feature_of_text_in_a_wide_table_names_the_option_that_chooses_features(tmp_path):
    path = tmp_path / "lines.csv"
    MACHINES.assign(line="Linie B").to_csv(path, index=False)
    wide = settings(shape="wide", feature_columns=("temperature", "line"))
    with pytest.raises(DataError, match="column line: expected a number, found 'Linie B'"):
        read_table_sequences(path, wide)


@pytest.mark.parametrize(
    ("wrong", "suggested"), [("temp", "temperature"), ("Zustand", "zustand"), ("machin_id", "machine_id")]
)
def test_a_misspelt_column_has_the_nearest_name_suggested(wrong, suggested):
    chosen = settings(id_column="machine_id", feature_columns=(wrong,))
    with pytest.raises(UsageError, match=rf"expected one of .*; did you mean '{suggested}'\?$"):
        assign(list(MACHINES), chosen, "t.csv")


def test_data_show_prints_a_table_that_it_asks_about(table):
    result = CliRunner().invoke(command, ["show", str(table), "--label-column", "zustand"])
    assert result.exit_code == 0
    assert "  timestamp: number, time: 1, 2, 1, ...\n" in result.output
    assert "  machine_id: text: M-000, M-000, M-001, ...\n" in result.output
    assert "question: " in result.output
    assert "--id-column machine_id" in result.output


def test_data_show_has_the_question_in_json_too(table):
    result = CliRunner().invoke(command, ["show", str(table), "--label-column", "zustand", "--json"])
    shown = json.loads(result.stdout)
    assert shown["columns"]["machine_id"] == "text"
    assert shown["rows"][0] == ["1", "M-000", "1.5", "ok"]
    assert "--id-column machine_id" in shown["question"]
