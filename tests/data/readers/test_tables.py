"""CSV and Parquet hold the same tables: types, names and errors."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from scanline.data.checks import check_values
from scanline.data.readers import table_rows
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.readers.tables import is_table, read_table
from scanline.errors import DataError, MissingExtraError, ScanlineError
from scanline.recipe import DEFAULT_DATA

# Two sequences, b of two steps and a of one, not in order of time.
COLUMNS = {"id": ["b", "b", "a"], "time": [2, 1, 5], "x": [1.5, 2.5, 3.5], "label": ["p", "p", "q"]}


@pytest.fixture
def read(read_parquet):
    return read_parquet


def is_ours(found) -> bool:
    """Whether it holds what COLUMNS says, but for the label's name."""
    part = found
    return part.concatenated.tolist() == [[2.5], [1.5], [3.5]] and part.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", True),
        ("a.TSV", True),
        ("a.csv.gz", True),
        ("A.Parquet", True),
        ("a.gz", False),
        ("csv", False),
    ],
)
def test_a_table_is_told_by_its_name(tmp_path, name, expected):
    assert is_table(tmp_path / name) is expected


def test_a_parquet_file_is_read_and_guesses_are_reported(read):
    found = read(COLUMNS)
    assert is_ours(found)
    assert found.ids.tolist() == ["b", "a"]
    assert found.classes == ("p", "q")
    assert found.info.feature_names == ("x",)
    assert found.info.notes[0].endswith(
        "read as a long table, a row for each step; label column label; id column id; time column time"
    )
    assert found.info.notes[1].endswith("1 of 2 sequences were not sorted by time: sorted")
    assert [found.info.locate(0, 0), found.info.locate(0, 1), found.info.locate(1)] == [
        "row 2",
        "row 1",
        "row 3",
    ]


# --- types


@pytest.mark.parametrize(
    "column",
    [
        pa.array([15, 25, 35], pa.int8()),
        pa.array([15, 25, 35], pa.uint64()),
        pa.array([15, 25, 35], pa.float16()),
        pa.array([15, 25, 35], pa.float32()),
        pa.array([decimal.Decimal("15.00"), decimal.Decimal(25), decimal.Decimal(35)]),
        pa.array([15, 25, 35], pa.decimal256(5, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_numbers_are_read_of_any_type(read, column):
    assert read(COLUMNS | {"x": column}).concatenated.ravel().tolist() == [25, 15, 35]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3], pa.int64()),
        pa.array([1, None, 3], pa.float64()),
        pa.array([1, None, 3], pa.decimal128(5, 2)),
        pa.array([1, float("nan"), 3], pa.float32()),
    ],
    ids=str,
)
def test_a_null_is_a_missing_value_and_refused_with_its_row_unless_something_may_stand_in(read, column):
    found = read(COLUMNS | {"x": column})
    assert np.isnan(found.concatenated).ravel().tolist() == [True, False, False]
    check_values(found, missing=True)
    with pytest.raises(
        DataError, match=r"ours\.parquet: row 2, column x: expected a finite number, found a missing"
    ):
        check_values(found, missing=False)


def test_a_column_of_nulls_alone_is_missing_throughout(read):
    assert np.isnan(read(COLUMNS | {"x": pa.nulls(3)}).concatenated).all()


def test_a_number_too_large_for_32_bits_is_refused_with_its_row(read):
    with pytest.raises(
        DataError, match="row 3, column x: expected a finite number, found inf, or a number that"
    ):
        check_values(read(COLUMNS | {"x": [1.0, 2.0, 1e39]}), missing=True)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2, 1, 5], pa.uint8()),  # whose differences are never below 0
        pa.array([2**63 - 1, -(2**63), 0], pa.int64()),
        pa.array([2**63 + 2, 2**63 + 1, 0], pa.uint64()),
        pa.array([2.5, -1, 5], pa.float32()),
        pa.array([2, 1, 5], pa.decimal128(5, 2)),
        pa.array([2, 1, 5], pa.date32()),
        pa.array([2, 1, 5], pa.date32()).cast(pa.date64()),
        pa.array([2, 1, 5], pa.time32("ms")),
        pa.array([2, 1, 5], pa.time64("ns")),
        pa.array([2, 1, 5], pa.timestamp("s")),
        pa.array([2, 1, 5], pa.timestamp("us", "Europe/Berlin")),
        pa.array([2, 1, 5], pa.duration("ms")),
    ],
    ids=lambda column: str(column.type),
)
def test_times_are_numbers_dates_moments_or_spans(read, column):
    found = read(COLUMNS | {"time": column})
    assert is_ours(found)
    assert len(found.info.notes) == 2


def test_times_that_differ_by_one_in_the_last_of_64_bits_are_two(read):
    assert is_ours(read(COLUMNS | {"time": pa.array([1700000000000000001, 1700000000000000000, 0])}))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7, 7, 8], pa.int32()),
        pa.array([7, 7, 8], pa.uint8()),
        pa.array([7, 7, 8], pa.decimal128(4, 1)),
        pa.array([7, 7, 8]).dictionary_encode(),
        pa.array([b"7", b"7", b"8"]),
    ],
    ids=lambda column: str(column.type),
)
def test_labels_that_are_whole_numbers_become_whole_numbers_of_any_type(read, column):
    part = read(COLUMNS | {"label": column})
    assert part.classes == (7, 8)
    assert part.targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["10", "10", "9"]), ("9", "10")),
        (pa.array(["7", "7", " 8 "], pa.large_string()), ("7", "8")),
        (pa.array(["7", "7", "8.0"]).dictionary_encode(), ("7", "8.0")),
        (pa.array([7.0, 7.0, 8.0]), (7.0, 8.0)),
        (pa.array([True, True, False]), (False, True)),
    ],
    ids=lambda column: str(getattr(column, "type", "")),
)
def test_labels_keep_the_type_that_a_parquet_file_has(read, column, expected):
    classes = read(COLUMNS | {"label": column}).classes
    assert list(map(repr, classes)) == list(map(repr, expected))


def test_booleans_as_labels_are_booleans_in_parquet_and_text_in_csv(read, tmp_path):
    table = pd.DataFrame(COLUMNS | {"label": [True, True, False]})
    table.to_csv(tmp_path / "ours.csv", index=False)
    assert read(table).classes == (False, True)
    assert read_table_sequences(tmp_path / "ours.csv", DEFAULT_DATA).classes == ("False", "True")


def test_names_may_be_dates_and_numbers(read):
    days = [datetime.date(2026, 1, 31)] * 2 + [datetime.date(2026, 2, 1)]
    assert read(COLUMNS | {"id": days}).ids.tolist() == ["2026-01-31", "2026-02-01"]
    assert read(COLUMNS | {"id": [7, 7, 3]}).ids.tolist() == ["7", "3"]


# --- categories


def test_categories_count_as_they_appear_and_not_as_they_are_listed(read):
    ids = pd.Categorical(["b", "b", "a"], categories=["a", "", "b", "never"])
    found = read(pd.DataFrame(COLUMNS | {"id": ids, "label": pd.Categorical(["p", "p", "q"], list("qp"))}))
    assert found.ids.tolist() == ["b", "a"]
    assert found.classes == ("p", "q")
    assert is_ours(found)


def test_a_category_that_no_row_has_does_not_hide_a_name_that_comes_again(read):
    ids = pd.Categorical(["a", "b", "b"], categories=["a", "b", "never"])
    table = pd.DataFrame({"id": ids, "x1": [1, 2, 3], "label": list("ppq")})
    with pytest.raises(DataError, match="row 3: expected a row for each id, found 'b' as in row 2"):
        read(table, shape="wide")
    assert "a long table" in read(table.assign(label="p")).info.notes[0]


def test_a_category_that_no_row_has_is_no_part_and_no_class(read):
    columns = {"split": ["train", "train", "test"], "label": ["p", "p", "q"]}
    listed = {
        name: pd.Categorical(texts, [*sorted(set(texts)), "odd", ""]) for name, texts in columns.items()
    }
    found = read(pd.DataFrame(COLUMNS | listed))
    assert found.info.assigned_splits.tolist() == ["train", "test"]
    assert found.classes == ("p", "q")


def test_as_many_categories_as_8_bits_hold_leave_room_for_a_row_that_has_none(read):
    names = [f"n{index}" for index in range(128)]
    column = pa.DictionaryArray.from_arrays(pa.array([*range(128), None], pa.int8()), names)
    table = pa.table({"id": column, "x1": list(range(129)), "label": ["p"] * 129})
    with pytest.raises(DataError, match="row 129, column id: expected the name of a sequence, found nothing"):
        read(table)
    assert read(table.slice(0, 128)).ids.tolist() == names


@pytest.mark.parametrize("cells", [1, 8, 20, 1000])
def test_a_table_may_come_in_batches_of_any_size(read, monkeypatch, cells):
    monkeypatch.setattr(table_rows, "BATCH_CELLS", cells)
    rows = range(9)
    table = {
        "id": [f"s{row // 2}" for row in rows],
        "time": rows,
        "x": rows,
        "label": [row // 4 for row in rows],
    }
    part = read(pa.table(table))
    assert part.concatenated.ravel().tolist() == list(rows)
    assert part.lengths.tolist() == [2, 2, 2, 2, 1]
    assert part.targets.tolist() == [0, 0, 1, 1, 2]
    for name, value in (("time", None), ("label", "a\nb")):
        broken = [*list(table[name])[:7], value, 8]
        with pytest.raises(DataError, match=f"row 8, column {name}: expected "):
            read(pa.table(table | {name: list(map(str, broken)) if name == "label" else broken}))


def test_dictionaries_of_different_row_groups_are_joined(tmp_path):
    path = tmp_path / "ours.parquet"
    labels = ["r", "p", "q", "p", "s", "r", "q", "s"]
    table = pa.table({"x1": list(range(8)), "label": pa.array(labels).dictionary_encode()})
    parquet.write_table(table, path, row_group_size=3)
    part = read_table_sequences(path, DEFAULT_DATA)
    assert part.classes == ("p", "q", "r", "s")
    assert [part.classes[label] for label in part.targets] == labels


# --- names of columns


def test_the_index_of_pandas_is_left_out(read):
    table = pd.DataFrame(COLUMNS).iloc[[0, 1, 2]].set_axis([7, 5, 3])
    found = read(table)
    assert is_ours(found)
    assert found.info.feature_names == ("x",)
    assert "column __index_level_0__ left out" in found.info.notes[0]


def test_an_index_that_has_a_name_is_a_column(read):
    assert is_ours(read(pd.DataFrame(COLUMNS).set_index("id")))


def test_columns_with_dots_in_their_names_are_kept_apart(read):
    table = {"acc": [1, 2], "acc.x": [3, 4], "acc.x.y": [5, 6], "label": ["p", "q"]}
    assert read(table).concatenated.ravel().tolist() == [1, 3, 5, 2, 4, 6]
    assert read(table, feature_columns=("acc.x", "acc")).concatenated.ravel().tolist() == [
        3,
        1,
        4,
        2,
    ]


# --- what is refused


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": ["1", "2", "fast"]}, "row 3, column x: expected a number, found 'fast'"),
        ({"x": [True, False, True]}, "column x: expected numbers, found bool"),
        ({"x": [[1.0], [2.0], [3.0]]}, "row 2, column id: expected a row for each sequence, found 'b' as in"),
        ({"x": pa.array([1, 2, 3], pa.timestamp("s"))}, r"column x: expected numbers, found timestamp\[ms\]"),
        (
            {"time": ["1", "soon", "3"]},
            "row 2, column time: expected a number, .*, found 'soon'",
        ),
        ({"time": [True, False, True]}, "column time: expected numbers, times or dates, found bool"),
        ({"time": [1, None, 3]}, "row 2, column time: expected a value, found none"),
        ({"time": [1.0, float("nan"), 3.0]}, "row 2, column time: expected a value, found none"),
        ({"time": [1.0, 2.0, float("inf")]}, "row 3, column time: expected a value, found inf"),
        (
            {"time": pa.array([1, 2, None], pa.timestamp("us"))},
            "row 3, column time: expected a value, found none",
        ),
        (
            {"time": pa.array([1, 1, 2], pa.uint8())},
            "row 2: expected one row of sequence b at each time, found .* row 1$",
        ),
        ({"id": ["b", None, "a"]}, "row 2, column id: expected the name of a sequence, found nothing"),
        (
            {"id": [1.0, float("nan"), 2.0]},
            "row 2, column id: expected the name of a sequence, found nothing",
        ),
        ({"id": [[1], [2], [3]]}, "column id: expected text, found list<element: int64>"),
        ({"id": [b"b", b"b", b"\xff"]}, r"cannot be read \(.*UTF8"),
        ({"label": ["p", "p", "q\nr"]}, "row 3, column label: expected text of one line, found more"),
        ({"label": ["p", "p", None]}, "row 3: expected a label, an integer or text, found nothing"),
        ({"label": [0.5, 0.5, 1.0]}, "row 2: expected a label, an integer or text, found 0.5"),
        (
            {"label": ["p", "q", "q"]},
            "row 1, column label: expected one label for a sequence, 'q' as in row 2, found 'p'",
        ),
        ({"label": [{"a": 1}] * 3}, "column label: expected text, found struct<a: int64>"),
    ],
)
def test_a_fault_is_one_line_with_the_row_what_was_expected_and_what_was_found(read, columns, message):
    with pytest.raises(DataError, match=rf"ours\.parquet: {message}") as caught:
        read(COLUMNS | columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["1", "two"], "row 2, column n: expected a number, found 'two'"),
        ([1, None], "row 2, column n: expected a value, found none"),
        ([1.0, 1.5], "row 2, column n: expected a length of 1 to 2, found 1.5"),
        (pa.array([1, 3], pa.uint8()), "row 2, column n: expected a length of 1 to 2, found 3"),
        ([1, -(2**63)], "row 2, column n: expected a length of 1 to 2, found -9.22337e\\+18"),
    ],
)
def test_an_invalid_length_is_refused(read, column, message):
    with pytest.raises(DataError, match=message):
        read({"n": column, "x1": [1, 2], "x2": [3, 4], "label": ["p", "q"]}, length_column="n")


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(3, 1)])
def test_lengths_are_whole_numbers_of_any_type(read, kind):
    table = {"n": pa.array([1, 2], kind), "x1": [1, 2], "x2": [None, 4], "label": ["p", "q"]}
    assert read(table, length_column="n").concatenated.ravel().tolist() == [1, 2, 4]


def test_two_columns_of_one_name_are_refused(read):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array(["p"])], names=["x", "x", "label"])
    with pytest.raises(DataError, match="expected columns of different names, found 'x' twice"):
        read(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cannot be read \(Parquet file size is 0 bytes\)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), r"cannot be read \(Parquet magic bytes not found in footer"),
        (b"id,x,label\na,1,p\n", r"cannot be read \(Parquet magic bytes not found in footer"),
        (b"PAR1" + b"\xff" * 20 + b"PAR1", r"cannot be read \("),
    ],
)
def test_what_is_no_parquet_file_is_a_data_error_of_one_line(read, content, message):
    with pytest.raises(DataError, match=rf"ours\.parquet: {message}") as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_a_file_without_rows_a_folder_and_a_missing_file_are_data_errors(read, tmp_path):
    with pytest.raises(DataError, match=r"ours\.parquet: expected rows, found none"):
        read(pa.table(COLUMNS).slice(0, 0))
    (tmp_path / "folder.parquet").mkdir()
    for name in ("folder", "none"):
        with pytest.raises(DataError, match=rf"{name}\.parquet: cannot be read \("):
            read_table_sequences(tmp_path / f"{name}.parquet", DEFAULT_DATA)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MissingExtraError, match=r"requires pyarrow, which is not installed: .* '\.\[tables\]'"
    ):
        read_table(tmp_path / "ours.csv", DEFAULT_DATA)


def test_pyarrow_is_not_loaded_before_a_table_is_read():
    code = "import sys, scanline.data.reading; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_any_mutation_of_a_good_file_is_read_or_refused(read, tmp_path, data):
    parquet.write_table(pa.table(COLUMNS), tmp_path / "good.parquet")
    content = bytearray((tmp_path / "good.parquet").read_bytes())
    for _ in range(data.draw(st.integers(1, 4), label="mutations")):
        content[data.draw(st.integers(0, len(content) - 1), label="at")] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content)), label="cut at") :]
    message = ""
    try:
        read(bytes(content))
    except ScanlineError as error:
        message = str(error)
    assert len(message.splitlines()) < 2
