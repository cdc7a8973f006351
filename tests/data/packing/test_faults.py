"""Faults of a source have the text that training on it gives, whether its rows have to be sorted or not."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from scanline.data import catalogue
from scanline.data.packing import pack
from scanline.data.padding import check_padding
from scanline.data.partition import partition
from scanline.errors import DataError, MissingExtraError, ScanlineError, UsageError
from scanline.limits import limit_of
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from tests.data.packing.conftest import long_csv

HEADER = "id,time,x,z,label"
GOOD = [f"s{i},{step},{i}.5,{step}.25,{'ab'[i % 2]}" for i in range(20) for step in range(3)]


def with_row(place: int, row: str) -> list[str]:
    return [*GOOD[:place], row, *GOOD[place:]]


FAULTS = {
    "a text for a number": (HEADER, with_row(31, "s10,7,fast,1,a"), {}),
    "a cell too many": (HEADER, with_row(31, "s10,7,1,1,a,9"), {}),
    "infinity": (HEADER, with_row(31, "s10,7,1e60,1,a"), {}),
    "a time twice": (HEADER, with_row(33, "s10,1,1,1,a"), {}),
    "no time": (HEADER, with_row(33, "s10,,1,1,a"), {}),
    "a word for a time": (HEADER, with_row(33, "s10,noon,1,1,a"), {}),
    "no id": (HEADER, with_row(33, ",7,1,1,a"), {}),
    "a label that differs": (HEADER, with_row(33, "s10,7,1,1,b"), {}),
    "no label": (HEADER, with_row(60, "t,7,1,1,"), {}),
    "labels that are fractions": (HEADER, [f"s{i // 2},{i},1,{i % 7},{i // 2}.5" for i in range(20)], {}),
    "labels that look alike": (HEADER, [*GOOD, "t,1,1,1,a\u200b"], {}),
    "ids that look alike": (HEADER, [*GOOD, "s1\u200b,1,1,1,a"], {}),
    "an id of several lines": (HEADER, [*GOOD, '"s1\nb",1,1,1,a'], {}),
    "a class with one sequence": (HEADER, [*GOOD, "t,1,1,1,c"], {}),
    "an unknown column": (HEADER, GOOD, {"label_column": "nope"}),
    "two label columns": ("id,time,x,class,label", GOOD, {}),
    "no label column": ("id,time,x,z,w", GOOD, {}),
    "time without id": ("name,time,x,z,label", [row.replace("s", "") for row in GOOD], {}),
    "a length column": (HEADER, GOOD, {"length_column": "z", "shape": "long"}),
    "a feature that counts the rows": (
        "id,time,x,z,label",
        [f"s{i // 3},{i},{i},{i * i % 7},{'ab'[i // 3 % 2]}" for i in range(60)],
        {},
    ),
    "a feature that is the length": (
        HEADER,
        [f"s{i},{step},{2 + i % 3},{i * step % 5},{i % 2}" for i in range(20) for step in range(2 + i % 3)],
        {},
    ),
    "a group that differs": ("id,time,x,group,label", [*(f"{r[:-7]},g,a" for r in GOOD), "s9,9,1,h,a"], {}),
    "one group": ("id,time,x,group,label", [f"{row[:-7]},g,{row[-1]}" for row in GOOD], {}),
    "an unknown split": (
        "id,time,x,split,label",
        [",".join([*r.split(",")[:3], "train", r[-1]]) for r in GOOD] + ["t,1,1,exam,a"],
        {},
    ),
    "no training split": (
        "id,time,x,split,label",
        [",".join([*row.split(",")[:3], "test", row[-1]]) for row in GOOD],
        {},
    ),
    "a class of the test split only": (
        "id,time,x,split,label",
        [
            f"s{i},{step},{i},{'test' if i > 15 else 'train'},{'c' if i == 17 else i % 2}"
            for i in range(20)
            for step in range(2)
        ],
        {},
    ),
    "times of day in doubt": (
        HEADER,
        [
            f"s0,{clock},{place},{place * place % 5},a"
            for place, clock in enumerate(["23:00:00", "01:00:00", "12:00:00", "00:30:00"])
        ]
        + GOOD[:0]
        + [f"s{i},0{step}:00:00,{i},{step},{'ab'[i % 2]}" for i in range(1, 9) for step in range(3)],
        {},
    ),
    "missing values at the ends": (
        HEADER,
        [
            f"s{i},{step},{'' if step > i % 3 else 1},{'' if step > i % 3 else i},{i % 2}"
            for i in range(20)
            for step in range(4)
        ],
        {},
    ),
    "nothing but padding": (
        HEADER,
        [
            f"s{i},{step},{'' if i == 7 else 1},{'' if i == 7 else i},{i % 2}"
            for i in range(20)
            for step in range(4)
        ],
        {"pad_value": "nan"},
    ),
    "a sequence that is too long": (HEADER, GOOD, {"limit": "STEPS"}),
}


def message(action) -> tuple[type, str]:
    try:
        action()
    except ScanlineError as error:
        return type(error), str(error)
    raise AssertionError("expected an error")


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_as_training_reports_it(tmp_path, monkeypatch, request, fault, sort):
    header, rows, settings = FAULTS[fault]
    settings = dict(settings)
    if settings.pop("limit", ""):
        monkeypatch.setenv("SCANLINE_LIMIT_STEPS", "2")
        limit_of.cache_clear()
        request.addfinalizer(limit_of.cache_clear)
    if sort:
        monkeypatch.setattr("scanline.data.packing.long_reading.is_contiguous", lambda batch: False)
    path = tmp_path / "made.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    chosen = DEFAULT_DATA.model_copy(update=settings)

    def train() -> None:
        data = catalogue.read(str(path), chosen)
        check_padding(data)
        partition(data, DEFAULT_SPLIT, "zero")

    expected = message(train)
    found = message(lambda: pack(str(path), str(tmp_path / "target"), chosen))
    # Two error classes may share a text, as FormatError is a DataError.
    assert found[1] == expected[1]
    assert issubclass(found[0], UsageError) == issubclass(expected[0], UsageError)
    assert [each.name for each in tmp_path.iterdir()] == ["made.csv"]


def test_the_same_id_in_several_files_needs_a_time(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("id,x,label\ns0,1,p\ns0,2,p\ns1,3,q\n")
    with pytest.raises(
        DataError,
        match=r"b\.csv: line [24]: expected all rows of a sequence in one file, or a "
        r"time column that orders them, found a row of sequence s[01] in \S*a\.csv: line [24], too",
    ):
        pack(str(tmp_path / "*.csv"), str(tmp_path / "target"))


def test_places_of_faults_in_several_files_name_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("id,time,x,label\ns0,1,1,p\ns0,2,1,p\n")
    (tmp_path / "b.csv").write_text("id,time,x,label\ns0,3,1,p\ns0,2,1,p\n")
    with pytest.raises(
        DataError,
        match=r"^\S*b\.csv: line 3: expected one row of sequence s0 at each time, "
        r"found another of the same time in \S*a\.csv: line 3$",
    ):
        pack(str(tmp_path / "*.csv"), str(tmp_path / "target"))


def test_files_of_different_steps_do_not_fit_together(tmp_path):
    for width in (2, 3):
        np.savez(tmp_path / f"w{width}.npz", X=np.zeros((9, 4, width)), y=[0, 1, 2] * 3)
    with pytest.raises(DataError, match=r"w3\.npz, X: expected steps as in \S*w2\.npz, X, of 2 values"):
        pack(str(tmp_path / "*.npz"), str(tmp_path / "target"))


def test_identifiers_of_several_files_are_different(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("id,label,x,y1\nr0,p,1,2\nr1,q,3,4\n")
    with pytest.raises(
        DataError,
        match=r"column id: expected another identifier for each sequence, found "
        r"'r[01]' for several sequences",
    ):
        pack(str(tmp_path / "*.csv"), str(tmp_path / "target"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"memory": "1MB"}, "--memory must be at least 512 MB, got '1MB'"),
        ({"memory": "much"}, "--memory must be a size such as 2GB or 512MiB, got 'much'"),
        ({"test": 1.0}, "--test must be a fraction from 0 to below 1, got 1"),
        ({"labelled": False}, "--unlabelled requires --no-split"),
        ({"row_group_mb": 0}, "--row-group-mb must be from 1 to 512, got 0"),
    ],
)
def test_options_that_are_out_of_range(tmp_path, options, expected):
    with pytest.raises(UsageError, match=expected):
        pack("digits", str(tmp_path / "target"), **options)


def test_a_pattern_without_files(tmp_path):
    with pytest.raises(DataError, match=r"\*\.csv: expected files that match the pattern, found none"):
        pack(str(tmp_path / "*.csv"), str(tmp_path / "target"))


def test_only_rows_that_have_to_be_sorted_need_duckdb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    pack(str(long_csv(tmp_path / "sorted.csv")), str(tmp_path / "one"))
    path = long_csv(tmp_path / "shuffled.csv", shuffle=True)
    with pytest.raises(MissingExtraError, match=r"requires duckdb, .* pip install '\.\[pack\]'"):
        pack(str(path), str(tmp_path / "two"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "shuffled.csv", "sorted.csv"]
