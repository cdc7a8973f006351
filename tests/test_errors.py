"""Messages: one line, whatever the names in them."""

from __future__ import annotations

import pytest

from scanline.errors import (
    DataError,
    Interrupted,
    MissingExtraError,
    ModelError,
    ScanlineError,
    UsageError,
    printable,
    quoted,
)


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
def test_what_would_do_something_to_a_terminal_is_shown_as_an_escape(text, plain):
    assert printable(text) == plain
    for error in (ScanlineError, UsageError, DataError, ModelError, Interrupted):
        assert str(error(text)) == plain


def test_a_long_value_is_cut_in_a_message():
    assert quoted("x" * 77) == repr("x" * 77)
    assert quoted("x" * 10**6) == "'" + "x" * 59 + "..."


def test_a_missing_extra_names_its_packages_and_how_to_install_them():
    error = MissingExtraError("a report", ["jinja2", "matplotlib"], "report")
    assert (error.packages, error.extra) == (("jinja2", "matplotlib"), "report")
    assert str(error) == (
        "a report requires jinja2 and matplotlib, which are not installed: "
        "run pip install '.[report]' in a checkout of Scanline"
    )
