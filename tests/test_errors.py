"""Errors: one printable line of text, and the same as fields."""

from __future__ import annotations

import pickle

import pytest

from scanline.errors import (
    DataError,
    FormatError,
    Interrupted,
    MissingExtraError,
    ModelError,
    ScanlineError,
    UsageError,
    closest,
    did_you_mean,
    join_names,
    one_line,
    printable,
    quoted,
)
from scanline.python_terms import in_python, python_terms


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a.csv: line 3", "a.csv: line 3"),
        ("two\nlines\tand more", "two lines and more"),
        ("\x1b[2J\x1b]0;evil\x07", r"\x1b[2J\x1b]0;evil\x07"),
        ("\x9b31m red", r"\x9b31m red"),
        ("run\u202ekcab\u2066", r"run\u202ekcab\u2066"),
        ("\u061cto\u200e and\u200f fro\ufff9\ufffb", r"\u061cto\u200e and\u200f fro\ufff9\ufffb"),
        ("half \ud800 of it", r"half \ud800 of it"),
        ("Größe 漢字 👩\u200d👧", "Größe 漢字 👩\u200d👧"),
    ],
)
def test_characters_that_control_a_terminal_are_escaped_in_every_error(text, plain):
    assert printable(text) == plain
    for error in (ScanlineError, UsageError, DataError, ModelError, Interrupted, FormatError):
        assert str(error(text)) == plain


def test_a_long_value_is_cut_in_a_message():
    assert quoted("x" * 77) == repr("x" * 77)
    assert quoted("x" * 10**6) == "'" + "x" * 59 + "..."
    assert one_line("x" * 60) == "x" * 60
    assert one_line("x" * 10**6) == "x" * 57 + "..."
    assert one_line("a\n\t b\x1b", 9) == r"a b\x1b"


def test_a_long_list_of_names_is_cut_in_a_message():
    assert join_names(["a", 2, "c"]) == "a, 2, c"
    assert join_names(range(20), 2) == "0, 1 and 18 more"


def test_a_missing_extra_names_its_packages_and_how_to_install_them():
    error = MissingExtraError("a report", ["jinja2", "matplotlib"], "report")
    assert (error.packages, error.extra) == (("jinja2", "matplotlib"), "report")
    assert str(error) == (
        "a report requires jinja2 and matplotlib, which are not installed: "
        "run pip install '.[report]' in a checkout of Scanline"
    )


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ScanlineError(), 1),
        (UsageError(), 2),
        (DataError(), 3),
        (FormatError(), 3),
        (ModelError(), 4),
        (Interrupted("", 15), 143),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error, exit_code):
    assert error.exit_code == exit_code


def test_the_text_of_an_error_is_composed_of_its_fields():
    error = DataError(where="a.csv: line 3", expected="a number", found="'fast'", remedy="choose columns")
    assert str(error) == "a.csv: line 3: expected a number, found 'fast'; choose columns"
    assert (error.where, error.expected, error.found) == ("a.csv: line 3", "a number", "'fast'")
    assert (error.remedy, error.code) == ("choose columns", None)
    assert str(UsageError(where="train.steps", expected=">= 1", found=0)) == (
        "train.steps: expected >= 1, got 0"
    )
    assert str(ModelError("is damaged", where="a.json")) == "a.json: is damaged"


def test_a_format_error_names_its_file_once_the_file_is_known():
    inner = FormatError("truncated", place="byte 4", expected="2 bytes", found="1")
    error = inner.within("a.idx", "the header", "copy it again").within("b.idx", remedy="none")
    assert str(error) == ("a.idx: the header: byte 4: truncated, expected 2 bytes, found 1; copy it again")
    assert (error.file, error.place, error.remedy) == ("a.idx", "the header: byte 4", "copy it again")
    assert isinstance(error, DataError)
    converted = error.to_model_error()
    assert str(converted) == str(error)
    assert (converted.exit_code, converted.expected) == (4, "2 bytes")


@pytest.mark.parametrize(
    "error",
    [
        FormatError("damaged", file="a", place="byte 1", found="2"),
        DataError("no", expected="yes"),
        UsageError(),
    ],
)
def test_errors_survive_pickling(error):
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_a_misspelt_name_gets_a_suggestion():
    assert did_you_mean("rwos", ["rows", "columns"]) == "; did you mean 'rows'?"
    assert did_you_mean("x", ["rows"]) == ""


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("temp", ["timestamp", "stamp", "temperature"], "temperature"),
        ("ZUSTAND", ["stand", "Zustand"], "Zustand"),
        ("temperature_2", ["time", "temperature"], "temperature"),
        ("rwos", ["rows", "digits"], "rows"),
        ("x", ["x_axis", "y"], None),
        ("", ["rows"], None),
        ("epochs", ["report", "device"], None),
    ],
)
def test_the_name_that_is_meant_is_suggested(name, known, expected):
    assert closest(name, known) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("use --missing mean", "use settings[\"input.missing\"]='mean'"),
        ("give --label-column 3 if", 'give settings["data.label_column"]=3 if'),
        ("--id-column 'my id' if", "settings[\"data.id_column\"]='my id' if"),
        ("--id-column or --shape", 'settings["data.id_column"] or settings["data.shape"]'),
        ("choose another --run", "choose another run"),
        ("resume with `scanline train --resume --run x`", "resume with `scanline.train(resume='x')`"),
        ("with `scanline train --resume --run 'a b'`", "with `scanline.train(resume='a b')`"),
        ("run `scanline data fetch mnist --force`", "run `scanline data fetch mnist --force`"),
        ("a--b and -- c", "a--b and -- c"),
        ("add --set train.slices=4", 'add settings={"train.slices": 4}'),
    ],
)
def test_options_have_their_python_names(message, expected):
    assert in_python(message) == expected


def test_an_error_keeps_its_type_and_fields_in_python():
    with pytest.raises(DataError, match="no labels; settings") as caught, python_terms():
        raise DataError("no labels", remedy="--label-column chooses them", code="labels")
    assert (caught.value.code, caught.value.remedy) == (
        "labels",
        'settings["data.label_column"] chooses them',
    )
