"""TensorFlow's checkpoint format: checksums, a round trip, and the types of numbers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanline.errors import FormatError
from scanline.formats.crc32c import crc32c
from scanline.formats.tensor_bundle import open_bundle
from tests.formats.bundles import IN_ONE_FOLDER, SMALL, equal_bytes, read_floats
from tests.interchange import checkpoints
from tests.interchange.checkpoints import entry, field, write


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
def test_checksums_of_long_data_equal_those_computed_bit_by_bit(count):
    data = np.random.default_rng(count).bytes(count)
    assert crc32c(data) == checkpoints.crc32c(data)
    assert crc32c(data[count // 3 :], crc32c(data[: count // 3])) == crc32c(data)


def test_a_file_of_tensorflow_is_read(golden):
    bundle = open_bundle(golden / "tf1_checkpoint_basic_128")
    assert bundle.entries["rnn/basic_lstm_cell/kernel"].shape == (156, 512)
    for name in bundle.entries:
        bundle.check(name)
    assert bundle.read("beta1_power").tolist() == pytest.approx(0.9**782, rel=1e-4)


def test_the_writer_of_these_tests_writes_the_bytes_of_tensorflow(golden, tmp_path):
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


@IN_ONE_FOLDER
@given(
    names=NAMES,
    shards=st.integers(1, 3),
    block_bytes=st.sampled_from([1, 50, 300, 4096]),
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=30, max_size=30),
    seed=st.integers(0, 2**16),
)
def test_written_variables_are_read_unchanged(tmp_path, names, shards, block_bytes, shapes, seed):
    rng = np.random.default_rng(seed)
    variables = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(names, shapes, strict=False)
    }
    folder = tmp_path / "one"
    shutil.rmtree(folder, ignore_errors=True)
    assert equal_bytes(
        read_floats(write(folder, variables, shards=shards, block_bytes=block_bytes)), variables
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_float_types_become_float32(tmp_path, dtype):
    values = np.array([[0.1, -3e-5], [7, 65_504]], dtype)
    found = read_floats(write(tmp_path, {"w": values}))["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values.astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    raw = np.array([0x3F80, 0xC049, 0x0001], "<u2").tobytes()
    found = read_floats(write(tmp_path, {"w": (14, (3,), raw)}))["w"]
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
def test_variables_of_other_types_are_listed_and_refused_when_read(tmp_path, code, raw, what):
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
        # A partitioned variable: its entry has no bytes, and the keys of its slices begin with 0.
        whole = (b"w", entry(1, (4, 3), 0, 0, 0, 0, more=field(7, b"") + field(7, b"")))
        return sorted([*items, whole, (b"\0w\0\1\x80", b"\x08\1")])

    bundle = open_bundle(write(tmp_path, SMALL, edit=in_slices))
    assert sorted(bundle.entries) == sorted([*SMALL, "w"])
    bundle.check("w")
    with pytest.raises(FormatError, match=r"model\.ckpt: w: saved in slices .* without a partitioner"):
        bundle.read("w")
