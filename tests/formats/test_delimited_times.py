"""CSV: columns of times, as numbers, dates or times of day."""

from __future__ import annotations

import pytest

from scanline.errors import DataError
from tests.formats.csv_texts import LONG


@pytest.mark.parametrize(
    "times",
    [
        ("1", "2", "10"),
        ("-1", "0.5", "1e1"),
        ("9007199254740991", "9007199254740992", "9007199254740994"),
        ("2026-01-31", "2026-02-01", "2026-02-01 00:00:00.5"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000000001", "2026-02-01"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00-01:00"),
        ("09:00", "09:00:00.5", "10:00:00"),
    ],
)
def test_times_are_numbers_dates_or_times_of_day(read_csv, times):
    first, second, third = times
    found = read_csv(LONG + f"s,{second},2,a\ns,{first},1,a\ns,{third},3,a\n")
    assert found.concatenated.ravel().tolist() == [1, 2, 3]
    assert found.info.notes[1].endswith("1 of 1 sequences were not sorted by time: sorted")


def test_fractions_may_begin_after_the_first_block(read_csv):
    rows = "".join(f"s0,{i},{i}.5,walk\n" for i in range(300_000))
    assert len(rows) > 2**22
    found = read_csv(LONG + rows + "s0,299999.75,2,walk\ns0,299999.5,1,walk\n")
    assert found.concatenated[-2:].ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            "noon",
            "1",
            "line 2, column time: expected a number, a time of day or a date as 2026-01-31 .* 'noon'",
        ),
        ("31.01.2026", "1", "line 2, column time: expected a number, .* found '31.01.2026'"),
        ("1", "noon", "line 3, column time: expected a number, found 'noon'"),
        ("1", "2026-01-31", "line 3, column time: expected a number, found '2026-01-31'"),
        ("2026-01-31", "7", "line 3, column time: expected a date, found '7'"),
        (
            "2026-01-31",
            "2026-01-31T01:00Z",
            "line 3, column time: expected a date, found '2026-01-31T01:00Z'",
        ),
        (
            "2026-01-31T01:00Z",
            "2026-02-01",
            "line 3, column time: expected a date with its time zone, found '20",
        ),
        ("09:00", "25:00", "line 3, column time: expected a time of day, found '25:00'"),
        ("", "1", "line 2, column time: expected a value, found none"),
        ("1", "", "line 3, column time: expected a value, found none"),
        ("1", "NaN", "line 3, column time: expected a value, found none"),
        ("2026-01-31", "", "line 3, column time: expected a value, found none"),
        ("inf", "1", "line 2, column time: expected a value, found inf"),
    ],
)
def test_an_invalid_time_or_one_of_another_kind_is_refused(read_csv, first, second, message):
    with pytest.raises(DataError, match=message):
        read_csv(LONG + f"s,{first},1,a\ns,{second},2,a\n")
