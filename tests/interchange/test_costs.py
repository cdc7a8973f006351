"""Small files that would cost much time or memory are refused before they do."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scanline.errors import FormatError, ModelError
from scanline.formats.crc32c import crc32c
from scanline.formats.hdf5 import SIGNATURE, Hdf5
from scanline.interchange.keras.read import read_keras
from scanline.interchange.tf1.read import read_checkpoint
from tests.interchange import checkpoints
from tests.interchange.checkpoints import field, varint

MOST_SECONDS, MOST_BYTES = 1.5, 2**25  # what is promised is 0.5 s; others may use the machine too
NOWHERE = 2**64 - 1
NIL, TABLE, CONTINUATION = 0x00, 0x11, 0x10
LSTM = {"class_name": "LSTM", "config": {"name": "a", "units": 2, "recurrent_activation": "sigmoid"}}
DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 2}}
NO_VALUES = field(1, 1) + field(2, field(2, b""))  # float32 of the shape (0,)


def refused(read: Callable[[Path], Any], path: Path, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ModelError, match=message) as caught:
        read(path)
    assert time.process_time() - start < MOST_SECONDS
    assert len(str(caught.value).splitlines()) == 1


# --- HDF5


class Image:
    """An HDF5 file, made piece by piece; `add` says where a piece begins."""

    def __init__(self) -> None:
        self.content = bytearray(48)

    def add(self, piece: bytes) -> int:
        self.content += bytes(-len(self.content) % 8)
        self.content += piece
        return len(self.content) - len(piece)

    def header(self, *messages: tuple[int, bytes]) -> int:
        body = b"".join(message(kind, content) for kind, content in messages)
        return self.add(struct.pack("<BBHII4x", 1, 0, min(len(messages), 65535), 1, len(body)) + body)

    def table(self, entries: int, names: bytes, step: int = 0, nodes: int = 1, target: int = 48) -> bytes:
        """The body of a symbol-table message.

        step: from one entry's name to the next's in `names`. nodes: how many times the one node is named.
        """
        text = self.add(names)
        heap = self.add(b"HEAP\0\0\0\0" + struct.pack("<QQQ", len(names), NOWHERE, text))
        node = b"SNOD\x01\0" + struct.pack("<H", entries)
        node += b"".join(struct.pack("<QQI20x", step * index, target, 0) for index in range(entries))
        leaf = struct.pack("<QQ", 0, self.add(node))
        tree = self.add(b"TREE\0\0" + struct.pack("<HQQ", nodes, NOWHERE, NOWHERE) + leaf * nodes + bytes(8))
        return struct.pack("<QQ", tree, heap)

    def whole(self, root: int) -> bytes:
        self.content[:48] = (
            SIGNATURE + bytes([2, 8, 8, 0]) + struct.pack("<QQQQ4x", 0, NOWHERE, NOWHERE, root)
        )
        return bytes(self.content)


def message(kind: int, content: bytes) -> bytes:
    return struct.pack("<HHB3x", kind, len(content), 0) + content


def keras(path: Path, content: bytes, layers: int = 1) -> Path:
    """A `.keras` file of LSTM layers and a Dense one, with this HDF5 part."""
    config = {"class_name": "Sequential", "config": {"layers": [LSTM] * layers + [DENSE]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", content)
    return path


def one_node_many_times(path: Path, tables: int = 4000, nodes: int = 60) -> Path:
    """A root with many symbol-table messages that point to one tree, whose leaves are all the same node."""
    image = Image()
    table = image.table(1000, b"a\0", nodes=nodes)
    return keras(path, image.whole(image.header(*[(TABLE, table)] * tables)))


def test_a_node_that_is_named_twice_is_refused(tmp_path):
    refused(read_keras, one_node_many_times(tmp_path / "it.keras"), r"expected a tree, found byte .* twice")


def test_a_second_table_in_a_group_is_refused(tmp_path):
    path = one_node_many_times(tmp_path / "it.keras", nodes=1)
    refused(read_keras, path, r"expected one symbol table in the group at byte [\d,]+, found another")


def test_groups_that_share_a_large_table_are_bounded():
    image = Image()
    table = image.table(20_000, b"a\0")
    groups = [image.header((TABLE, table)) for _ in range(50)]
    file = Hdf5(image.whole(groups[0]))
    start = time.process_time()
    for _ in range(1000):  # of which all but the first cost nothing
        file.members(groups[0])
    with pytest.raises(FormatError, match="at most 32,768 members in its groups, with names of at most"):
        all(file.members(group) for group in groups)
    assert time.process_time() - start < MOST_SECONDS


def test_nested_names_are_bounded():
    image = Image()
    table = image.table(30_000, (b"n" * 4000 + b"\0") * 8, step=1)
    file = Hdf5(image.whole(image.header((TABLE, table))))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="with names of at most 2,097,152 bytes together, found more"):
            file.members(file.root)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_headers_that_share_their_messages_are_bounded():
    image = Image()
    more = message(NIL, b"") * 4000
    block = (CONTINUATION, struct.pack("<QQ", image.add(more), len(more)))
    groups = [image.header(block) for _ in range(100)]
    file = Hdf5(image.whole(groups[0]))
    start = time.process_time()
    for _ in range(100):
        assert not file.is_group(groups[0])
    with pytest.raises(FormatError, match="expected at most 32,768 messages in its headers, found more"):
        any(file.is_group(group) for group in groups)
    assert time.process_time() - start < MOST_SECONDS


# --- Keras


def test_more_layers_than_a_model_has_are_refused_before_any_is_read(tmp_path):
    image = Image()  # with no weights at all
    path = keras(tmp_path / "it.keras", image.whole(image.header()), layers=5001)
    refused(read_keras, path, "expected 1 to 64 layers, found 5,001; .*SCANLINE_LIMIT_LAYERS")


# --- TensorFlow 1


def bundle_index(path: Path, data: bytes, index: bytes | None = None) -> Path:
    """An index of one data block, of these entries; an index block of these, or of one that is in order."""

    def sealed(entries: bytes) -> bytes:
        content = entries + struct.pack("<II", 0, 1) + b"\0"
        return content + struct.pack("<I", checkpoints.masked(crc32c(content)))

    blocks, places = [sealed(data), sealed(b"")], b""
    if index is None:
        handle = varint(0) + varint(len(blocks[0]) - 5)
        index = varint(0) + varint(1) + varint(len(handle)) + b"~" + handle
    blocks.append(sealed(index))
    for count in (1, 2):
        places += varint(sum(map(len, blocks[:count]))) + varint(len(blocks[count]) - 5)
    path.write_bytes(b"".join(blocks) + places.ljust(40, b"\0") + checkpoints.MAGIC)
    path.with_name(f"{path.stem}.data-00000-of-00001").touch()
    return path


def numbered(begin: bytes, end: bytes, count: int) -> bytes:
    """Entries with names of which every one is `begin`, a number of six digits and `end`."""
    head = checkpoints.HEADER
    fresh, rest = len(begin) + 6 + len(end), 6 + len(end)
    content = varint(0) + varint(0) + varint(len(head)) + head
    content += varint(0) + varint(fresh) + varint(len(NO_VALUES)) + begin + b"%06d" % 0 + end + NO_VALUES
    sizes = varint(len(begin)) + varint(rest) + varint(len(NO_VALUES))
    return content + b"".join(sizes + b"%06d" % index + end + NO_VALUES for index in range(1, count))


def growing(size: int, count: int) -> bytes:
    """Keys of `size` bytes, each packed in four bytes."""
    first = varint(0) + varint(size) + varint(0) + b"k" * size
    return first + (varint(size - 1) + varint(1) + varint(0) + b"z") * count


@pytest.mark.parametrize(
    ("begin", "end", "count", "message"),
    [
        (b"a/" * 465, b"", 17_500, "expected a key of at most 512 bytes"),
        (b"a/" * 250, b"", 9_000, "expected keys of at most 2,560,000 bytes together, found more"),
        (b"a", b"", 10_001, "expected at most 10,000 arrays in a file of weights, found 10,001"),
        (b"a/" * 115, b"/Linear/Matrix", 9_900, "found no supported cell"),
        (b"a/" * 115, b"/kernel", 9_900, "found no supported cell"),
        (b"gru_cell_1x/W_P_/projection/" * 8, b"_diag", 9_900, "found no supported cell"),
        (b"a/" * 100 + b"cell_", b"/lstm_cell/kernel", 9_900, "expected 1 to 64 layers, found 129"),
    ],
)
def test_many_long_names_are_bounded(tmp_path, begin, end, count, message):
    refused(read_checkpoint, bundle_index(tmp_path / "it.index", numbered(begin, end, count)), message)


@pytest.mark.parametrize("size", [512, 1024])
@pytest.mark.parametrize("where", ["data", "index"])
def test_keys_are_counted_as_they_are_unpacked(tmp_path, where, size):
    keys = growing(size, 99_000)
    path = bundle_index(tmp_path / "it.index", *((keys,) if where == "data" else (b"", keys)))
    tracemalloc.start()
    try:
        with pytest.raises(
            ModelError, match=r"expected keys of at most 2,560,000|a key of at most 512 bytes"
        ):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_a_functional_model_of_more_layers_than_any_is_refused(tmp_path):
    layers = [{"class_name": "InputLayer", "name": "m0", "config": {"name": "m0"}, "inbound_nodes": []}]
    for k in range(1, 20_000):
        inbound = [[[f"m{k - 1}", 0, 0, {}]]]
        layers.append(
            {"class_name": "Masking", "name": f"m{k}", "config": {"name": f"m{k}"}, "inbound_nodes": inbound}
        )
    ends = {"input_layers": [["m0", 0, 0]], "output_layers": [["m19999", 0, 0]]}
    config = {"class_name": "Functional", "config": {"layers": layers} | ends}
    path, image = tmp_path / "a.keras", Image()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", image.whole(image.header()))
    start = time.process_time()
    with pytest.raises(ModelError, match=r"at most 1,024 layers of any kind, found 20,000"):
        read_keras(path)
    assert time.process_time() - start < MOST_SECONDS
