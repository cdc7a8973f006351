"""Features of the time of each step, in files, data frames and streams, and the intervals between steps."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from scanline.data.data_frames import to_frame
from scanline.data.intervals import Gap, measure
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.stream_times import StreamTimes
from scanline.data.time_features import PLAIN, TimeUnit, compute
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

HALF = 0.5**0.5
EVENTS = (
    "id,time,x,label\n"
    "a,2026-01-05 00:00:00,1,p\n"  # a Monday
    "a,2026-01-05 06:00:00,2,p\n"
    "b,2026-07-11 21:00:00,3,q\n"  # a Saturday
    "b,2026-07-11 21:00:30,4,q\n"
)


@pytest.fixture
def read(tmp_path):
    def read(content: str, **said):
        path = tmp_path / "ours.csv"
        path.write_text(content)
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=said))

    return read


def test_a_delta_is_in_seconds_and_0_at_the_start_of_a_sequence(read):
    source = read(EVENTS, time_features=("delta",))
    assert source.info.feature_names == ("x", "time:delta")
    assert source.concatenated.tolist() == [[1, 0], [2, 21600], [3, 0], [4, 30]]
    assert source.info.settings.feature_columns == ("x",)
    logs = read(EVENTS, time_features=("log-delta",)).concatenated[:, 1]
    np.testing.assert_allclose(logs, np.log([1, 21601, 1, 31]), rtol=1e-6)


def test_places_in_day_week_and_year_are_a_sine_and_a_cosine(read):
    source = read(EVENTS, time_features=("hour", "weekday", "month"))
    assert source.info.feature_names[1:3] == ("time:hour:sin", "time:hour:cos")
    found = source.concatenated
    np.testing.assert_allclose(found[:3, 1:3], [[0, 1], [1, 0], [-HALF, HALF]], atol=1e-6)
    angle = 2 * np.pi * 5 / 7  # Saturday
    np.testing.assert_allclose(found[[0, 2], 3:5], [[0, 1], [np.sin(angle), np.cos(angle)]], atol=1e-6)
    np.testing.assert_allclose(found[[0, 2], 5:7], [[0, 1], [0, -1]], atol=1e-6)  # January and July


def test_rows_are_sorted_before_deltas_are_computed(read):
    text = EVENTS.splitlines()
    mixed = "\n".join([text[0], text[4], text[2], text[1], text[3]]) + "\n"
    source = read(mixed, time_features=("delta",))
    assert sorted(source.concatenated.tolist()) == [[1, 0], [2, 21600], [3, 0], [4, 30]]


def test_offsets_of_several_zones_are_compared_in_utc(read):
    text = "id,time,x,label\na,2026-01-05T06:00:00+06:00,1,p\na,2026-01-05T01:00:00-05:00,2,p\n"
    source = read(text, time_features=("delta", "hour"))
    np.testing.assert_allclose(source.concatenated, [[1, 0, 0, 1], [2, 21600, 1, 0]], atol=1e-6)


def test_times_of_day_go_over_midnight(read):
    rows = ["23:58:00", "23:59:00", "00:00:00", "00:01:00"]
    text = "id,time,x,label\n" + "".join(f"a,{time},1,p\n" for time in rows)
    source = read(text, time_features=("delta", "hour"), shape="long")
    assert source.concatenated[:, 1].tolist() == [0, 60, 60, 60]


def test_numbers_have_deltas_but_no_calendar(read):
    text = "id,time,x,label\na,1.5,1,p\na,4,2,p\n"
    assert read(text, time_features=("delta",)).concatenated.tolist() == [[1, 0], [2, 2.5]]
    with pytest.raises(
        UsageError, match="column time: the time feature hour needs dates or times of day, got"
    ):
        read(text, time_features=("delta", "hour"))


def test_times_of_day_have_no_weekday(read):
    text = "id,time,x,label\na,10:00:00,1,p\na,10:01:00,2,p\n"
    with pytest.raises(UsageError, match="weekday needs dates, got times of day"):
        read(text, time_features=("weekday",))


def test_formats_of_the_user_and_parquet_give_the_same(read, tmp_path):
    features = ("delta", "minute", "hour", "weekday", "month")
    expected = read(EVENTS, time_features=features).concatenated
    written = EVENTS.replace("2026-01-05", "05.01.2026").replace("2026-07-11", "11.07.2026")
    own = read(written, time_features=features, time_format="%d.%m.%Y %H:%M:%S")
    assert (own.concatenated == expected).all()
    (tmp_path / "events.csv").write_text(EVENTS)
    table = arrow_csv.read_csv(tmp_path / "events.csv")
    parquet.write_table(table, tmp_path / "events.parquet")
    settings = DEFAULT_DATA.model_copy(update={"time_features": features})
    assert (read_table_sequences(tmp_path / "events.parquet", settings).concatenated == expected).all()
    frame = to_frame(pd.read_csv(tmp_path / "events.csv", parse_dates=["time"]))
    assert (frame.read(settings).concatenated == expected).all()


def test_time_features_need_a_time_column_and_a_long_table(read):
    with pytest.raises(UsageError, match="need a column of times: give it with --time-column"):
        read("id,x,label\na,1,p\na,2,p\n", time_features=("delta",))
    with pytest.raises(UsageError, match="time features belong to a long table"):
        read("t0,t1,label\n1,2,p\n", time_features=("delta",), shape="wide")


def test_nanoseconds_lose_no_digit():
    times = np.array([1_767_571_200_000_000_000, 1_767_571_200_000_000_001])
    unit = TimeUnit("dates", Fraction(1, 10**9))
    assert compute(("delta",), times, np.array([0]), unit)[1, 0] == np.float32(1e-9)


def test_a_stream_computes_the_features_of_files(read):
    features = ("delta", "log-delta", "hour", "weekday")
    source = read(EVENTS, time_features=features)
    settings, rows = source.info.settings, [line.split(",") for line in EVENTS.splitlines()[1:]]
    times = StreamTimes(settings, source.info.time_kind)
    for index, row in enumerate(rows):
        if index == 2:
            times.restart()
        assert times.features(row[1]) == source.concatenated[index, 1:].tolist()


def test_a_stream_refuses_times_of_another_kind_and_order():
    settings = DEFAULT_DATA.model_copy(update={"time_features": ("delta",)})
    for first, second, message in (
        ("2026-01-05", "2026-01-05", "one after the last"),
        ("2026-01-05", "2026-01-04", "one after the last"),
        ("17", None, "dates, as in training, found numbers"),
        ("", None, "expected a value, found none"),
        ("soon", None, "expected a number, a time of day or a date"),
    ):
        times = StreamTimes(settings, "dates")
        with pytest.raises(DataError, match=message):
            [times.features(cell) for cell in (first, second) if cell is not None]


def test_intervals_name_the_largest_gap(read):
    times = np.array([0, 10, 20, 90, 0, 10, 22])
    found = measure(times, np.array([0, 4]), PLAIN, lambda index: "ab"[index])
    assert (found.count, found.median, found.shortest, found.longest) == (5, 10, 10, 70)
    assert (found.gaps, found.largest) == (1, Gap("a", 4, 70, "20"))
    assert found.irregular == 0.4
    assert not found.in_seconds
    largest = read(EVENTS).info.intervals.largest
    assert (largest.sequence, largest.interval, largest.after) == ("a", 21600, "2026-01-05 00:00:00")


def test_sequences_of_one_step_have_no_intervals():
    assert measure(np.array([3, 5]), np.array([0, 1]), PLAIN, str) is None
