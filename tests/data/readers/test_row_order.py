"""Times of long tables: order over midnight, exact integers, formats, and the same in CSV and Parquet."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA


def write(tmp_path, times, kind: str, ids=None) -> object:
    """Write a long table whose value is the number of the row, as CSV or as Parquet with text or times."""
    columns = {"id": ids or ["a"] * len(times), "time": times}
    columns |= {"v": np.arange(len(times), dtype=float), "label": ["p"] * len(times)}
    path = tmp_path / ("table.parquet" if kind != "csv" else "table.csv")
    if kind == "csv":
        csv.write_csv(pa.table(columns), path)
        return path
    if kind == "category":
        columns["time"] = pa.array(times).dictionary_encode()
    if kind == "time32":
        columns["time"] = csv_times(times)
    parquet.write_table(pa.table(columns), path)
    return path


def csv_times(times) -> pa.Array:
    seconds = [sum(int(part) * 60**place for place, part in enumerate(reversed(t.split(":")))) for t in times]
    return pa.array(seconds, pa.time32("s"))


def order(path, **settings) -> list[list[float]]:
    source = read_table_sequences(path, DEFAULT_DATA.model_copy(update=settings))
    return [source.steps_of(index)[:, 0].tolist() for index in range(len(source))]


KINDS = ["csv", "text", "category", "time32"]
NIGHT = ["23:59:58", "23:59:59", "00:00:00", "00:00:01"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_over_midnight_keeps_its_order(tmp_path, kind):
    path = write(tmp_path, NIGHT * 2, kind, ["a"] * 4 + ["b"] * 4)
    source = read_table_sequences(path, DEFAULT_DATA)
    assert order(path) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert "2 of 2 sequences go over midnight" in source.info.notes[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_interleaved_sequences_over_midnight_keep_their_order(tmp_path, kind):
    path = write(tmp_path, [time for time in NIGHT for _ in range(2)], kind, ["a", "b"] * 4)
    assert order(path) == [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_one_day_are_sorted(tmp_path, kind):
    assert order(write(tmp_path, ["10:00:03", "10:00:01", "10:00:02"], kind)) == [[1, 2, 0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "times",
    [
        ["20:00:00", "21:00:00", "04:00:00", "05:00:00"],
        ["00:00:00", "23:00:00", "01:00:00", "22:00:00", "02:00:00", "21:00:00"],
        ["09:00:00", "22:00:00", "08:00:00"],
    ],
)
def test_times_of_day_in_doubt_are_a_question(tmp_path, kind, times):
    with pytest.raises(UsageError, match=r"sequence a: the time of day goes back in its row \d: is that the"):
        order(write(tmp_path, times, kind))


def test_several_days_keep_their_order(tmp_path):
    times = [f"{hour % 24:02}:00:00" for hour in range(60)]
    assert order(write(tmp_path, times, "csv")) == [list(range(60))]


@pytest.mark.parametrize("kind", ["csv", "text", "category", "int"])
def test_nanoseconds_as_integers_are_exact(tmp_path, kind):
    first = 1_700_000_000_000_000_001
    times = [first + 2, first + 1, first, first + 3]
    assert order(write(tmp_path, times if kind == "int" else list(map(str, times)), kind)) == [[2, 1, 0, 3]]


@pytest.mark.parametrize("kind", ["csv", "text", "category"])
def test_integers_and_fractions_are_sorted_as_numbers(tmp_path, kind):
    times = ["2", *map(str, range(3, 30)), "0.5", "1e0"]
    assert order(write(tmp_path, times, kind)) == [[28, 29, *range(28)]]


@pytest.mark.parametrize("kind", ["csv", "text", "category"])
def test_times_are_read_in_the_format_that_is_given(tmp_path, kind):
    times = ["01.10.2025 09:00", "30.09.2025 10:00", "30.09.2025 09:59"]
    path = write(tmp_path, times, kind)
    assert order(path, time_format="%d.%m.%Y %H:%M") == [[2, 1, 0]]
    with pytest.raises(DataError, match=r"found '01.10.2025 09:00'; .* --time-format"):
        order(path)


@pytest.mark.parametrize("kind", ["csv", "text", "category"])
def test_a_format_without_a_date_goes_over_midnight(tmp_path, kind):
    times = ["11:59:58 PM", "11:59:59 PM", "12:00:00 AM"]
    assert order(write(tmp_path, times, kind), time_format="%I:%M:%S %p") == [[0, 1, 2]]


@pytest.mark.parametrize("kind", ["csv", "text", "category"])
def test_a_time_of_another_format_is_named_with_its_place(tmp_path, kind):
    place = "line 3" if kind == "csv" else "row 2"
    with pytest.raises(DataError, match=f"{place}, column time: expected a time written as %d.%m.%Y, found"):
        order(write(tmp_path, ["30.09.2025", "2025-09-30"], kind), time_format="%d.%m.%Y")


@pytest.mark.parametrize("times", [["2025-09-30 10:00", "2025-09-29 10:00"], ["0.5", "0.25"]])
def test_text_in_parquet_is_read_as_in_csv(tmp_path, times):
    assert [order(write(tmp_path, times, kind)) for kind in ("csv", "text", "category")] == [[[1, 0]]] * 3


def test_categories_and_text_are_read_as_names_and_numbers(tmp_path):
    columns = {"id": ["a", "a", "b"], "label": ["p", "p", "q"], "v": ["0.5", "1", "2.5"]}
    csv.write_csv(pa.table(columns), tmp_path / "plain.csv")
    table = pa.table({name: pa.array(column).dictionary_encode() for name, column in columns.items()})
    parquet.write_table(table, tmp_path / "categories.parquet")
    parquet.write_table(pa.table(columns), tmp_path / "text.parquet")
    paths = [tmp_path / name for name in ("plain.csv", "categories.parquet", "text.parquet")]
    assert len({read_table_sequences(path, DEFAULT_DATA).fingerprint() for path in paths}) == 1
