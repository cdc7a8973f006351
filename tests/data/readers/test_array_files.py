"""Sequences in .npz and .npy files: roles of the arrays, and invalid files."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.data.checks import check_values
from scanline.data.readers.array_files import read_npy, read_npz
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA

X = np.arange(12.0).reshape(2, 3, 2)
Y = np.array(["run", "walk"])
OBJECTS = np.array([np.zeros(2), np.zeros(3)], dtype=object)


def npy(array, **options) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array), **options)
    return content.getvalue()


def header(text: str) -> bytes:
    """An .npy file that says `text` of itself, and has no values."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.fixture
def read(tmp_path):
    def read(labelled=True, **arrays):
        np.savez(tmp_path / "ours.npz", **arrays)
        return read_npz(tmp_path / "ours.npz", DEFAULT_DATA, labelled)

    return read


@pytest.fixture
def put(tmp_path):
    def put(**contents):
        """Files of these names and contents; the path of the first."""
        for name, content in contents.items():
            (tmp_path / f"{name}.npy").write_bytes(content if isinstance(content, bytes) else npy(content))
        return tmp_path / f"{next(iter(contents))}.npy"

    return put


# --- .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_x_and_y_are_sequences_with_labels(tmp_path, save):
    save(tmp_path / "ours.npz", X=X, y=Y)
    found = read_npz(tmp_path / "ours.npz", DEFAULT_DATA)
    assert list(found) == ["all"]
    part = found["all"]
    assert np.array_equal(part.values, X)
    assert part.classes == ("run", "walk")
    assert part.targets.tolist() == [0, 1]
    assert part.groups is None


def test_names_are_read_in_any_case_and_other_arrays_are_not_looked_at(read):
    part = read(x=X, Y=[7, 8], LENGTHS=[1, 3], Groups=["a", "b"], notes=OBJECTS)["all"]
    assert part.concatenated.tolist() == [[0, 1], [6, 7], [8, 9], [10, 11]]
    assert part.lengths.tolist() == [1, 3]
    assert part.groups.tolist() == ["a", "b"]
    assert part.classes == (7, 8)


def test_two_dimensions_are_sequences_of_one_feature(read):
    assert read(X=X[:, :, 0], y=Y)["all"].shape == (2, 3, 1)


@pytest.mark.parametrize("ending", ["val", "valid", "validation"])
def test_parts_have_their_own_arrays(read, ending):
    found = read(
        **{"X_test": X[:1], "y_test": Y[:1], "X_train": X, "y_train": Y},
        **{f"X_{ending}": X[1:], f"y_{ending}": Y[1:], f"lengths_{ending}": [2]},
    )
    assert {name: part.lengths.tolist() for name, part in found.items()} == {
        "train": [3, 3],
        "validation": [2],
        "test": [3],
    }


def test_a_place_is_an_array_and_a_sequence(read, tmp_path):
    broken = X.copy()
    broken[1, 2, 0] = np.nan
    found = read(X_train=X, y_train=Y, X_test=broken, y_test=Y)
    with pytest.raises(
        DataError, match=r"ours\.npz, X_test: sequence 1, step 2, feature 0: expected a finite number"
    ):
        check_values(found["test"], missing=False)


def test_labels_may_be_absent_where_they_are_not_needed(read):
    assert read(labelled=False, X=X)["all"].classes == ()
    assert read(labelled=False, X=X, y=Y)["all"].classes == ("run", "walk")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "expected labels in an array y, found only X$"),
        (
            {"X_train": X, "y_train": Y, "X_test": X},
            "expected labels in an array y_test, found only X_train, y_tr",
        ),
        ({"data": X, "labels": Y}, "expected arrays X and y, or X_train, .*, found data, labels$"),
        ({}, "expected arrays X and y, or X_train, .*, found none$"),
        (
            {"X": X, "y": Y, "X_test": X, "y_test": Y},
            "expected an array X, or one X_train, X_val and X_test, found m",
        ),
        ({"X_val": X, "y_val": Y, "X_valid": X, "y_valid": Y}, "expected an array X, or one .*, found more"),
        ({"X": X, "x": X, "y": Y}, "expected one array X, found X and x"),
        ({"X": X[0, 0], "y": Y}, r"X: expected values of shape .*, found \(2,\)"),
        ({"X": X, "y": Y[:1]}, r"X: expected 2 labels, one for each sequence, found <U4 of shape \(1,\)"),
        ({"X": X, "y": [0.5, 1]}, "X: sequence 0: expected a label, an integer or text, found 0.5"),
        (
            {"X": X, "y": Y, "lengths": [1, 4]},
            "X: sequence 1 has length 4, expected an integer from 1 to 3",
        ),
        (
            {"X": OBJECTS, "y": Y},
            "array X: expected numbers or text, found Python objects, which are never unpickled",
        ),
        (
            {"X": X, "y": np.array(["a", "b"], object)},
            "array y: expected numbers or text, found Python objects",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(read, arrays, message):
    with pytest.raises(DataError, match=rf"ours\.npz(: |, ).*{message}") as caught:
        read(**arrays)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an .npz file of numpy.savez, found something else"),
        (b"\x89PNG\r\n\x1a\n", "expected an .npz file of numpy.savez, found something else"),
        (npy(X), "expected an .npz file of numpy.savez, found something else"),
    ],
)
def test_what_is_no_npz_file_is_a_data_error(tmp_path, content, message):
    (tmp_path / "ours.npz").write_bytes(content)
    with pytest.raises(DataError, match=rf"ours\.npz: {message}"):
        read_npz(tmp_path / "ours.npz", DEFAULT_DATA)


@pytest.mark.parametrize(
    "how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_array_is_a_data_error_that_names_it(tmp_path, how):
    path = tmp_path / "ours.npz"
    values = np.random.default_rng(0).normal(size=(4, 50, 3))
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("X.npy", npy(values))
        archive.writestr("y.npy", npy([1, 2, 1, 2]))
    assert np.array_equal(read_npz(path, DEFAULT_DATA)["all"].values, values.astype(np.float32))
    content = bytearray(path.read_bytes())
    for at in range(100, 1500, 50):
        content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"ours\.npz, array X: ((is damaged|cannot be read) \(|expected )",
    ):
        read_npz(path, DEFAULT_DATA)


def test_an_encrypted_array_is_a_data_error(tmp_path):
    path = tmp_path / "ours.npz"
    np.savez(path, X=X, y=Y)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ours\.npz, array X: cannot be read \(.*encrypted"):
        read_npz(path, DEFAULT_DATA)


def test_a_folder_and_a_missing_file_are_data_errors(tmp_path):
    for read in (read_npz, read_npy):
        with pytest.raises(DataError, match=r"cannot be read \(.*directory"):
            read(tmp_path, DEFAULT_DATA, labelled=False)
        with pytest.raises(DataError, match=r"none.* cannot be read \(.*No such file"):
            read(tmp_path / "none", DEFAULT_DATA, labelled=False)


# --- .npy


@pytest.mark.parametrize("ending", ["", "_train", "-2", ".old"])
def test_what_follows_the_x_follows_the_other_names(put, ending):
    path = put(
        **{f"X{ending}": X, f"y{ending}": Y, f"lengths{ending}": np.array([1, 2])},
        **{f"groups{ending}": np.array([5, 5])},
    )
    part = read_npy(path, DEFAULT_DATA)
    assert part.concatenated.tolist() == [[0, 1], [6, 7], [8, 9]]
    assert part.classes == ("run", "walk")
    assert part.groups.tolist() == [5, 5]


def test_a_small_x_is_one_too_and_lengths_and_groups_may_be_absent(put):
    part = read_npy(put(x=X, y=Y), DEFAULT_DATA)
    assert part.lengths.tolist() == [3, 3]
    assert part.groups is None


def test_labels_that_are_not_beside_x_are_missed_only_where_they_are_needed(put):
    path = put(X_train=X)
    with pytest.raises(DataError, match=r"X_train\.npy: expected labels in y_train\.npy, found no such file"):
        read_npy(path, DEFAULT_DATA)
    assert read_npy(path, DEFAULT_DATA, labelled=False).classes == ()


@pytest.mark.parametrize("name", ["data", "xylophone", "Xs"])
def test_an_array_of_another_name_has_no_labels_beside_it(put, name):
    path = put(**{name: X, f"y{name[1:]}": Y})
    with pytest.raises(
        DataError, match=rf"{name}\.npy: expected labels in y\.npy beside X\.npy, found no such"
    ):
        read_npy(path, DEFAULT_DATA)
    assert np.array_equal(read_npy(path, DEFAULT_DATA, labelled=False).values, X)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read_in_every_order_in_memory(put, version):
    path = put(X=npy(np.asfortranarray(X.astype(">f8")), version=version), y=Y)
    assert np.array_equal(read_npy(path, DEFAULT_DATA).values, X)


def test_a_header_of_python_2_is_read_without_a_warning(put):
    path = put(
        X=header("{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L)}\n")
        + np.float32([1, 2]).tobytes()
    )
    assert read_npy(path, DEFAULT_DATA, labelled=False).concatenated.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an array written by numpy.save"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "expected an array written by numpy.save"),
        (b"\x93NUMPY", "expected an array written by numpy.save"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "expected an array written by numpy.save"),
        (b"\x93NUMPY\x09\x09" + bytes(100), "expected an array written by numpy.save"),
        (header("{'descr': '<f4'}\n"), "expected an array written by numpy.save"),
        (
            header("__import__('os').abort()\n"),
            "expected an array written by numpy.save",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}\n"),
            "expected an array written by numpy.save",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}\n"),
            r"expected 4,000,000,000,000 bytes for shape \(1000000, 1000000\), found 80: cut off",
        ),
        (
            npy(np.zeros((9, 99)))[:-200],
            r"expected [\d,]+ bytes of values|expected 7,128 bytes for shape \(9, 99\), found 7,056: cut off",
        ),
        (npy(np.zeros((9, 99)))[:-1], r"is damaged \(|expected [\d,]+ bytes of values, found"),
        (
            npy(OBJECTS, allow_pickle=True),
            "expected numbers or text, found Python objects, which are never unpickled",
        ),
    ],
)
def test_what_is_no_array_is_a_data_error(put, content, message):
    for name in ("X", "y"):
        path = put(**({"X": X, "y": Y} | {name: content}))
        with pytest.raises(DataError, match=rf"{name}\.npy: {message}") as caught:
            read_npy(path, DEFAULT_DATA)
        assert "\n" not in str(caught.value)


# --- anything


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data(), how=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
def test_any_mutation_of_a_good_file_is_read_or_refused(tmp_path, data, how):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", how) as archive:
        archive.writestr("X.npy", npy(X))
        archive.writestr("y.npy", npy(Y))
    for name, content, read in (("ours.npz", packed.getvalue(), read_npz), ("X.npy", npy(X), read_npy)):
        mutated = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4), label="mutations")):
            mutated[data.draw(st.integers(0, len(mutated) - 1), label="at")] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans(), label="cut"):
            del mutated[data.draw(st.integers(0, len(mutated)), label="cut at") :]
        (tmp_path / name).write_bytes(mutated)
        message = ""
        try:
            read(tmp_path / name, DEFAULT_DATA, labelled=False)
        except DataError as error:
            message = str(error)
        assert len(message.splitlines()) < 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("character", [0x110000, 2**32 - 1])
def test_labels_of_characters_that_there_are_not_are_refused(tmp_path, order, character):
    labels = np.array([97, 98, 98, character], f"{order}u4").view(f"{order}U2")
    np.savez(tmp_path / "it.npz", X=np.zeros((2, 3, 1)), y=labels)
    with pytest.raises(DataError, match=r"it\.npz, X: sequence 1: expected one of the labels, .* Unicode"):
        read_npz(tmp_path / "it.npz", DEFAULT_DATA)


def test_the_names_of_medmnist_are_splits_with_labels_in_a_column(read):
    arrays = {
        f"{split}_{what}": value
        for split in ("train", "val", "test")
        for what, value in (("images", np.ones((2, 4, 4), np.uint8) * 9), ("labels", np.array([[0], [1]])))
    }
    found = read(**arrays)
    assert sorted(found) == ["test", "train", "validation"]
    assert found["train"].classes == (0, 1)
    assert found["train"].info.picture is not None


def test_texts_are_read_as_tokens(read):
    texts = np.array(["a good film today", "a very bad one indeed"])
    (source,) = read(X=texts, y=np.array(["up", "down"])).values()
    assert source.lengths.tolist() == [4, 5]
    assert [source.classes[index] for index in source.targets] == ["up", "down"]
