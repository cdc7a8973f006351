"""Files of h5py are read as h5py reads them; damaged and unsupported ones are refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from scanline.errors import FormatError
from scanline.formats.hdf5 import Hdf5

NUMBERS = np.random.default_rng(0).normal(size=(7, 5))
LIMIT = 2**20


def written(fill: Callable[[Any], Any], **how: Any) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", **how) as file:
        fill(file)
    return content.getvalue()


def at(file: Hdf5, *path: str) -> int:
    address = file.root
    for name in path:
        found = file.members(address)[name]
        assert found is not None
        address = found
    return address


def read(content: bytes, *path: str) -> np.ndarray:
    file = Hdf5(content)
    return file.read(file.data_set(at(file, *path)), LIMIT)


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
def test_numbers_are_read_as_they_were_written(dtype, libver):
    def fill(file):
        file["a/b/numbers"] = NUMBERS.astype(dtype)
        file["a/one"] = np.array(2.5, dtype)

    content = written(fill, libver=libver)
    found = read(content, "a", "b", "numbers")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, NUMBERS.astype(dtype))
    assert read(content, "a", "one") == 2.5


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": (7, 5)},
        {"chunks": (2, 2)},
        {"chunks": (2, 2), "compression": "gzip"},
        {"chunks": (3, 1), "compression": "gzip", "shuffle": True},
        {"chunks": (16, 16), "maxshape": (None, None), "shuffle": True},
        {"chunks": (1, 1), "compression": "gzip", "compression_opts": 9},  # more than one node of the tree
    ],
)
def test_pieces_are_put_together(how):
    content = written(lambda file: file.create_dataset("numbers", data=NUMBERS, **how))
    np.testing.assert_array_equal(read(content, "numbers"), NUMBERS)


def test_numbers_that_stand_in_the_header_are_read():
    def fill(file):
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_layout(h5py.h5d.COMPACT)
        space, kind = h5py.h5s.create_simple(NUMBERS.shape), h5py.h5t.IEEE_F64LE
        made = h5py.h5d.create(file.id, b"numbers", kind, space, settings)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, NUMBERS)

    np.testing.assert_array_equal(read(written(fill), "numbers"), NUMBERS)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100, 2000])
def test_all_members_of_a_group_are_found(count):
    end = "é" if count < 9 else ""  # with which HDF5 takes another kind of group, and for more another still
    names = {f"member {index} {end}" for index in range(count)}

    def fill(file):
        for name in names:
            file.create_group(f"here/{name}")

        file.require_group("here")

    file = Hdf5(written(fill))
    assert file.members(at(file, "here")).keys() == names
    assert all(file.is_group(at(file, "here", name)) for name in list(names)[:5])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_links_to_elsewhere_lead_nowhere(libver):
    def fill(file):
        file["real"] = NUMBERS
        file["again"] = file["real"]
        file["soft"] = h5py.SoftLink("/real")
        file["outside"] = h5py.ExternalLink("other.h5", "/x")

    file = Hdf5(written(fill, libver=libver))
    members = file.members(file.root)
    assert members["soft"] is None
    assert members["outside"] is None
    assert members["again"] == members["real"]
    assert not file.is_group(at(file, "real"))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("text", ["", "x", "é" * 5000, "with\nlines"])
def test_texts_are_read(text, libver):
    def fill(file):
        file.attrs["before"] = 7
        file.attrs["any length"] = text
        file.attrs["other"] = "y" * 100_000 if libver == "earliest" else "y"
        if text:
            file.attrs["fixed"] = np.bytes_(text.encode())

    file = Hdf5(written(fill, libver=libver))
    assert file.text(file.root, "any length", LIMIT) == text.encode()
    assert file.text(file.root, "fixed", LIMIT) == (text.encode() if text else None)
    assert file.text(file.root, "none", LIMIT) is None


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.create_dataset("x", data=[1, 2]), "found whole numbers of 8 bytes"),
        (lambda f: f.create_dataset("x", data=NUMBERS.astype(complex)), "found something else of 16 bytes"),
        (
            lambda f: f.create_dataset("x", data=NUMBERS.astype(np.longdouble)),
            "of another layout of 16",
        ),
        (lambda f: f.create_dataset("x", data=b"text"), "found .*text of"),
        (
            lambda f: f.create_dataset("x", data=NUMBERS, fletcher32=True),
            "packed by HDF5's filter 3; expected",
        ),
        (lambda f: f.create_dataset("x", data=NUMBERS, compression="lzf"), "packed by HDF5's filter 32000"),
        (lambda f: f.create_dataset("x", (7, 5), "f4"), "expected 140 bytes of values, found 0 in the file"),
        (
            lambda f: f.create_dataset("x", (7, 5), "f4", chunks=(2, 2)),
            "expected 140 bytes in 12 chunks, found 0",
        ),
        (
            lambda f: f.create_dataset("x", (10**4, 10**4), "f4"),
            "expected at most 1,048,576 bytes of values",
        ),
        (lambda f: f.create_group("x"), "expected a data set at byte [\\d,]+, found none"),
        (
            lambda f: f.create_dataset("x", (7, 5), "f4", external=[("/etc/passwd", 0, 140)]),
            "its values are in another file, which is refused",
        ),
    ],
)
def test_values_of_another_kind_are_refused(fill, message):
    with pytest.raises(FormatError, match=message):
        read(written(fill), "x")


def test_what_a_newer_library_lays_out_otherwise_is_refused():
    content = written(lambda f: f.create_dataset("x", data=NUMBERS, chunks=(2, 2)), libver="latest")
    with pytest.raises(FormatError, match=r"layout of its values \(version \d, class 2\) is not supported"):
        read(content, "x")
    content = written(lambda f: [f.create_group(str(index)) for index in range(9)], libver="latest")
    with pytest.raises(FormatError, match="stores its links in a fractal heap, which is not supported"):
        Hdf5(content).members(Hdf5(content).root)


def test_a_text_must_be_one_and_no_longer_than_allowed():
    def fill(file):
        file.attrs["many"] = ["a", "b"]
        file.attrs["number"] = 7
        file.attrs["long"] = "x" * 101

    file = Hdf5(written(fill))
    for name, message in (
        ("many", "expected many to be one text, found something else"),
        ("number", "expected number to be one text, found whole numbers"),
        ("long", "expected long to be at most 100 bytes, found 101"),
    ):
        with pytest.raises(FormatError, match=message):
            file.text(file.root, name, 100)


def test_a_text_longer_than_its_place_is_refused():
    content = bytearray(written(lambda file: file.attrs.__setitem__("said", "some text")))
    heap = content.index(b"GCOL")
    reference = content.index(struct.pack("<IQ", 9, heap))
    content[reference : reference + 4] = b"\xff\xff\xff\xff"  # for which HDF5 takes 4 GiB
    file = Hdf5(bytes(content))
    with pytest.raises(FormatError, match=r"expected a text of 4,294,967,295 bytes at byte [\d,]+, found 9"):
        file.text(file.root, "said", LIMIT)


def test_a_heap_from_which_hdf5_does_not_return_is_refused():
    content = bytearray(written(lambda file: file.attrs.__setitem__("said", "some text")))
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)  # a free piece, 0 bytes long
    file = Hdf5(bytes(content))
    with pytest.raises(FormatError, match=f"expected text 1 in the heap at byte {heap:,}, found none"):
        file.text(file.root, "said", LIMIT)


def test_a_free_list_along_which_hdf5_takes_all_memory_is_not_followed():
    content = bytearray(written(lambda file: file.create_dataset("x", data=NUMBERS)))
    heap = content.index(b"HEAP")
    free, start = (struct.unpack_from("<Q", content, heap + place)[0] for place in (16, 24))
    struct.pack_into("<Q", content, start + free, free)  # the next free piece is this one
    np.testing.assert_array_equal(read(bytes(content), "x"), NUMBERS)


def test_an_invalid_tree_is_refused():
    content = bytearray(written(lambda file: [file.create_group(str(index)) for index in range(2000)]))
    places = [place for place in range(len(content) - 4) if content[place : place + 4] == b"TREE"]
    root = next(place for place in places if content[place + 5] > 0)  # its level
    struct.pack_into("<Q", content, root + 32, root)  # its first child is itself
    file = Hdf5(bytes(content))
    with pytest.raises(FormatError, match=f"expected a tree, found byte {root:,} twice in it"):
        file.members(file.root)


@pytest.mark.parametrize("size", [0, 7, 8, 9, 40, 96, 200])
def test_a_file_that_ends_too_soon_is_refused(size):
    content = written(lambda file: file.create_dataset("x", data=NUMBERS))[:size]
    with pytest.raises(FormatError, match="expected"):
        Hdf5(content).members(Hdf5(content).root)


def test_a_piece_that_unpacks_to_more_than_it_should_is_refused():
    def fill(file):
        made = file.create_dataset("x", NUMBERS.shape, "f8", chunks=NUMBERS.shape, compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**6)))

    with pytest.raises(FormatError, match="expected a chunk of 280 bytes, found 281"):
        read(written(fill), "x")


def everything(file: Any) -> None:
    file["a/b/numbers"] = NUMBERS
    file.create_dataset("a/pieces", data=NUMBERS, chunks=(2, 3), compression="gzip", shuffle=True)
    file["soft"] = h5py.SoftLink("/a")
    file.attrs["said"] = "some text"


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@hypothesis.settings(deadline=None, max_examples=400)
@hypothesis.given(data=st.data())
def test_any_mutation_is_read_or_damaged(libver, data):
    content = bytearray(written(everything, libver=libver))
    for _ in range(data.draw(st.integers(1, 6), label="mutations")):
        place = data.draw(st.integers(0, len(content) - 1), label="at")
        what = data.draw(st.sampled_from([b"\0", b"\xff", b"\x01", bytes(8), b"\xff" * 8, content[:8]]))
        content[place : place + len(what)] = what
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content)), label="cut at") :]
    try:
        file = Hdf5(bytes(content))
        file.text(file.root, "said", LIMIT)
        open_groups = [file.root]
        for _ in range(9):
            for address in file.members(open_groups.pop() if open_groups else file.root).values():
                if address is not None and file.is_group(address):
                    open_groups.append(address)
                elif address is not None:
                    assert file.read(file.data_set(address), LIMIT).nbytes <= LIMIT
    except FormatError:
        pass
