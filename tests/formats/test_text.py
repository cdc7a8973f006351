"""Text of files."""

from __future__ import annotations

import pytest

from scanline.formats.text import is_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("-1.5e3", True), ("nan", True), (" 2 ", True), ("", False), ("x", False), ("1_2", False)],
)
def test_a_number_is_what_everybody_writes_so(text, expected):
    assert is_number(text) is expected
