"""The IDX reader, on files written by hand, byte by byte."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.errors import DataError
from scanline.formats.idx import read_idx, read_pair

compress = functools.partial(gzip.compress, mtime=0)  # the same bytes in every process

IMAGES = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 3) + bytes(range(12))
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([1, 0])


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_images_are_read_in_c_order(write):
    array = read_idx(write(IMAGES))
    assert array.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert array.dtype == np.uint8


def test_gzip_is_recognised_by_its_bytes_and_not_by_its_name(write):
    assert read_idx(write(compress(LABELS), "labels")).tolist() == [1, 0]
    assert read_idx(write(LABELS, "labels.gz")).tolist() == [1, 0]


def test_a_gzip_file_of_two_members_is_one_stream(write):
    path = write(compress(LABELS[:5]) + compress(LABELS[5:]))
    assert read_idx(path).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("code", "items", "dtype", "expected"),
    [
        (0x08, b"\xff\x01", np.uint8, [255, 1]),
        (0x09, b"\xff\x01", np.int8, [-1, 1]),
        (0x0B, b"\x01\x02\xff\xff", np.int16, [258, -1]),
        (0x0C, b"\x00\x00\x01\x00\xff\xff\xff\xff", np.int32, [256, -1]),
        (0x0D, b"\x3f\x80\x00\x00\xc0\x00\x00\x00", np.float32, [1.0, -2.0]),
        (0x0E, b"\x3f\xf0" + bytes(6) + b"\xc0\x00" + bytes(6), np.float64, [1.0, -2.0]),
    ],
)
def test_every_type_of_the_format_is_read_in_the_machines_byte_order(write, code, items, dtype, expected):
    array = read_idx(write(bytes([0, 0, code, 1]) + struct.pack(">I", 2) + items))
    assert array.tolist() == expected
    assert array.dtype == dtype
    assert array.dtype.isnative


@pytest.mark.parametrize("pack", [bytes, compress])
def test_the_digest_sees_the_uncompressed_bytes_once(write, pack):
    digest = hashlib.sha256()
    read_idx(write(pack(IMAGES)), digest=digest)
    assert digest.hexdigest() == hashlib.sha256(IMAGES).hexdigest()


def test_images_and_labels_are_read_together(write):
    images, labels = read_pair(write(IMAGES, "i"), write(LABELS, "l"), 2)
    assert images.shape == (2, 2, 3)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [1, 0]


BROKEN_CRC = bytearray(compress(IMAGES))
BROKEN_CRC[-8] ^= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: expected 4 more bytes of an IDX header, found 0"),
        (IMAGES[:3], "byte 0: expected 4 more bytes of an IDX header, found 3"),
        (IMAGES[:9], "byte 4: expected 12 more bytes of an IDX header, found 5"),
        (b"\x89PNG\r\n\x1a\n", "byte 0: not an IDX file: expected 00 00, found 89 50"),
        (compress(b"hello there"), "byte 0: not an IDX file: expected 00 00, found 68 65"),
        (b"\0\0\x0a\x01", "byte 2: expected one of the IDX types 08, 09, 0b, 0c, 0d, 0e, found 0a"),
        (b"\0\0\x08\x00", "byte 3: expected 1 to 32 dimensions, found 0"),
        (b"\0\0\x08\x21", "byte 3: expected 1 to 32 dimensions, found 33"),
        (b"\0\0\x08\x02" + struct.pack(">2I", 5, 0), "byte 8: expected at least 1 in dimension 1, found 0"),
        (IMAGES[:-1], "truncated, or damaged at bytes 4 to 15: .*2 x 2 x 3, expected 12 bytes .*, found 11"),
        (IMAGES + b"!", "byte 28: expected the end: .*2 x 2 x 3, expected 12 bytes of items, found 13"),
        (compress(IMAGES[:-1]), "truncated at byte 27: .* 2 x 2 x 3, expected 12 .*, found 11"),
        (compress(IMAGES + b"!"), "byte 28: expected the end after 2 x 2 x 3, found more bytes"),
        (compress(IMAGES)[:-9], "the gzip stream ends early, after byte"),
        (compress(IMAGES)[:-4], "the gzip stream ends early, after byte 28"),
        (
            bytes(BROKEN_CRC),
            "the gzip stream is damaged after byte 28 .*CRC check failed",
        ),
        (
            compress(IMAGES) + b"junk",
            "the gzip stream is damaged after byte 28 .*Not a gzipped",
        ),
        (
            b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20,
            "the gzip stream is damaged after byte 0",
        ),
        (b"\0\0\x08\x04" + b"\xff" * 16, "truncated, or damaged at bytes 4 to 19: .* found 0"),
        (
            compress(b"\0\0\x08\x04" + b"\xff" * 16),
            "truncated, or damaged .* a gzip file of \\d+ bytes",
        ),
    ],
)
def test_a_fault_is_one_line_with_the_place_what_was_expected_and_the_remedy(write, content, message):
    path = write(content, "some-idx")
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("; download the file again from its source")
    assert "\n" not in text


def test_the_remedy_is_the_callers(write):
    with pytest.raises(DataError, match=r"found 0; buy a new one$"):
        read_idx(write(b""), remedy="buy a new one")


def test_labels_in_place_of_images_are_named_as_such(write):
    with pytest.raises(DataError, match=r"byte 3: expected 3 dimensions \(images\), found 1 dimension \(lab"):
        read_pair(write(LABELS), write(LABELS), 2)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"nothing: expected an IDX file, found none; download"):
        read_idx(tmp_path / "nothing")


def test_a_folder_in_place_of_a_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="expected an IDX file, found a folder"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="found something that is not a regular file"):
        read_idx(tmp_path / "pipe")


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)  # holds for root too, which may read what no permission allows
    with pytest.raises(DataError, match=r"loop: cannot be read .*; download the file again"):
        read_idx(loop)


def test_different_counts_are_named_with_both_files(write):
    three = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes(3)
    with pytest.raises(DataError, match=r"l: expected 2 labels, one for each image of .*i, found 3; down"):
        read_pair(write(IMAGES, "i"), write(three, "l"), 2)


def test_a_label_out_of_range_is_named_by_item_and_byte(write):
    wrong = bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([1, 7])
    with pytest.raises(DataError, match=r"l: item 1 \(byte 9\): expected a label from 0 to 1, found 7"):
        read_pair(write(IMAGES, "i"), write(wrong, "l"), 2)


def test_pictures_of_floats_are_refused(write):
    floats = bytes([0, 0, 13, 3]) + struct.pack(">3I", 1, 1, 1) + bytes(4)
    with pytest.raises(DataError, match=r"byte 2: expected 08 \(unsigned bytes\), found float32 items"):
        read_pair(write(floats, "i"), write(LABELS, "l"), 2)


@pytest.mark.parametrize("pack", [bytes, compress])
def test_a_header_that_promises_2_to_the_40_bytes_costs_no_memory(write, pack):
    path = write(pack(bytes([0, 0, 8, 2]) + struct.pack(">2I", 2**20, 2**20) + bytes(100)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"expected 1,099,511,627,776 bytes of items"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_gzip_bomb_is_not_unpacked(write):
    path = write(compress(LABELS + bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="byte 10: expected the end after 2 items, found more bytes"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**21


def read_or_refuse(path: Path) -> None:
    """Any error but a DataError of one line fails the test that calls this."""
    message = ""
    try:
        read_idx(path)
    except DataError as error:
        message = str(error)
    assert "\n" not in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    read_or_refuse(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data(), original=st.sampled_from([IMAGES, compress(IMAGES, mtime=0)]))
def test_any_mutation_of_a_good_file_is_read_or_refused(tmp_path, data, original):
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3), label="mutations")):
        at = data.draw(st.integers(0, len(content)), label="at")
        kind = data.draw(st.sampled_from(["change", "insert", "cut"]), label="kind")
        if kind == "insert" or at == len(content):
            content[at:at] = data.draw(st.binary(min_size=1, max_size=4), label="inserted")
        elif kind == "change":
            content[at] = data.draw(st.integers(0, 255), label="value")
        else:
            del content[at:]
    path = tmp_path / "mutated"
    path.write_bytes(content)
    read_or_refuse(path)
