"""Damaged, unsupported and hostile TensorFlow checkpoints are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanline.errors import FormatError
from scanline.formats.crc32c import crc32c
from scanline.formats.tensor_bundle import open_bundle
from tests.formats.bundles import IN_ONE_FOLDER, SMALL, assert_refused, equal_bytes, read_floats
from tests.interchange import checkpoints
from tests.interchange.checkpoints import entry, field, header, sealed, table, varint, write


def read_or_refused(path: Path, message: str) -> dict[str, np.ndarray] | None:
    """Return the variables, or None if reading is refused with `message`."""
    try:
        return read_floats(path)
    except FormatError:
        assert_refused(path, message)
        return None


def test_the_old_format_is_refused_by_name(tmp_path):
    old = tmp_path / "model.ckpt"
    old.write_bytes(table([(b"", b"x"), (b"w", bytes(40))]))
    message = r"model\.ckpt: TensorFlow checkpoints in the old format \(V1\).*SaverDef\.V2"
    assert_refused(old, message)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"')
    assert_refused(tmp_path, message)
    old.rename(tmp_path / "model.ckpt-00000-of-00001")
    assert_refused(old, r"ckpt-00000-of-00001: TensorFlow checkpoints in the old format")


def test_a_compressed_index_is_refused_by_name(small_checkpoint):
    index = small_checkpoint.with_name("model.ckpt.index")
    items = [(b"", header()), (b"w", entry(1, (), 0, 0, 4, 0))]
    index.write_bytes(table(items, compression=1))
    assert_refused(
        small_checkpoint, r"index: the block at byte 0: compressed \(Snappy\), which is not supported"
    )
    index.write_bytes(table(items, compression=9))
    assert_refused(small_checkpoint, r"compressed \(method 9\)")


def test_every_truncation_of_the_index_is_refused(small_checkpoint):
    index = small_checkpoint.with_name("model.ckpt.index")
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        assert_refused(small_checkpoint, r"model\.ckpt\.index: ")


def test_every_flipped_bit_of_the_index_is_refused_or_changes_nothing(small_checkpoint):
    index, expected = small_checkpoint.with_name("model.ckpt.index"), read_floats(small_checkpoint)
    whole, harmless = index.read_bytes(), 0
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        index.write_bytes(changed)
        if found := read_or_refused(small_checkpoint, r"model\.ckpt\.index: "):
            assert equal_bytes(found, expected), bit
            harmless += 1
    assert harmless < 8 * 40  # only in the padding of the footer


def test_blocks_in_another_order_are_refused(small_checkpoint):
    parts = [sealed(checkpoints.block([item])) for item in ((b"", header()), (b"w", b""))]
    places = [0, len(parts[0])]
    index = [(b"w", varint(places[one]) + varint(len(parts[one]) - 5)) for one in (1, 0)]
    small_checkpoint.with_name("model.ckpt.index").write_bytes(checkpoints.with_index(b"".join(parts), index))
    assert_refused(small_checkpoint, r"the index: expected a data block after byte 39, found 00 11")


def test_every_byte_of_the_data_has_a_checksum_that_names_its_variable(small_checkpoint):
    path = small_checkpoint.with_name("model.ckpt.data-00000-of-00001")
    whole, found = path.read_bytes(), open_bundle(small_checkpoint).entries
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        (name,) = [n for n, one in found.items() if one.offset <= place < one.offset + one.size]
        assert_refused(
            small_checkpoint, rf"data-00000-of-00001: {name}, bytes [\d, to]+: expected the checksum"
        )


def test_every_truncation_of_the_data_is_refused(small_checkpoint):
    path = small_checkpoint.with_name("model.ckpt.data-00000-of-00001")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert_refused(
            small_checkpoint,
            r"data-00000-of-00001: truncated, expected [\w/]+ in bytes [\d, to]+, found \d+ bytes",
        )


def test_data_that_shrinks_while_it_is_read_is_refused(small_checkpoint):
    bundle = open_bundle(small_checkpoint)
    small_checkpoint.with_name("model.ckpt.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(FormatError, match="rnn/kernel, bytes"):
        bundle.read("rnn/kernel")


def replaced(key: bytes, value: bytes):
    return lambda items: [(k, value if k == key else v) for k, v in items]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda items: [], "expected the header under the empty key, found none"),
        (lambda items: items[1:], "expected the header under the empty key, found none"),
        (replaced(b"", header(0)), "the header: expected 1 to 99,999 data files, found 0"),
        (replaced(b"", header(10**6)), "expected 1 to 99,999 data files, found 1,000,000"),
        (replaced(b"", header(1, big=1)), "expected numbers in little-endian order, found big-endian order"),
        (
            replaced(b"", header(1, needs=2)),
            "expected version 1 of the format, found .* version 2",
        ),
        (replaced(b"", field(1, b"x")), "expected a number in field 1, found 1 bytes"),
        (replaced(b"a", b"\xff"), "a: expected a number of at most 64 bits before byte 1, found none"),
        (replaced(b"a", b"\xff" * 9 + b"\x7f\1"), "a: expected a number of at most 64 bits"),
        (replaced(b"a", b"\x0a\x7f"), "a: expected a field of at most 0 bytes in a message, found tag 10"),
        (replaced(b"a", b"\x0b\x0c"), "a: expected a field of at most 1 bytes in a message, found tag 11"),
        (replaced(b"a", field(1, 1) + field(2, 3)), "a: expected a message in field 2, found the number 3"),
        (
            replaced(b"a", entry(1, (2,), 0, 0, 9, 0)),
            r"a: expected 8 bytes for float32 \(2,\), found 9",
        ),
        (
            replaced(b"a", entry(1, (2**62, 2**62), 0, 0, 8, 0)),
            r"a: expected [\d,]+ bytes for float32 \(4611686018427387904, 4611.*, found 8",
        ),
        (replaced(b"a", entry(1, (2**64 - 1,), 0, 0, 8, 0)), "a: expected a shape of at most 32 dimensions"),
        (replaced(b"a", entry(1, (1,) * 33, 0, 0, 4, 0)), "a: expected a shape of at most 32 dimensions"),
        (
            replaced(b"a", entry(1, (2,), 1, 0, 8, 0)),
            "a: expected bytes in one of 1 data files, found 8 at 0 of",
        ),
        (replaced(b"a", entry(1, (2,), 0, 2**63, 8, 0)), "a: expected bytes in one of 1 data files"),
        (replaced(b"a", entry(1, (2,), 0, 1, 8, 0)), "rnn/bias: expected bytes in .* from byte 9"),
        (
            replaced(b"a", entry(1, (2**40,), 0, 0, 2**42, 0)),
            r"truncated, expected a in bytes 0 to 4,398,046,511,104, found 52 bytes",
        ),
        (lambda items: [*items, (b"a", b"")], "expected keys in rising order, found 'a' after 'step'"),
        (lambda items: [*items, (b"z\xff", b"")], r"expected names of variables, found 'z\\xff'"),
        (lambda items: [*items, (b"z\n", b"")], r"expected names of variables, found 'z\\n'"),
        (lambda items: [*items, (b"z" * 513, b"")], "expected a key of at most 512 bytes"),
        (lambda items: [*items, (b"z", bytes(2**16 + 1))], "a value of at most 65536"),
    ],
)
def test_an_impossible_index_is_refused(tmp_path, edit, message):
    assert_refused(write(tmp_path, SMALL, edit=edit), message)


def test_the_unpacked_size_of_keys_is_bounded(small_checkpoint):
    index = small_checkpoint.with_name("model.ckpt.index")
    body = varint(0) + varint(500) + varint(0) + b"k" * 500
    body += b"".join(varint(500) + varint(3) + varint(0) + f"{i:03d}".encode() for i in range(1000))
    bomb = sealed(body + bytes(4) + b"\1\0\0\0")
    blocks = 25
    handles = [(b"l", varint(i * len(bomb)) + varint(len(bomb) - 5)) for i in range(blocks)]
    index.write_bytes(checkpoints.with_index(bomb * blocks, handles))
    assert_refused(small_checkpoint, "index: expected keys in rising order")
    index.write_bytes(checkpoints.with_index(bomb, [handles[0]] * 10_000))
    assert_refused(
        small_checkpoint, r"index: the index: expected a data block after byte 7517, found 00 d8 3a"
    )


def test_too_many_keys_are_refused(small_checkpoint):
    body = b"".join(varint(0) + varint(3) + varint(0) + i.to_bytes(3, "big") for i in range(10_002))
    part = sealed_fast(body + bytes(4) + b"\1\0\0\0")
    content = checkpoints.with_index(part, [(b"\xff" * 3, varint(0) + varint(len(part) - 5))])
    small_checkpoint.with_name("model.ckpt.index").write_bytes(content)
    assert_refused(
        small_checkpoint,
        "expected at most 10,000 arrays in a file of weights, found 10,001; .*SCANLINE_LIMIT_TENSORS",
    )


def sealed_fast(content: bytes) -> bytes:
    """Do as `sealed`, with the reader's faster checksum, which test_tensor_bundle.py checks."""
    whole = content + b"\0"
    return whole + checkpoints.masked(crc32c(whole)).to_bytes(4, "little")


def test_a_block_with_more_restart_points_than_bytes_is_refused(small_checkpoint):
    part = sealed(b"\xff\xff\xff\xff")
    content = checkpoints.with_index(part, [(b"z", varint(0) + varint(4))])
    small_checkpoint.with_name("model.ckpt.index").write_bytes(content)
    assert_refused(small_checkpoint, r"expected a block with 4,294,967,295 restart points, found 4 bytes")


def test_an_index_of_enormous_size_is_not_read(small_checkpoint):
    os.truncate(small_checkpoint.with_name("model.ckpt.index"), 2**40)  # a hole: no disk is used
    assert_refused(small_checkpoint, r"model\.ckpt\.index: expected at most 16,777,216 bytes, found more")


def test_variables_of_enormous_size_are_not_read(small_checkpoint):
    data = small_checkpoint.with_name("model.ckpt.data-00000-of-00001")
    os.truncate(data, 2**42)
    small_checkpoint.with_name("model.ckpt.index").write_bytes(
        table([(b"", header()), (b"w", entry(1, (2**34,), 0, 0, 2**36, 0))])
    )
    assert_refused(
        small_checkpoint, "expected at most 4,294,967,296 bytes in a file of weights, found 68,719,476,736"
    )


@IN_ONE_FOLDER
@given(content=st.binary(max_size=300), magic=st.booleans())
def test_any_bytes_are_refused(small_checkpoint, content, magic):
    small_checkpoint.with_name("model.ckpt.index").write_bytes(content + checkpoints.MAGIC * magic)
    assert_refused(small_checkpoint, r"model\.ckpt\.index: ")


VALUES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        entry,
        st.integers(0, 30),
        st.lists(st.integers(0, 2**64 - 1), max_size=3).map(tuple),
        st.integers(0, 3),
        st.integers(0, 2**64 - 1) | st.integers(0, 60),
        st.integers(0, 2**64 - 1) | st.integers(0, 60),
        st.integers(0, 2**32 - 1),
    ),
)


@IN_ONE_FOLDER
@given(
    items=st.dictionaries(st.binary(max_size=8), VALUES, max_size=6),
    header_value=st.just(header()) | st.binary(max_size=12),
    block_bytes=st.sampled_from([1, 4096]),
)
def test_a_valid_table_of_any_entries_is_refused_or_read(small_checkpoint, items, header_value, block_bytes):
    whole = sorted(({b"": header_value} | items).items())
    small_checkpoint.with_name("model.ckpt.index").write_bytes(table(whole, block_bytes))
    read_or_refused(small_checkpoint, r"model\.ckpt")


@IN_ONE_FOLDER
@given(data=st.data())
def test_any_bytes_in_valid_blocks_are_refused_or_read(small_checkpoint, data):
    blocks = [sealed(each) for each in data.draw(st.lists(st.binary(max_size=60), max_size=4))]
    handle = st.tuples(st.integers(0, 200), st.integers(0, 80)).map(lambda h: varint(h[0]) + varint(h[1]))
    true, place = [], 0
    for each in blocks:
        true.append(varint(place) + varint(len(each) - 5))
        place += len(each)
    values = data.draw(
        st.just(true) | st.lists(st.sampled_from(true or [b""]) | handle | st.binary(max_size=6), max_size=5)
    )
    index = [(bytes([count]) * 60, value) for count, value in enumerate(values)]
    small_checkpoint.with_name("model.ckpt.index").write_bytes(
        checkpoints.with_index(b"".join(blocks), index)
    )
    read_or_refused(small_checkpoint, r"model\.ckpt")
