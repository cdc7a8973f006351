"""Sheets of .xlsx workbooks are read as the tables that they hold, and hostile files are refused."""

import datetime
import sys
import zipfile

import numpy as np
import pytest

from scanline.data.reading import read_sources
from scanline.errors import FormatError, MissingExtraError, ScanlineError, UsageError
from scanline.formats.spreadsheet import Workbook
from scanline.recipe import DEFAULT_DATA

openpyxl = pytest.importorskip("openpyxl")

LONG = [
    ("id", "time", "x", "kind", "label"),
    ("a", datetime.datetime(2026, 1, 5, 12), 1, "new", 1),
    (None, None, None, None, None),
    ("a", datetime.datetime(2026, 1, 5, 12, 0, 30), 2.5, "#N/A", 1),
    ("b", datetime.datetime(2026, 1, 6), 3, "old", 2),
]


def _save(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def _read(path, **said):
    return read_sources(path, DEFAULT_DATA.model_copy(update=said))["all"]


def test_a_long_sheet_is_read_with_its_types(tmp_path):
    source = _read(_save(tmp_path / "log.xlsx", events=LONG), time_features=("delta",))
    assert source.lengths.tolist() == [2, 1]
    assert source.classes == (1, 2)
    assert source.info.feature_names == ("x", "kind", "time:delta")
    kinds = source.info.categories[1]
    assert [kinds[int(code)] for code in source.concatenated[:, 1]] == ["new", "", "old"]
    assert source.concatenated[:, [0, 2]].tolist() == [[1, 0], [2.5, 30], [3, 0]]
    assert source.name == str(tmp_path / "log.xlsx")


def test_a_wide_sheet_is_read_row_by_row(tmp_path):
    rows = [("t0", "t1", "label"), (1, 2.5, "p"), (3, None, "q")]
    source = _read(_save(tmp_path / "wide.xlsx", one=rows), shape="wide")
    assert source.classes == ("p", "q")
    np.testing.assert_equal(source.concatenated[:, 0], [1, 2.5, 3, np.nan])


def test_a_sheet_of_texts_is_read_as_texts(tmp_path):
    texts = ["a very long and winding road, indeed", "no one knows what comes\nafter this"] * 4
    rows = [("review", "label"), *((text, "pq"[index % 2]) for index, text in enumerate(texts))]
    source = _read(_save(tmp_path / "reviews.xlsx", one=rows), text_column="review")
    assert len(source) == 8
    assert source.info.settings.text_column == "review"
    assert source.info.settings.separator == ""


def test_a_sheet_is_chosen_by_name(tmp_path):
    path = _save(tmp_path / "book.xlsx", notes=[("x", "label"), (1, 1)], events=LONG)
    assert len(_read(path, sheet="events")) == 2
    with pytest.raises(UsageError, match="--sheet must be one of notes, events, got 'event'; did you mean"):
        _read(path, sheet="event")
    other = _save(tmp_path / "other.xlsx", events=LONG, notes=[("x", "label")])
    assert any("read sheet events, the first of 2" in note for note in _read(other).info.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected rows, found none"),
        ([("id", "x", "x", "label"), ("a", 1, 1, "p")], "'x' twice"),
        ([("id", "x", "label"), ("a", 1, "p", 5)], "row 1: expected 3 cells, found more"),
        ([*LONG, ("b", "soon", 1, "old", 2)], "column time: .*'soon'"),
    ],
)
def test_faults_are_named(tmp_path, rows, message):
    with pytest.raises(ScanlineError, match=message) as refused:
        _read(_save(tmp_path / "ours.xlsx", one=rows))
    assert "frame.parquet" not in str(refused.value)


def test_other_bytes_are_refused(tmp_path):
    path = tmp_path / "ours.xlsx"
    path.write_bytes(b"id,x\n1,2\n")
    with pytest.raises(FormatError, match=r"expected an \.xlsx workbook, found another file"):
        _read(path)


def _rewrite(path, change):
    """Rewrite the sheet of a workbook; `change` gets and returns its XML."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if "worksheets/" in name else content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xml: b'<!DOCTYPE a [<!ENTITY b "c">]>' + xml, "found a DOCTYPE"),
        (lambda xml: xml + b" " * 2**28, "packed bytes to become at most"),
        (lambda xml: xml[: len(xml) // 2], "damaged"),
        (lambda xml: xml.replace(b'r="2"', b'r="1000000000"', 1), "at most 1,048,576 rows"),
    ],
)
def test_hostile_workbooks_are_refused(tmp_path, change, message):
    path = _save(tmp_path / "ours.xlsx", one=LONG)
    _rewrite(path, change)
    with pytest.raises(FormatError, match=message):
        _read(path)


def test_without_openpyxl_the_extra_is_named(tmp_path, monkeypatch):
    path = _save(tmp_path / "ours.xlsx", one=LONG)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[excel\]'"):
        Workbook(path)
