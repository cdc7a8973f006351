"""Checks of values, whose messages name the place in the file."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.data import checks
from scanline.data.checks import check_values, fail_at, first_wrong, to_float32
from scanline.errors import DataError
from tests.data.test_class_names import make


@pytest.mark.parametrize(
    ("row", "place"),
    [(0, "place 0.0"), (1, "place 0.1"), (2, "place 1.0"), (3, "place 2.0"), (5, "place 2.2")],
)
def test_a_row_of_all_steps_is_a_step_of_its_sequence(row, place):
    step = place[-1]
    with pytest.raises(DataError, match=rf"^s\.csv: {place}, step {step}, feature 1: odd$"):
        fail_at(make(np.zeros((6, 2), np.float32), [2, 1, 3]), row, 1, "odd")


def test_the_column_is_named_by_its_feature_if_each_step_has_them_all():
    with pytest.raises(DataError, match=r"^s\.csv: place 1\.0, column q: odd$"):
        fail_at(make(np.zeros((3, 2), np.float32), [2, 1], ("p", "q")), 2, 1, "odd")


def test_the_column_is_named_by_its_step_if_each_step_has_one():
    with pytest.raises(DataError, match=r"^s\.csv: place 1\.1, column q: odd$"):
        fail_at(make(np.zeros((5, 1), np.float32), [3, 2], ("p", "q", "r")), 4, 0, "odd")


def test_the_first_value_that_is_missing_is_refused_unless_something_may_stand_in():
    part = make([[1, 2], [3, np.nan], [np.nan, 4]], [1, 2])
    with pytest.raises(
        DataError,
        match=r"place 1\.0, step 0, feature 1: expected a finite number, found a missing value; "
        "use --missing forward-fill, zero or mean to replace missing values$",
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


def test_a_wrong_value_is_detected_in_any_bit(monkeypatch):
    monkeypatch.setattr(checks, "_ROWS", 4)
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
