"""Arrays of a Python program, as sequences."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scanline import Arrays
from scanline.data.checks import check_values
from scanline.data.labels import BytesName
from scanline.data.readers.arrays import as_numbers, from_arrays
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA

TWO = np.array([[1.0, 2], [3, 4]])  # two sequences of two steps


def read(values, labels=None, lengths=None, groups=None, **said):
    return from_arrays(values, labels, lengths, groups, settings=DEFAULT_DATA.model_copy(update=said))


# --- values


@pytest.mark.parametrize(
    "values",
    [
        TWO,
        TWO[:, :, None],
        TWO.tolist(),
        TWO[:, :, None].tolist(),
        tuple(map(tuple, TWO.tolist())),
        list(TWO),
        list(TWO[:, :, None]),
        np.array([[1, 2], [3, 4]], np.int8),
        TWO.astype(">f8"),
        TWO.astype(np.float16),
        TWO.astype(np.longdouble),
        np.asfortranarray(TWO),
        np.repeat(TWO, 2, 1)[:, ::2],
        torch.tensor(TWO, requires_grad=True),
        torch.tensor(TWO.T).T,
        torch.tensor(TWO, dtype=torch.bfloat16),
        [torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([[3], [4]])],
        [np.array([1, 2], np.int64), [3.0, 4.0]],
        [torch.tensor([1, 2]), np.array([[3.0], [4.0]])],
        pd.DataFrame(TWO),
        [pd.Series([1, 2]), pd.DataFrame({"x": [3.0, 4.0]})],
    ],
    ids=lambda values: type(values).__name__,
)
def test_two_sequences_of_two_steps_are_the_same_however_they_are_given(values):
    part = read(values)
    assert part.concatenated.tolist() == [[1], [2], [3], [4]]
    assert part.concatenated.dtype == np.float32
    assert part.lengths.tolist() == [2, 2]
    assert part.fingerprint() == read(TWO).fingerprint()


def test_an_array_holds_sequences_steps_and_features_in_this_order():
    values = np.arange(12.0).reshape(2, 3, 2)
    assert np.array_equal(read(values).values, values)
    assert np.array_equal(read(values.tolist()).values, values)


@pytest.mark.parametrize(
    "values",
    [
        [[[1, 2], [3, 4]], [[5, 6]]],
        [np.array([[1, 2], [3, 4]]), np.array([[5, 6]])],
        (torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[5.0, 6]])),
        np.array([np.array([[1, 2], [3, 4]]), np.array([[5, 6]]), None], dtype=object)[:2],
    ],
)
def test_listed_sequences_may_have_different_lengths(values):
    part = read(values)
    assert part.concatenated.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert part.lengths.tolist() == [2, 1]


def test_listed_rows_of_numbers_of_different_lengths_have_one_feature():
    part = read([[1, 2, 3], [4]])
    assert part.concatenated.tolist() == [[1], [2], [3], [4]]
    assert part.lengths.tolist() == [3, 1]


@pytest.mark.parametrize("lengths", [[1, 2], (1.0, 2.0), np.array([1, 2], np.uint8), torch.tensor([1, 2])])
def test_what_lies_past_a_length_is_not_looked_at(lengths):
    found = read(np.array([[[1.0], [np.nan]], [[3.0], [4.0]]]), lengths=lengths)
    check_values(found, missing=False)
    assert found.concatenated.tolist() == [[1], [3], [4]]
    assert found.lengths.tolist() == [1, 2]


def test_a_place_is_a_sequence_and_a_step():
    found = read([[1.0, 2.0], [3.0, np.nan]])
    assert found.info.locate(1, 1) == "sequence 1"
    with pytest.raises(
        DataError, match=r"^the given values: sequence 1, step 1, feature 0: expected a finite"
    ):
        check_values(found, missing=False)


def test_a_number_too_large_for_32_bits_is_refused_later_and_not_warned_of():
    with pytest.raises(
        DataError, match="sequence 0, step 1, feature 0: expected a finite number, found -inf"
    ):
        check_values(read([[1.0, -1e39]]), missing=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "expected an array of numbers, found object"),
        ({"x": [1]}, "expected an array of numbers, found object"),
        ("text", "expected an array of numbers, found <U4"),
        (7, r"expected values of shape \(sequences, steps, features\) or .*, none of them 0, found \(\)"),
        ([], r"none of them 0, found \(0,\)"),
        ([1, 2], r"none of them 0, found \(2,\)"),
        ([[], []], r"none of them 0, found \(2, 0\)"),
        (np.zeros((0, 3)), r"none of them 0, found \(0, 3\)"),
        (np.zeros((0, 2, 2, 3)), r"none of them 0, found \(0, 2, 2, 3\)"),
        (np.zeros((2, 2, 2, 2)), r"none of them 0, found \(2, 2, 2, 2\)"),
        (np.array(None, dtype=object), "expected an array of numbers, found object"),
        (np.array([], dtype=object), "found no sequence"),
        ([None, None], "sequence 0: expected an array of numbers, found object"),
        ([np.zeros(2), "x"], "sequence 1: expected an array of numbers, found <U1"),
        (
            [np.zeros(2), np.zeros((0, 1))],
            r"sequence 1: expected shape \(steps, features\) or .* found \(0, 1\)",
        ),
        ([[1, 2], []], r"sequence 1: expected shape .*, neither of them 0, found \(0,\)"),
        ([np.zeros(2), np.zeros((1, 1, 1))], r"sequence 1: expected shape .*found \(1, 1, 1\)"),
        ([np.float64(1), np.float64(2)], r"sequence 0: expected shape .*found \(\)"),
        (
            [np.zeros((2, 3)), np.zeros((2, 4))],
            r"sequence 1: expected 3 features as in sequence 0, found .*\(2, 4\)",
        ),
        ([[[1, 2], [3]]], "sequence 0: expected an array of numbers, found something else"),
        ([[1, [2, 3]]], "sequence 0: expected an array of numbers, found something else"),
        (np.ones((1, 2), complex), "expected an array of numbers, found complex128"),
        (np.array([["1", "2"]]), "expected an array of numbers, found <U1"),
        (np.array([["2026-01-31"]], "M8[D]"), r"expected an array of numbers, found datetime64\[D\]"),
        (np.zeros(3, [("a", "f4")]), "expected an array of numbers, found "),
        (np.array([[1, None]], dtype=object), "sequence 0: expected an array of numbers, found object"),
        ([[10**30]], "sequence 0: expected an array of numbers, found object"),
        (
            np.ma.array([[1, 2]], mask=[[0, 1]]),
            "masked arrays are not supported; fill them, and give lengths if",
        ),
        ([np.ma.array([1, 2], mask=[0, 1])], "sequence 0: masked arrays are not supported"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), "expected an array of numbers, found object"),
        (torch.zeros(2, 2).to_sparse(), "expected an array of numbers, found something else"),
        (torch.zeros(2, 2, device="meta"), "expected an array of numbers, found something else"),
        (
            [[torch.tensor(1.0, requires_grad=True)]],
            "sequence 0: expected an array of numbers, found something else",
        ),
        (torch.zeros(1, 2, dtype=torch.complex64), "expected an array of numbers, found complex64"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_sequences_is_refused_in_one_line(values, message):
    with pytest.raises(DataError, match=f"^the given values: .*{message}") as caught:
        read(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([0, 1], "sequence 0 has length 0, expected an integer from 1 to 2"),
        ([1, 3], "sequence 1 has length 3, expected an integer from 1 to 2"),
        ([-1, 1], "sequence 0 has length -1, expected an integer from 1 to 2"),
        ([1, 1.5], "sequence 1 has length 1.5, expected an integer from 1 to 2"),
        ([np.inf, 1], "sequence 0 has length inf, expected an integer from 1 to 2"),
        ([1, np.nan], "sequence 1 has length nan, expected an integer from 1 to 2"),
        ([1], r"expected 2 integers as lengths, found int64 of shape \(1,\)"),
        ([[1, 2]], r"expected 2 integers as lengths, found int64 of shape \(1, 2\)"),
        (2, r"expected 2 integers as lengths, found int64 of shape \(\)"),
        ([True, True], "expected 2 integers as lengths, found bool"),
        (["1", "2"], "lengths: expected an array of numbers, found <U1"),
        ([[1], [1, 2]], "lengths: expected an array of numbers, found something else"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(DataError, match=f"^the given values: {message}"):
        read(TWO, lengths=lengths)


def test_listed_sequences_have_their_own_lengths():
    with pytest.raises(DataError, match="a list of sequences needs no lengths, found lengths"):
        read(list(TWO), lengths=[1, 2])
    assert read(TWO.tolist(), lengths=[1, 2]).lengths.tolist() == [1, 2]


def test_numbers_are_not_copied_where_they_need_not_be():
    values = np.zeros((2, 3, 4), np.float32)
    assert np.shares_memory(read(values).concatenated, values)
    assert np.shares_memory(as_numbers(torch.from_numpy(values), "x"), values)


# --- labels and groups


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([5, -3], (5, -3)),
        ([2.0, 1.0], (2.0, 1.0)),
        (["b", "a"], ("b", "a")),
        (["10", "9"], ("10", "9")),
        (["007", "9"], ("007", "9")),
        ([b"b", "é".encode()], (BytesName(b"b"), BytesName("é".encode()))),
        (np.array([b"b", b"\xe9"]), (BytesName(b"b"), BytesName(b"\xe9"))),
        ([True, False], (True, False)),
        (["b", 1], ("b", "1")),
        (np.array([2, 1], np.uint8), (2, 1)),
        (np.array([2, 1], object), (2, 1)),
        (np.array([2**63 + 1, 1], np.uint64), (9223372036854775809, 1)),
        ([decimal.Decimal("2.0"), decimal.Decimal(1)], (2, 1)),
        (torch.tensor([2, 1]), (2, 1)),
        (torch.tensor([2.0, 1.0], requires_grad=True), (2.0, 1.0)),
        ([torch.tensor(2), torch.tensor(1)], (2, 1)),
        (pd.Series(["b", "a"], index=[7, 8]), ("b", "a")),
        (pd.Categorical(["b", "a"], categories=["b", "never", "a"]), ("b", "a")),
        (pd.array([2, 1], dtype="Int64"), (2, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_are_whole_numbers_or_text_of_any_kind(labels, expected):
    part = read(TWO, labels)
    found = tuple(part.classes[label] for label in part.targets)
    assert (found, list(map(type, found))) == (expected, list(map(type, expected)))
    assert sorted(part.classes, key=repr) == sorted(expected, key=repr)


@pytest.mark.skipif(
    not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2"
)
def test_labels_may_be_numpys_text_of_any_length():
    assert read(TWO, np.array(["b", "a"], np.dtypes.StringDType())).classes == ("a", "b")


def test_without_labels_there_are_no_classes():
    part = read(TWO)
    assert (part.classes, part.targets.tolist()) == ((), [0, 0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1], r"expected 2 labels, one for each sequence, found int64 of shape \(1,\)"),
        ([[1], [2]], r"expected 2 labels, one for each sequence, found int64 of shape \(2, 1\)"),
        (7, r"expected 2 labels, one for each sequence, found int64 of shape \(\)"),
        ("ab", r"expected 2 labels, one for each sequence, found <U2 of shape \(\)"),
        ([[1], [1, 2]], "expected 2 labels, found something else"),
        ([1j, 2], "expected 2 labels, one for each sequence, found complex128"),
        (np.array(["2026", "2027"], "M8[Y]"), "expected 2 labels, one for each sequence, found datetime64"),
        (["a", None], "sequence 1: expected one of the labels, an integer or text, found None"),
        (["a", float("nan")], "sequence 1: expected one of the labels, an integer or text, found nan"),
        ([float("nan"), 1.0], "sequence 0: expected one of the labels, an integer or text, found nan"),
        ([pd.NA, "a"], "sequence 0: expected one of the labels, an integer or text, found <NA>"),
        ([pd.NaT, "a"], "sequence 0: expected one of the labels, an integer or text, found NaT"),
        (pd.Series(["a", None]), "sequence 1: expected one of the labels, an integer or text, found"),
        (
            pd.array([1, None], dtype="Int64"),
            "sequence 1: expected one of the labels, an integer or text",
        ),
        (["", "b"], "sequence 0: expected one of the labels, an integer or text, found ''"),
        (["b", " "], "sequence 1: expected a label, an integer or text, found nothing"),
        ([{1}, {2}], r"sequence 0: expected one of the labels, an integer or text, found \{1\}"),
        (np.array([[1], None, 2], object)[:2], r"sequence 0: expected one of the labels, .*, found \[1\]"),
        ([1.0, 0.5], "sequence 1: expected a label, an integer or text, found 0.5"),
        ([1.0, float("inf")], "sequence 1: expected a label, an integer or text, found inf"),
        (
            np.ma.array([1, 2], mask=[0, 1]),
            "masked labels are not supported; remove the sequences without",
        ),
        (torch.zeros(2, dtype=torch.bfloat16), "expected 2 labels, found something else"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_label_is_refused_in_one_line(labels, message):
    with pytest.raises(DataError, match=f"^the given values: {message}") as caught:
        read(TWO, labels)
    assert "\n" not in str(caught.value)


def test_groups_are_kept_and_refused_as_labels_are():
    assert read(TWO, [0, 1], groups=["ann", "bob"]).groups.tolist() == ["ann", "bob"]
    assert read(TWO, [0, 1], groups=[7, 7]).groups.tolist() == [7, 7]
    assert read(TWO).groups is None
    for groups, message in (
        ([1], r"expected 2 groups, one for each sequence, found int64 of shape \(1,\)"),
        (["ann", None], "sequence 1: expected one of the groups, an integer or text, found None"),
        ([1.0, np.nan], "sequence 1: expected one of the groups, an integer or text, found nan"),
    ):
        with pytest.raises(DataError, match=message):
            read(TWO, [0, 1], groups=groups)


# --- pictures


def test_bytes_are_pictures_with_a_note():
    values = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    found = read(values)
    assert found.info.picture is not None
    assert (found.info.picture.height, found.info.picture.width, found.info.full_scale) == (3, 2, 255)
    assert np.array_equal(found.values, values)
    (note,) = found.info.notes
    assert note.startswith(
        "the given values: read as pictures of 3 x 2 pixels, because they are bytes (data.picture="
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_of_four_dimensions_are_pictures_in_colour_or_grey(channels):
    values = np.arange(12 * channels, dtype=np.uint8).reshape(2, 3, 2, channels)
    for each in (values, torch.from_numpy(values)):
        found = read(each)
        assert (found.info.picture.height, found.info.picture.width, found.info.picture.channels) == (
            3,
            2,
            channels,
        )
        assert np.array_equal(found.values, values.reshape(2, 3, 2 * channels))


def test_bytes_are_no_pictures_if_that_is_said_or_they_have_one_feature_or_different_lengths():
    values = np.zeros((2, 3, 2), np.uint8)
    for found in (read(values, picture="none"), read(values[:, :, 0]), read([values[0], values[1, :2]])):
        assert found.info.picture is None
        assert found.concatenated.dtype == np.uint8
        assert found.info.notes == ()


def test_whole_floats_are_pictures_if_a_size_is_given():
    assert read([[0.0, 1, 2, 255]], picture="2x2").values.tolist() == [[[0, 1], [2, 255]]]
    with pytest.raises(
        DataError, match=r"sequence 0, step 1, feature 0: expected a grey level, .*found 0\.5"
    ):
        read([[0.0, 0.5, 2, 255]], picture="2x2")


# --- parts


def test_arrays_are_one_part_or_several():
    assert {name: len(part) for name, part in Arrays(TWO, [0, 1]).read(DEFAULT_DATA).items()} == {"all": 2}
    parts = Arrays(TWO, [0, 1], test=(TWO[:1], [1]), validation=[TWO, [1, 0], [1, 2]]).read(DEFAULT_DATA)
    assert list(parts) == ["train", "test", "validation"]
    assert parts["validation"].lengths.tolist() == [1, 2]
    assert list(Arrays(TWO, [0, 1], validation=(TWO, [1, 0])).read(DEFAULT_DATA)) == ["all", "validation"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (TWO, "the test split: expected .values, labels. or .values, labels, lengths., found ndarray"),
        ((TWO,), "the test split: expected .*, found 1 items"),
        ((TWO, [0, 1], [1, 2], [0, 0]), "the test split: expected .*, found 4 items"),
        ((TWO, None), "the test split: expected .*, found no labels"),
        ((TWO, [0]), "the test split: expected 2 labels, one for each sequence, found int64"),
    ],
)
def test_an_invalid_split_is_refused(part, message):
    with pytest.raises(DataError, match=message):
        Arrays(TWO, [0, 1], test=part).read(DEFAULT_DATA)


def test_arrays_to_train_on_have_labels():
    with pytest.raises(DataError, match="the given values: expected labels to train on, found None"):
        Arrays(TWO, None).read(DEFAULT_DATA)


# --- anything

numbers = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2) | st.binary(max_size=2)
)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@given(values=nested, labels=st.none() | nested, lengths=st.none() | nested)
def test_anything_is_read_or_refused(values, labels, lengths):
    message = ""
    try:
        check_values(read(values, labels, lengths), missing=False)
    except DataError as error:
        message = str(error)
    assert len(message.splitlines()) < 2


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist, list])
def test_booleans_of_pictures_are_black_and_white_and_of_sequences_features(kind):
    array = np.array([[[True, False], [False, True]]])
    pictures = from_arrays(kind(array), settings=DEFAULT_DATA.model_copy(update={"picture": "2x2"}))
    np.testing.assert_array_equal(pictures.values, array * 255)
    assert pictures.dtype == np.uint8
    sequences = from_arrays(kind(array), settings=DEFAULT_DATA)
    np.testing.assert_array_equal(sequences.values, array.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_numbers_of_0_and_1_are_questioned_as_pictures(dtype):
    values, settings = np.eye(2)[None], DEFAULT_DATA.model_copy(update={"picture": "2x2"})
    with pytest.raises(
        DataError, match=r"none above 1, .*; give booleans if 1 is white, and unsigned bytes if"
    ):
        from_arrays(values.astype(dtype), settings=settings)
    assert from_arrays(values.astype(np.uint8), settings=settings).values.max() == 1
