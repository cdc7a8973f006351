"""The value that flows through the house."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.errors import DataError
from tests.conftest import make_sequences


def build(values=None, lengths=(2, 1), labels=(0, 1)) -> MemorySource:
    values = np.zeros((2, 2, 3), np.float32) if values is None else values
    return MemorySource.from_padded(values, np.array(lengths), np.array(labels), ("no", "yes"), "test.ts")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((2, 3), np.float32)}, "expected values of shape (sequences, steps, features)"),
        ({"values": np.zeros((2, 0, 3), np.float32)}, "found (2, 0, 3)"),
        ({"values": np.zeros((2, 2, 3))}, "expected uint8 or float32 values, found float64"),
        ({"lengths": (1, 2, 1)}, "2 sequences need 2 lengths, found shape (3,)"),
        ({"labels": (1,)}, "2 sequences need 2 targets, found shape (1,)"),
        ({"lengths": (2, 0)}, "sequence 1 has length 0, expected 1 to 2"),
        ({"lengths": (3, 1)}, "sequence 0 has length 3, expected 1 to 2"),
        ({"labels": (0, 2)}, "sequence 1 has target 2, expected 0 to 1"),
        ({"labels": (-1, 2)}, "sequence 0 has target -1, expected 0 to 1 (2 of 2 are out of range)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        build(**change)


def test_equal_data_has_an_equal_fingerprint_and_a_changed_value_another():
    changed = np.zeros((2, 2, 3), np.float32)
    changed[0, 1, 2] = 1
    assert build().fingerprint() == build().fingerprint()
    assert (
        len({build().fingerprint(), build(values=changed).fingerprint(), build(lengths=(2, 2)).fingerprint()})
        == 3
    )


def test_what_stands_in_the_padding_is_dropped():
    padded = np.zeros((2, 2, 3), np.float32)
    padded[1, 1] = np.nan
    assert build(values=padded).fingerprint() == build().fingerprint()
    assert build(values=padded).values[1, 1].tolist() == [0, 0, 0]


def ragged() -> MemorySource:
    """Three sequences of 2, 1 and 3 steps of one feature: 0 1, 2, 3 4 5."""
    flat = np.arange(6, dtype=np.float32)[:, None]
    ids, groups = np.array(["a", "b", "c"], object), np.array(["p", "q", "p"], object)
    return MemorySource(flat, np.array([2, 1, 3]), np.array([0, 1, 1]), ("no", "yes"), "x", ids, groups)


@pytest.mark.parametrize(
    ("index", "flat", "lengths", "ids"),
    [
        (np.array([2, 0]), [3, 4, 5, 0, 1], [3, 2], ["c", "a"]),
        (np.array([1, 1]), [2, 2], [1, 1], ["b", "b"]),
        (slice(1, None), [2, 3, 4, 5], [1, 3], ["b", "c"]),
        (slice(None, None, 2), [0, 1, 3, 4, 5], [2, 3], ["a", "c"]),
        (slice(None, None, -1), [3, 4, 5, 2, 0, 1], [3, 1, 2], ["c", "b", "a"]),
    ],
)
def test_taking_some_takes_their_steps_labels_names_and_groups(index, flat, lengths, ids):
    taken = ragged().take(index)
    assert taken.concatenated.ravel().tolist() == flat
    assert taken.lengths.tolist() == lengths
    assert taken.ids.tolist() == ids
    assert taken.targets.tolist() == [0 if name == "a" else 1 for name in ids]
    assert taken.groups.tolist() == ["q" if name == "b" else "p" for name in ids]


def test_taking_none_is_refused():
    with pytest.raises(DataError, match=r"^x: no sequence is left$"):
        ragged().take(np.array([], np.int64))


def test_values_are_padded_with_0_to_the_longest():
    assert ragged().values[:, :, 0].tolist() == [[0, 1, 0], [2, 0, 0], [3, 4, 5]]
    assert ragged().gather(np.array([1, 0])).values[:, :, 0].tolist() == [[2, 0], [0, 1]]
    assert ragged().shape == (3, 3, 1)


def test_joined_arrays_are_one_after_another():
    parts = [np.full((length, 2), length, np.float32) for length in (2, 1)]
    joined = MemorySource.from_list(parts, np.array([0, 1]), (0, 1), "x")
    assert joined.concatenated.tolist() == [[2, 2], [2, 2], [1, 1]]
    assert joined.lengths.tolist() == [2, 1]


def test_one_sequences_steps_are_its_own():
    lengths = np.array([2, 1, 3])
    part = MemorySource(np.arange(12, dtype=np.float32).reshape(6, 2), lengths, np.zeros(3, np.int64), ("a",))
    assert part.steps_of(1).tolist() == [[4, 5]]
    assert part.steps_of(2).tolist() == [[6, 7], [8, 9], [10, 11]]


def test_spread_takes_from_the_first_to_the_last_at_equal_distances():
    part = make_sequences(n=9)
    assert part.subsample(3).targets.tolist() == part.targets[[0, 4, 8]].tolist()
    np.testing.assert_array_equal(part.subsample(3).values, part.values[[0, 4, 8]])
    assert part.subsample(9) is part


def test_a_sequence_without_a_name_is_known_by_its_number():
    part = make_sequences(n=3)
    named = replace(part, ids=np.array(["x", "y", "z"]))
    assert (part.identifier(2), named.identifier(2)) == (2, "z")
    assert (part.describe(2), named.describe(2)) == ("sequence 2", "sequence z")
