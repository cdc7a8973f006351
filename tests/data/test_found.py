"""What a reader brings home: the names of its classes, its places, and the values that may not be."""

from __future__ import annotations

import re

import numpy as np
import pytest

from scanline.data import found as module
from scanline.data.found import (
    Found,
    check_names,
    check_values,
    first_wrong,
    is_number,
    name_classes,
    shown,
    some,
    to_float32,
    with_classes,
)
from scanline.data.memory import MemorySource
from scanline.errors import DataError
from scanline.recipe import UNSAID


def where(index: int, step: int = 0) -> str:
    return f"place {index}.{step}"


def make(flat, lengths, features=(), classes=("a",), labels=None) -> Found:
    flat = np.array(flat, np.float32) if not isinstance(flat, np.ndarray) else flat
    labels = np.zeros(len(lengths), np.int64) if labels is None else np.array(labels)
    return Found(MemorySource(flat, np.array(lengths), labels, classes, "s.csv"), UNSAID, where, features)


# --- places


@pytest.mark.parametrize(
    ("row", "place"),
    [(0, "place 0.0"), (1, "place 0.1"), (2, "place 1.0"), (3, "place 2.0"), (5, "place 2.2")],
)
def test_a_row_of_all_steps_is_a_step_of_its_sequence(row, place):
    step = place[-1]
    with pytest.raises(DataError, match=rf"^s\.csv: {place}, step {step}, feature 1: odd$"):
        make(np.zeros((6, 2), np.float32), [2, 1, 3]).fail(row, 1, "odd")


def test_the_column_is_named_by_its_feature_if_each_step_has_them_all():
    with pytest.raises(DataError, match=r"^s\.csv: place 1\.0, column q: odd$"):
        make(np.zeros((3, 2), np.float32), [2, 1], ("p", "q")).fail(2, 1, "odd")


def test_the_column_is_named_by_its_step_if_each_step_has_one():
    with pytest.raises(DataError, match=r"^s\.csv: place 1\.1, column q: odd$"):
        make(np.zeros((5, 1), np.float32), [3, 2], ("p", "q", "r")).fail(4, 0, "odd")


# --- classes


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("10", "9", "9"), (10, 9, 9)),
        (("3", "-1"), (3, -1)),
        (("7.0", "8.", "9"), (7, 8, 9)),
        ((2.0, 1.0), (2, 1)),
        ((" 2 ", "1"), (2, 1)),
        (("10", "9", "x "), ("10", "9", "x")),
        (("007", "8"), ("007", "8")),
        (("-07", "8"), ("-07", "8")),
        (("1234567890123456789", "8"), ("1234567890123456789", "8")),
        (("1_2", "1_10"), ("1_2", "1_10")),
        (("0.5", "x"), ("0.5", "x")),
        (("nan", "x"), ("nan", "x")),
        (("\u00c4rger", "b"), ("\u00c4rger", "b")),
    ],
)
def test_whole_numbers_become_numbers_if_all_are_and_otherwise_all_stay_text(labels, expected):
    classes, indices = name_classes(labels, np.arange(len(labels)), "s.csv", where)
    assert tuple(classes[index] for index in indices) == expected
    assert classes == tuple(sorted(set(expected)))


def test_two_ways_to_write_a_class_are_one():
    classes, indices = name_classes(["7", "7.0", " 7", "8"], np.array([0, 1, 2, 3, 0]), "s.csv", where)
    assert classes == (7, 8)
    assert indices.tolist() == [0, 0, 0, 1, 0]


def test_names_that_nothing_has_are_no_classes():
    classes, indices = name_classes(["", "z", "0.5", "a"], np.array([3, 1, 3]), "s.csv", where)
    assert classes == ("a", "z")
    assert indices.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("names", "codes", "message"),
    [
        (["a", "  "], [0, 1, 1], "place 1.0: expected a label, a whole number or text, found nothing"),
        (["1", "0.5", "0.25"], [0, 1, 2], "place 1.0: expected a label, a whole number or text, found 0.5"),
        (["0.5", "1", "0.25"], [1, 2, 0], "place 1.0: expected a label, a whole number or text, found 0.25"),
        (["1", "nan"], [0, 1], "place 1.0: expected a label, a whole number or text, found nan"),
        (["1", "inf"], [0, 1], "place 1.0: expected a label, a whole number or text, found inf"),
        (["1", "1e3"], [1], "place 0.0: expected a label, a whole number or text, found 1e3"),
    ],
)
def test_a_label_that_is_none_or_a_fraction_has_its_place(names, codes, message):
    with pytest.raises(DataError, match=rf"^s\.csv: {re.escape(message)}$"):
        name_classes(names, np.array(codes), "s.csv", where)


def test_there_are_at_most_65536_classes():
    codes = np.arange(65_537)
    assert len(name_classes(codes[1:].tolist(), codes[:-1], "s.csv", where)[0]) == 65_536
    with pytest.raises(DataError, match="expected at most 65,536 classes, found 65,537"):
        name_classes(codes.tolist(), codes, "s.csv", where)


@pytest.mark.parametrize("name", ["\x1b[2Jred", "a\x07", "run\u202ekcab", "\x9b31m", "two\u2028lines"])
def test_a_class_that_would_do_something_to_a_terminal_is_refused(name):
    with pytest.raises(DataError, match="expected class names that can be printed") as caught:
        check_names(["run", name], "s.ts")
    assert str(caught.value).isprintable()


# --- the classes of another part


def test_labels_are_matched_by_name_with_those_of_another_part():
    part = make([[1], [2], [3]], [1, 1, 1], classes=("b", "c"), labels=[1, 0, 1])
    matched = with_classes(part, ("c", "a", "b"), "the training part").sequences
    assert matched.classes == ("c", "a", "b")
    assert matched.targets.tolist() == [0, 2, 0]


def test_a_number_matches_the_text_that_writes_it():
    part = make([[1], [2]], [1, 1], classes=(7, 8), labels=[1, 0])
    assert with_classes(part, ("8", "7", "x"), "the training part").sequences.targets.tolist() == [0, 1]


def test_the_same_classes_change_nothing():
    part = make([[1]], [1])
    assert with_classes(part, ("a",), "the training part") is part


def test_a_class_that_the_other_part_has_not_is_refused_with_its_place():
    part = make([[1], [2], [3]], [1, 1, 1], classes=("a", "b", "c"), labels=[0, 1, 2])
    with pytest.raises(
        DataError,
        match=r"^s\.csv: place 1\.0: expected a class that the training part has too, one of a, c, found b$",
    ):
        with_classes(part, ("a", "c"), "the training part")
    with pytest.raises(DataError, match=r"place 0\.0: .* one of b, found a \(2 of 3 are unknown\)$"):
        with_classes(part, ("b",), "the training part")


def test_a_class_that_no_sequence_has_may_be_unknown():
    part = make([[1], [2]], [1, 1], classes=("a", "b"), labels=[0, 0])
    assert with_classes(part, ("a", "c"), "the training part").sequences.targets.tolist() == [0, 0]


def test_a_part_without_labels_has_no_classes_to_match():
    with pytest.raises(DataError, match=r"^s\.csv: expected labels, as the training part has, found none$"):
        with_classes(make([[1]], [1], classes=()), ("a", "b"), "the training part")


# --- values


def test_the_first_value_that_is_missing_is_refused_unless_something_may_stand_in():
    part = make([[1, 2], [3, np.nan], [np.nan, 4]], [1, 2])
    with pytest.raises(
        DataError,
        match=r"place 1\.0, step 0, feature 1: expected a finite number, found a missing value; "
        "--missing forward-fill, zero or mean puts one there$",
    ):
        check_values(part, missing=False)
    check_values(part, missing=True)


def test_infinity_is_always_refused():
    part = make([[np.nan, 2], [3, -np.inf]], [2])
    with pytest.raises(
        DataError, match=r"step 1, feature 1: .*found -inf, or a number that does not fit into 32 bits$"
    ):
        check_values(part, missing=True)
    with pytest.raises(DataError, match="step 0, feature 0: expected a finite number, found a missing value"):
        check_values(part, missing=False)


def test_bytes_are_finite():
    check_values(make(np.full((3, 2), 255, np.uint8), [1, 2]), missing=False)


def test_a_wrong_value_is_found_in_any_bit(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 4)
    for row in range(11):
        values = np.zeros((11, 3))
        values[row:, 2] = 1
        assert first_wrong(values, lambda part: part == 1) == (row, 2)
    assert first_wrong(values, lambda part: part == 2) is None


@pytest.mark.parametrize("kind", ["?", "u1", "i8", "f2", "f4", ">f8", "g"])
def test_numbers_of_any_type_become_32_bits_of_this_machine(kind):
    values = to_float32(np.array([[0, 1], [1, 0]], kind)[::-1])
    assert values.tolist() == [[1, 0], [0, 1]]
    assert values.dtype == np.float32
    assert values.dtype.isnative
    assert values.flags.c_contiguous


def test_a_number_too_large_for_32_bits_becomes_infinite_without_a_warning():
    assert to_float32(np.array([1e39, -1e39])).tolist() == [np.inf, -np.inf]


# --- words


def test_of_many_names_twelve_are_shown():
    assert some(("a", 7)) == "a, 7"
    assert some(list("abcdefghijkl")) == "a, b, c, d, e, f, g, h, i, j, k, l"
    assert some(list("abcdefghijklmn")) == "a, b, c, d, e, f, g, h, i, j, k, l and 2 more"


def test_a_name_is_shown_on_one_line_of_at_most_60_characters():
    assert shown("a\n b\t\u2028c") == "a b c"
    assert shown("x" * 60) == "x" * 60
    assert shown("x" * 61) == "x" * 57 + "..."


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("-1.5e3", True), ("nan", True), (" 2 ", True), ("", False), ("x", False), ("1_2", False)],
)
def test_a_number_is_what_everybody_writes_so(text, expected):
    assert is_number(text) is expected
