"""Class names of labels, and matching them with those of another split."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from scanline.data.class_names import NUMBERS_REMEDY, check_names, name_classes, with_classes
from scanline.data.labels import BytesName, as_class_name, class_array, match_names
from scanline.data.memory import MemorySource
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA


def locate(index: int, step: int = 0) -> str:
    return f"place {index}.{step}"


def make(flat, lengths, features=(), classes=("a",), labels=None) -> MemorySource:
    flat = np.array(flat, np.float32) if not isinstance(flat, np.ndarray) else flat
    labels = np.zeros(len(lengths), np.int64) if labels is None else np.array(labels)
    info = SourceInfo(DEFAULT_DATA, locate, features)
    return MemorySource(flat, np.array(lengths), labels, classes, "s.csv", info=info)


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
    classes, indices = name_classes(labels, np.arange(len(labels)), "s.csv", locate)
    assert tuple(classes[index] for index in indices) == expected
    assert classes == tuple(sorted(set(expected)))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("10", "9"), ("9", "10")),
        ((True, False), (False, True)),
        ((2.0, 1.0), (1.0, 2.0)),
        ((" a", "b"), (" a", "b")),
        ((" a", "a", "b"), ("a", "b")),
        (("7", "7.0", "8"), ("7", "8")),
        ((7, "7", "8"), (7, "8")),
        (("x", 1), (1, "x")),
    ],
)
def test_labels_with_a_type_name_their_class_as_they_are(labels, expected):
    classes, indices = name_classes(labels, np.arange(len(labels)), "s.npz", locate, typed=True)
    assert list(map(repr, classes)) == list(map(repr, expected))
    assert [str(classes[index]).strip()[:1] for index in indices] == [
        str(each).strip()[:1] for each in labels
    ]


def test_labels_of_a_text_file_that_are_all_written_as_floats_become_floats():
    classes, _ = name_classes(("2.0", "1.0"), np.arange(2), "s.csv", locate)
    assert list(map(repr, classes)) == ["1.0", "2.0"]


def test_names_match_in_any_type_and_spelling_but_prefer_the_same_one():
    assert match_names([3, 3.0, "3", " 3", True, "x"], ["3", "True"]) == [0, 0, 0, 0, 1, -1]
    assert match_names(["1", "1.0", 1.0, " 1"], ["1", "1.0"]) == [0, 1, 1, -1]


def test_an_array_of_names_keeps_the_type_of_each():
    assert class_array((1, "a")).tolist() == [1, "a"]
    assert class_array((False, True)).dtype == bool


def test_bytes_are_names_of_text_that_become_bytes_again():
    names = tuple(map(as_class_name, (b"a ", np.bytes_(b"b"), b"\xff")))
    assert names == ("a ", "b", "\\xff")
    assert class_array(names[:2]).tolist() == [b"a ", b"b"]
    assert class_array((names[2], "a", 1)).tolist() == [b"\xff", "a", 1]
    again = pickle.loads(pickle.dumps(names[2]))
    assert (again, again.given) == (names[2], b"\xff")
    labels = [BytesName(b"7"), BytesName(b" 7"), BytesName(b"8")]
    classes, _ = name_classes(labels, np.arange(3), "s.npz", locate, typed=True)
    assert class_array(classes).tolist() == [b"7", b"8"]


def test_two_ways_to_write_a_class_are_one():
    classes, indices = name_classes(["7", "7.0", " 7", "8"], np.array([0, 1, 2, 3, 0]), "s.csv", locate)
    assert classes == (7, 8)
    assert indices.tolist() == [0, 0, 0, 1, 0]


def test_names_that_nothing_has_are_no_classes():
    classes, indices = name_classes(["", "z", "0.5", "a"], np.array([3, 1, 3]), "s.csv", locate)
    assert classes == ("a", "z")
    assert indices.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("names", "codes", "message"),
    [
        (["a", "  "], [0, 1, 1], "place 1.0: expected a label, an integer or text, found nothing"),
        (
            ["1", "0.5", "0.25"],
            [0, 1, 2],
            "place 1.0: expected a label, an integer or text, found 0.5; " + NUMBERS_REMEDY,
        ),
        (
            ["0.5", "1", "0.25"],
            [1, 2, 0],
            "place 1.0: expected a label, an integer or text, found 0.25; " + NUMBERS_REMEDY,
        ),
        (["1", "nan"], [0, 1], "place 1.0: expected a label, an integer or text, found nan"),
        (["1", "inf"], [0, 1], "place 1.0: expected a label, an integer or text, found inf"),
        (["1", "1e3"], [1], "place 0.0: expected a label, an integer or text, found 1e3; " + NUMBERS_REMEDY),
    ],
)
def test_a_label_that_is_none_or_a_fraction_has_its_place(names, codes, message):
    with pytest.raises(DataError, match=rf"^s\.csv: {re.escape(message)}$"):
        name_classes(names, np.array(codes), "s.csv", locate)


def test_there_are_at_most_65536_classes():
    codes = np.arange(65_537)
    assert len(name_classes(codes[1:].tolist(), codes[:-1], "s.csv", locate)[0]) == 65_536
    with pytest.raises(DataError, match="expected at most 65,536 classes, found 65,537"):
        name_classes(codes.tolist(), codes, "s.csv", locate)


@pytest.mark.parametrize("name", ["\x1b[2Jred", "a\x07", "run\u202ekcab", "\x9b31m", "two\u2028lines"])
def test_a_class_that_would_do_something_to_a_terminal_is_refused(name):
    with pytest.raises(DataError, match="expected printable class names") as caught:
        check_names(["run", name], "s.ts")
    assert str(caught.value).isprintable()


# --- the classes of another part


def test_labels_are_matched_by_name_with_those_of_another_part():
    part = make([[1], [2], [3]], [1, 1, 1], classes=("b", "c"), labels=[1, 0, 1])
    matched = with_classes(part, ("c", "a", "b"), "the training split")
    assert matched.classes == ("c", "a", "b")
    assert matched.targets.tolist() == [0, 2, 0]


def test_a_number_matches_the_text_that_writes_it():
    part = make([[1], [2]], [1, 1], classes=(7, 8), labels=[1, 0])
    assert with_classes(part, ("8", "7", "x"), "the training split").targets.tolist() == [0, 1]


def test_the_same_classes_change_nothing():
    part = make([[1]], [1])
    assert with_classes(part, ("a",), "the training split") is part


def test_a_class_that_the_other_part_has_not_is_refused_with_its_place():
    part = make([[1], [2], [3]], [1, 1, 1], classes=("a", "b", "c"), labels=[0, 1, 2])
    with pytest.raises(
        DataError,
        match=r"^s\.csv: place 1\.0: expected a class of the training split, one of a, c, found b$",
    ):
        with_classes(part, ("a", "c"), "the training split")
    with pytest.raises(DataError, match=r"place 0\.0: .* one of b, found a \(2 of 3 are unknown\)$"):
        with_classes(part, ("b",), "the training split")


def test_a_class_that_no_sequence_has_may_be_unknown():
    part = make([[1], [2]], [1, 1], classes=("a", "b"), labels=[0, 0])
    assert with_classes(part, ("a", "c"), "the training split").targets.tolist() == [0, 0]


def test_a_part_without_labels_has_no_classes_to_match():
    with pytest.raises(
        DataError, match=r"^s\.csv: expected labels, as the training split has them, found none$"
    ):
        with_classes(make([[1]], [1], classes=()), ("a", "b"), "the training split")
