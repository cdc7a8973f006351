"""Values that are pixels become pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.pictures import as_pictures, picture_format
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA
from tests.data.readers.picture_files import data_settings


def source_of(values, dtype=np.float32, **settings) -> MemorySource:
    """Return a source of values whose places are lines of a file."""
    source = MemorySource.from_array(np.array(values, dtype), np.zeros(len(values), np.int64), (0,), "x.csv")
    info = SourceInfo(data_settings(**settings), lambda index, step=0: f"line {index + 2}", notes=("a note",))
    return replace(source, info=info)


def test_a_row_of_grey_levels_becomes_a_picture():
    wide = source_of([[[value] for value in range(6)], [[250] for _ in range(6)]])
    made = as_pictures(wide, (2, 3))
    assert made.values.tolist() == [[[0, 1, 2], [3, 4, 5]], [[250] * 3] * 2]
    assert made.concatenated.dtype == np.uint8
    assert made.lengths.tolist() == [2, 2]
    assert (made.info.full_scale, made.info.settings.picture, made.info.settings.colour) == (
        255,
        "2x3",
        False,
    )
    assert made.info.picture == PictureFormat(2, 3, 1, 255, "mass", 1, "contain")
    assert made.info.notes == ("a note",)


def test_a_guess_is_reported_with_the_option_that_changes_it():
    made = as_pictures(source_of([[[1], [2]]]), (1, 2), "by their names")
    assert (
        made.info.notes[1]
        == "pictures of 1 x 2 pixels, by their names (data.picture=none reads them as numbers)"
    )


def test_the_given_fit_is_kept():
    assert as_pictures(source_of([[[1], [2]]], fit="ink"), (1, 2)).info.picture.fit == "ink"


def test_coloured_values_are_read_in_colour():
    made = as_pictures(source_of([[[1, 2, 3, 4, 5, 6]]], np.uint8), (1, 2), channels=3)
    assert made.info.picture.channels == 3
    assert made.info.settings.colour is True
    assert made.values.tolist() == [[[1, 2, 3, 4, 5, 6]]]


def test_ink_in_colour_is_refused():
    message = "^data.fit must be contain, cover or stretch for pictures in colour, got ink$"
    with pytest.raises(UsageError, match=message):
        as_pictures(source_of([[[1, 2, 3]]], np.uint8, fit="ink"), (1, 1), channels=3)


@pytest.mark.parametrize(
    ("value", "seen"), [(0.5, "0.5"), (-1, "-1"), (256, "256"), (np.nan, "nothing"), (np.inf, "inf")]
)
def test_a_value_that_is_not_a_grey_level_is_named_with_its_place(value, seen):
    message = (
        r"^x\.csv: line 3, step 1, feature 0: expected a grey level, an integer from 0 to 255, "
        rf"found {seen}$"
    )
    with pytest.raises(DataError, match=message):
        as_pictures(source_of([[[1], [2]], [[3], [value]]]), (1, 2))


def test_a_wrong_number_of_values_for_the_size_is_refused():
    message = r"^x\.csv: expected 9 values a sequence, pictures of 3 x 3, found 2$"
    with pytest.raises(DataError, match=message):
        as_pictures(source_of([[[1], [2]]]), (3, 3))
    with pytest.raises(
        DataError, match=r"expected 27 values a sequence, pictures of 3 x 3 in colour, found 2$"
    ):
        as_pictures(source_of([[[1], [2]]]), (3, 3), channels=3)


def test_sequences_of_different_lengths_are_not_pictures():
    source = MemorySource(
        np.zeros((5, 1), np.float32), np.array([4, 1]), np.zeros(2, np.int64), (0,), "x.csv"
    )
    ragged = replace(source, info=source_of([[[1]]]).info)
    with pytest.raises(DataError, match=r"expected 4 values a sequence, pictures of 2 x 2, found 1 to 4$"):
        as_pictures(ragged, (2, 2))


def test_a_picture_is_never_larger_than_its_box_or_smaller_than_a_pixel():
    assert picture_format(28, 28, 1, DEFAULT_DATA).box == 20
    assert picture_format(1, 90, 1, DEFAULT_DATA).box == 1


def test_grey_levels_of_0_and_1_are_questioned():
    values = np.array([[[0, 1], [1, 0]]], np.float32)
    source = MemorySource.from_array(values, np.zeros(1, np.int64), (0,), "x")
    assert "if 1 is white" in as_pictures(source, (2, 2)).info.notes[-1]
