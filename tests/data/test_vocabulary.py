"""Vocabularies: ids of categories, fitted to the training split."""

import numpy as np
import pytest

from scanline.data.vocabulary import MISSING, UNKNOWN, Vocabulary
from scanline.errors import UsageError

NAMES = ("b", "", "a", "rare", "never")
CODES = np.array([0, 0, 1, 2, 2, 2, 3], np.float32)


def test_ids_are_by_falling_count_after_missing_and_unknown():
    vocabulary = Vocabulary.fit(0, NAMES, CODES, 1)
    assert vocabulary.names == ("a", "b", "rare")
    assert vocabulary.ids(["", "a", "b", "rare", "never", "else"]).tolist() == [0, 2, 3, 4, 1, 1]
    assert [vocabulary.name_of(number) for number in range(5)] == ["", "(unknown)", "a", "b", "rare"]


def test_rare_categories_are_unknown():
    vocabulary = Vocabulary.fit(0, NAMES, CODES, 2)
    assert vocabulary.names == ("a", "b")
    assert vocabulary.id_of("rare") == UNKNOWN
    assert vocabulary.id_of("") == MISSING


def test_too_many_categories_are_refused_with_the_setting_that_helps():
    names = tuple(f"w{number}" for number in range(65_537))
    with pytest.raises(UsageError, match=r"at most 65,536 categories.*input.minimum_count above 1"):
        Vocabulary.fit(0, names, np.arange(65_537, dtype=np.float32), 1)


@pytest.mark.parametrize("names", [("a", "a"), ("\ud800",)])
def test_names_from_a_file_must_be_distinct_text(names):
    with pytest.raises(ValueError, match="expected"):
        Vocabulary(0, names)
