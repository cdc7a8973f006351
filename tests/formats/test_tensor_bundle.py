"""TensorFlow's checkpoint format: a round trip, and every damage is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.errors import FormatError
from scanline.formats.crc32c import crc32c
from scanline.formats.tensor_bundle import open_bundle
from tests.interchange import checkpoints
from tests.interchange.checkpoints import entry, field, header, sealed, table, varint, write

RNG = np.random.default_rng(5)
SMALL = {
    "a": np.array([1.5, -2], np.float32),
    "rnn/bias": np.arange(3, dtype=np.float32),
    "rnn/kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "step": np.array(20, np.int64),
}
IN_A_FOLDER_OF_ITS_OWN = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)


@pytest.fixture
def small(tmp_path) -> Path:
    """A checkpoint of four variables in two blocks."""
    return write(tmp_path / "small", SMALL, block_bytes=60)


def floats(path: Path) -> dict[str, np.ndarray]:
    """All that can be read, and every checksum looked at."""
    bundle = open_bundle(path)
    for name in bundle.entries:
        bundle.check(name)
    return {name: bundle.read(name) for name, found in bundle.entries.items() if found.is_float}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].tobytes() == expected[name].tobytes() and found[name].shape == expected[name].shape
        for name in expected
    )


def refused(path: Path, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        floats(path)
    assert len(str(caught.value).splitlines()) == 1


def read_or_refused(path: Path, message: str) -> dict[str, np.ndarray] | None:
    try:
        return floats(path)
    except FormatError:
        refused(path, message)
        return None


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, B.4, and the check value of the catalogue of CRCs
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_the_standard(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("count", [1, 2047, 2048, 2049, 4097, 65_537])
def test_checksums_of_long_bytes_are_those_found_bit_by_bit(count):
    data = np.random.default_rng(count).bytes(count)
    assert crc32c(data) == checkpoints.crc32c(data)
    assert crc32c(data[count // 3 :], crc32c(data[: count // 3])) == crc32c(data)


def test_tensorflows_own_file_is_read(golden):
    bundle = open_bundle(golden / "tf1_checkpoint_basic_128")
    assert bundle.entries["rnn/basic_lstm_cell/kernel"].shape == (156, 512)
    for name in bundle.entries:
        bundle.check(name)
    assert bundle.read("beta1_power").tolist() == pytest.approx(0.9**782, rel=1e-4)


def test_the_writer_of_these_tests_writes_what_tensorflow_wrote(golden, tmp_path):
    folder = golden / "tf1_checkpoint_basic_128"
    bundle = open_bundle(folder)
    variables = {name: bundle.read(name) for name in bundle.entries if "kernel" not in name}

    def as_theirs(items):
        kernels = {name: found for name, found in bundle.entries.items() if "kernel" in name}
        added = [
            (name.encode(), entry(1, found.shape, 0, found.offset, found.size, found.crc))
            for name, found in kernels.items()
        ]
        return sorted(items + added)

    ours = write(tmp_path, variables, edit=as_theirs).with_name("model.ckpt.index").read_bytes()
    assert ours == (folder / "model.ckpt.index").read_bytes()


NAMES = st.lists(
    st.text(st.sampled_from("abk/_1é"), min_size=1, max_size=12), min_size=1, max_size=30, unique=True
)


@IN_A_FOLDER_OF_ITS_OWN
@given(
    names=NAMES,
    shards=st.integers(1, 3),
    block_bytes=st.sampled_from([1, 50, 300, 4096]),
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=30, max_size=30),
    seed=st.integers(0, 2**16),
)
def test_what_was_written_comes_back(tmp_path, names, shards, block_bytes, shapes, seed):
    rng = np.random.default_rng(seed)
    variables = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(names, shapes, strict=False)
    }
    folder = tmp_path / "one"
    shutil.rmtree(folder, ignore_errors=True)
    assert same(floats(write(folder, variables, shards=shards, block_bytes=block_bytes)), variables)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_widths_become_float32(tmp_path, dtype):
    values = np.array([[0.1, -3e-5], [7, 65_504]], dtype)
    found = floats(write(tmp_path, {"w": values}))["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values.astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    raw = np.array([0x3F80, 0xC049, 0x0001], "<u2").tobytes()
    found = floats(write(tmp_path, {"w": (14, (3,), raw)}))["w"]
    assert found.tolist() == [1.0, -3.140625, 2.0**-133]


@pytest.mark.parametrize(
    ("code", "raw", "what"),
    [
        (9, bytes(16), "int64"),
        (10, bytes(2), "bool"),
        (7, b"\1\1\0\0\0\0ab", "string"),
        (42, bytes(5), "type 42"),
    ],
)
def test_what_is_no_real_number_can_lie_there_and_is_refused_when_it_is_wanted(tmp_path, code, raw, what):
    bundle = open_bundle(write(tmp_path, {"w": (code, (2,), raw)}))
    assert not bundle.entries["w"].is_float
    with pytest.raises(FormatError, match=rf"ckpt: w: expected numbers of float32, .* found {what} \(2,\)"):
        bundle.read("w")


def test_an_empty_variable_is_refused(tmp_path):
    bundle = open_bundle(write(tmp_path, {"w": np.zeros((0, 3), np.float32)}))
    with pytest.raises(FormatError, match=r"w: expected numbers .* found float32 \(0, 3\)"):
        bundle.read("w")


def test_slices_are_refused_by_name(tmp_path):
    def in_slices(items):
        # As of a partitioned variable: its own entry has no bytes, and the keys of slices begin with 0.
        whole = (b"w", entry(1, (4, 3), 0, 0, 0, 0, more=field(7, b"") + field(7, b"")))
        return sorted([*items, whole, (b"\0w\0\1\x80", b"\x08\1")])

    bundle = open_bundle(write(tmp_path, SMALL, edit=in_slices))
    assert sorted(bundle.entries) == sorted([*SMALL, "w"])
    bundle.check("w")
    with pytest.raises(FormatError, match=r"model\.ckpt: w: saved in slices .* without a partitioner"):
        bundle.read("w")


def test_a_checkpoint_is_found_by_prefix_index_or_folder(small):
    for path in (small, small.with_name("model.ckpt.index"), small.parent):
        assert open_bundle(path).prefix == small


@pytest.mark.parametrize(
    "line",
    [
        'model_checkpoint_path: "model.ckpt"',
        'model_checkpoint_path: "/somewhere/else/model.ckpt"',
        'model_checkpoint_path: "../../model.ckpt"',
        r'model_checkpoint_path: "C:\\runs\\model.ckpt"',
        r'model_checkpoint_path: "/t\303\251/model.ckpt"',
        '# last\nmodel_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "old.ckpt"',
    ],
)
def test_a_folder_names_its_checkpoint_wherever_that_once_was(small, line):
    write(small.parent, {"b": np.ones(2, np.float32)}, name="old.ckpt")
    (small.parent / "checkpoint").write_text(line + "\n")
    assert same(floats(small.parent), {name: SMALL[name] for name in SMALL if name != "step"})


def test_a_name_beyond_ascii_is_read_as_protobuf_writes_it(tmp_path):
    write(tmp_path, {"b": np.ones(2, np.float32)}, name="modèle.ckpt")
    write(tmp_path, SMALL, name="other")
    (tmp_path / "checkpoint").write_text(r'model_checkpoint_path: "mod\303\250le.ckpt"')
    assert floats(tmp_path).keys() == {"b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_checkpoint_path: ",
        'model_checkpoint_path: ".."',
        'model_checkpoint_path: "a/"',
        'model_checkpoint_path: "a\\nb"x',
        "\n" * 2**20,
        "\0\xff",
        'model_checkpoint_path: "\x1b[31m"',
    ],
)
def test_a_checkpoint_file_that_names_nothing_is_refused(small, text):
    (small.parent / "checkpoint").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"name the checkpoint itself|there is no .*/anb\.index"):
        open_bundle(small.parent)


def test_a_name_too_long_for_the_file_system_is_refused(small):
    (small.parent / "checkpoint").write_text(f'model_checkpoint_path: "{"a" * 5000}"')
    refused(small.parent, "cannot be read")
    refused(small.parent / "a\0b", r"there is no|cannot be read")


def test_a_folder_with_several_checkpoints_and_no_word_on_them_is_refused(small):
    write(small.parent, SMALL, name="second")
    refused(
        small.parent, r"expected a file `checkpoint` .*, found model\.ckpt\.index, second\.index; name the"
    )


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    refused(tmp_path, "expected a file `checkpoint` that names a checkpoint, or one NAME.index, found none")


def test_an_index_that_is_missing_is_named(small):
    refused(
        small.with_name("model.cpkt"),
        r"no .*model\.cpkt\.index; did you mean 'model\.ckpt\.index'\?; expected",
    )
    refused(
        small.parent / "nowhere" / "x", r"there is no .*/nowhere/x\.index; expected a TensorFlow checkpoint"
    )


def test_a_data_file_that_is_missing_is_named(tmp_path):
    prefix = write(tmp_path, SMALL, shards=3)
    (tmp_path / "model.ckpt.data-00001-of-00003").unlink()
    refused(
        prefix,
        r"there is no .*model\.ckpt\.data-00001-of-00003, which has .*rnn/bias; copy",
    )


def test_the_old_format_is_refused_by_its_name(tmp_path):
    old = tmp_path / "model.ckpt"
    old.write_bytes(table([(b"", b"x"), (b"w", bytes(40))]))
    message = r"model\.ckpt: TensorFlow checkpoints in the old format \(V1\).*SaverDef\.V2"
    refused(old, message)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"')
    refused(tmp_path, message)
    old.rename(tmp_path / "model.ckpt-00000-of-00001")
    refused(old, r"ckpt-00000-of-00001: TensorFlow checkpoints in the old format")


def test_a_compressed_index_is_refused_by_its_name(small):
    index = small.with_name("model.ckpt.index")
    items = [(b"", header()), (b"w", entry(1, (), 0, 0, 4, 0))]
    index.write_bytes(table(items, compression=1))
    refused(small, r"index: the block at byte 0: compressed \(Snappy\), which is not supported")
    index.write_bytes(table(items, compression=9))
    refused(small, r"compressed \(method 9\)")


def test_every_truncation_of_the_index_is_refused(small):
    index = small.with_name("model.ckpt.index")
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        refused(small, r"model\.ckpt\.index: ")


def test_every_flipped_bit_of_the_index_is_refused_or_changes_nothing(small):
    index, expected = small.with_name("model.ckpt.index"), floats(small)
    whole, harmless = index.read_bytes(), 0
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        index.write_bytes(changed)
        if found := read_or_refused(small, r"model\.ckpt\.index: "):
            assert same(found, expected), bit
            harmless += 1
    assert harmless < 8 * 40  # of the footer alone, whose padding means nothing


def test_blocks_in_another_order_are_refused(small):
    parts = [sealed(checkpoints.block([item])) for item in ((b"", header()), (b"w", b""))]
    places = [0, len(parts[0])]
    index = [(b"w", varint(places[one]) + varint(len(parts[one]) - 5)) for one in (1, 0)]
    small.with_name("model.ckpt.index").write_bytes(checkpoints.with_index(b"".join(parts), index))
    refused(small, r"the index: expected a data block after byte 39, found 00 11")


def test_every_byte_of_the_data_is_guarded_and_its_variable_named(small):
    path = small.with_name("model.ckpt.data-00000-of-00001")
    whole, found = path.read_bytes(), open_bundle(small).entries
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        (name,) = [n for n, one in found.items() if one.offset <= place < one.offset + one.size]
        refused(small, rf"data-00000-of-00001: {name}, bytes [\d, to]+: expected the checksum")


def test_every_truncation_of_the_data_is_refused(small):
    path = small.with_name("model.ckpt.data-00000-of-00001")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(small, r"data-00000-of-00001: truncated, expected [\w/]+ in bytes [\d, to]+, found \d+ bytes")


def test_data_that_shrinks_while_it_is_read_is_refused(small):
    bundle = open_bundle(small)
    small.with_name("model.ckpt.data-00000-of-00001").write_bytes(b"")
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
    refused(write(tmp_path, SMALL, edit=edit), message)


def test_keys_that_unpack_to_more_than_they_are_packed_in_are_bounded(small):
    index = small.with_name("model.ckpt.index")
    body = varint(0) + varint(500) + varint(0) + b"k" * 500
    body += b"".join(varint(500) + varint(3) + varint(0) + f"{i:03d}".encode() for i in range(1000))
    bomb = sealed(body + bytes(4) + b"\1\0\0\0")
    blocks = 25
    handles = [(b"l", varint(i * len(bomb)) + varint(len(bomb) - 5)) for i in range(blocks)]
    index.write_bytes(checkpoints.with_index(bomb * blocks, handles))
    refused(small, "index: expected keys in rising order")
    index.write_bytes(checkpoints.with_index(bomb, [handles[0]] * 10_000))
    refused(small, r"index: the index: expected a data block after byte 7517, found 00 d8 3a")


def test_more_keys_than_any_network_has_are_refused(small):
    body = b"".join(varint(0) + varint(3) + varint(0) + i.to_bytes(3, "big") for i in range(10_002))
    part = sealed_fast(body + bytes(4) + b"\1\0\0\0")
    content = checkpoints.with_index(part, [(b"\xff" * 3, varint(0) + varint(len(part) - 5))])
    small.with_name("model.ckpt.index").write_bytes(content)
    refused(
        small, "expected at most 10,000 arrays in a file of weights, found 10,001; .*SCANLINE_LIMIT_TENSORS"
    )


def sealed_fast(content: bytes) -> bytes:
    """As `sealed`, by the reader's checksum, which the tests above have proved."""
    whole = content + b"\0"
    return whole + checkpoints.masked(crc32c(whole)).to_bytes(4, "little")


def test_a_block_with_more_restart_points_than_bytes_is_refused(small):
    part = sealed(b"\xff\xff\xff\xff")
    content = checkpoints.with_index(part, [(b"z", varint(0) + varint(4))])
    small.with_name("model.ckpt.index").write_bytes(content)
    refused(small, r"expected a block with 4,294,967,295 restart points, found 4 bytes")


def test_an_index_of_enormous_size_is_not_read(small):
    os.truncate(small.with_name("model.ckpt.index"), 2**40)  # a hole: no disk is used
    refused(small, r"model\.ckpt\.index: expected at most 16,777,216 bytes, found more")


def test_variables_of_enormous_size_are_not_read(small):
    data = small.with_name("model.ckpt.data-00000-of-00001")
    os.truncate(data, 2**42)
    small.with_name("model.ckpt.index").write_bytes(
        table([(b"", header()), (b"w", entry(1, (2**34,), 0, 0, 2**36, 0))])
    )
    refused(small, "expected at most 4,294,967,296 bytes in a file of weights, found 68,719,476,736")


def test_what_is_no_regular_file_is_not_opened(small):
    index = small.with_name("model.ckpt.index")
    index.unlink()
    os.mkfifo(index)
    refused(small, r"there is no .*model\.ckpt\.index")


@IN_A_FOLDER_OF_ITS_OWN
@given(content=st.binary(max_size=300), magic=st.booleans())
def test_any_bytes_are_refused(small, content, magic):
    small.with_name("model.ckpt.index").write_bytes(content + checkpoints.MAGIC * magic)
    refused(small, r"model\.ckpt\.index: ")


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


@IN_A_FOLDER_OF_ITS_OWN
@given(
    items=st.dictionaries(st.binary(max_size=8), VALUES, max_size=6),
    header_value=st.just(header()) | st.binary(max_size=12),
    block_bytes=st.sampled_from([1, 4096]),
)
def test_a_sound_table_of_anything_is_refused_or_read(small, items, header_value, block_bytes):
    whole = sorted(({b"": header_value} | items).items())
    small.with_name("model.ckpt.index").write_bytes(table(whole, block_bytes))
    read_or_refused(small, r"model\.ckpt")


@IN_A_FOLDER_OF_ITS_OWN
@given(data=st.data())
def test_any_bytes_in_sound_blocks_are_refused_or_read(small, data):
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
    small.with_name("model.ckpt.index").write_bytes(checkpoints.with_index(b"".join(blocks), index))
    read_or_refused(small, r"model\.ckpt")
