"""TensorFlow's checkpoints in the V2 format, the "tensor bundle", read without TensorFlow.

NAME.index is a table of LevelDB's. Its first value, under the empty key, is a BundleHeaderProto; each other
one is a BundleEntryProto that says of the variable named by its key which bytes of which of the files
NAME.data-00000-of-00001, ... are its values, with their checksum.
Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import shown
from scanline.errors import ModelError
from scanline.formats.leveldb import Damaged, crc32c, read_table, unmasked
from scanline.formats.protobuf import Message
from scanline.interchange.tf1.files import beside, file_faults, find_prefix
from scanline.limits import exceeded, limit_of

INDEX_LIMIT_BYTES = 16 * 2**20
REMEDY = "copy the whole checkpoint again from where it came"
_PIECE_BYTES = 16 * 2**20
_MOST_SHARDS, _MOST_DIMENSIONS = 99_999, 32
_VERSION = 1  # the newest of the format; a file says which readers are too old for it

# By the number of tensorflow/core/framework/types.proto: the name, and the bytes of a value where it has a
# fixed size.
_DTYPES = {
    1: ("float32", 4),
    2: ("float64", 8),
    3: ("int32", 4),
    4: ("uint8", 1),
    5: ("int16", 2),
    6: ("int8", 1),
    7: ("string", 0),
    8: ("complex64", 8),
    9: ("int64", 8),
    10: ("bool", 1),
    11: ("qint8", 1),
    12: ("quint8", 1),
    13: ("qint32", 4),
    14: ("bfloat16", 2),
    15: ("qint16", 2),
    16: ("quint16", 2),
    17: ("uint16", 2),
    18: ("complex128", 16),
    19: ("float16", 2),
    20: ("resource", 0),
    21: ("variant", 0),
    22: ("uint32", 4),
    23: ("uint64", 8),
}
_FLOATS = {"float32": "<f4", "float64": "<f8", "float16": "<f2"}


@dataclass(frozen=True)
class Entry:
    """One variable: its dtype by name, its shape, and where its bytes lie.

    data: the file; the bytes are [offset, offset + size), their CRC-32C is crc. sliced: it is stored in
    slices, and what is said here of its bytes means nothing.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Path
    offset: int
    size: int
    crc: int
    sliced: bool

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers, as weights do."""
        return self.dtype in _FLOATS or self.dtype == "bfloat16"


class TensorBundle:
    """A checkpoint whose index was read and found sound, `prefix` being what its files' names begin with.

    entries: what it says of each variable. Values are read on demand.
    """

    def __init__(self, prefix: Path, entries: dict[str, Entry]) -> None:
        self.prefix, self.entries = prefix, entries

    def read(self, name: str) -> NDArray[np.float32]:
        """The values of variable `name` in float32, in its shape.

        Raises ModelError if it holds no real numbers, nothing, or other bytes than were saved.
        """
        entry = self.entries[name]
        if entry.sliced:
            raise ModelError(
                f"{self.prefix}: {shown(name, 200)} was saved in slices (a partitioned variable), which "
                "cannot be read; save the checkpoint again without a partitioner"
            )
        if not entry.is_float or not entry.size:
            raise ModelError(
                f"{self.prefix}: {shown(name, 200)}: expected numbers of float32, float64, float16 or "
                f"bfloat16, found {entry.dtype} {shown(entry.shape)}"
            )
        content = b"".join(self._pieces(name))
        if entry.dtype == "bfloat16":  # the upper half of a float32
            raw = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            raw = np.frombuffer(content, _FLOATS[entry.dtype])
        with np.errstate(over="ignore"):  # becomes infinite, which whoever uses it refuses
            values: NDArray[np.float32] = raw.reshape(entry.shape).astype(np.float32)
        return values

    def check(self, name: str) -> None:
        """Raises ModelError if the bytes of variable `name` are not those that were saved."""
        entry = self.entries[name]
        # A text's checksum is not of its bytes as they stand in the file, and nothing is taken from one.
        if not entry.sliced and entry.dtype not in ("string", "resource", "variant"):
            for _ in self._pieces(name):
                pass

    def _pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a variable, piece by piece; ModelError at their end if they are not what was saved."""
        entry, crc = self.entries[name], 0
        with file_faults(entry.data), open(entry.data, "rb") as file:
            file.seek(entry.offset)
            left = entry.size
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    break
                left -= len(piece)
                crc = crc32c(piece, crc)
                yield piece
        if left or crc != entry.crc:
            raise ModelError(
                f"{entry.data} is damaged: {shown(name, 200)}, bytes {entry.offset:,} to "
                f"{entry.offset + entry.size:,}: expected the checksum {entry.crc:08x}, found {crc:08x}; "
                f"{REMEDY}"
            )


def open_bundle(path: Path) -> TensorBundle:
    """The checkpoint at `path`, with its index read.

    path: what the names of its files begin with (`.../model.ckpt`), its `.index` file, or a folder, whose
    `checkpoint` file then says which one; of a path in there only the last part is used.
    No memory is taken that the files do not back.
    Raises ModelError naming the file that is missing, damaged, or of another kind.
    """
    with file_faults(path):
        prefix = find_prefix(path)
        index = beside(prefix, ".index")
        with open(index, "rb") as file:
            content = file.read(INDEX_LIMIT_BYTES + 1)
    if len(content) > INDEX_LIMIT_BYTES:
        raise ModelError(
            f"{index}: expected at most {INDEX_LIMIT_BYTES:,} bytes, found more: no classifier's checkpoint"
        )
    try:
        return TensorBundle(prefix, _read_index(prefix, content))
    except Damaged as error:
        raise ModelError(f"{index} is damaged: {error}; {REMEDY}") from None


def _read_index(prefix: Path, content: bytes) -> dict[str, Entry]:
    table = read_table(content)
    if not table or table[0][0] != b"":
        raise Damaged("expected the header under the empty key, found none")
    shards = _shards(table[0][1])
    entries: dict[str, Entry] = {}
    for key, value in table[1:]:
        if key.startswith(b"\0"):  # one slice of a variable, whose own entry says that it has slices
            continue
        name = key.decode("utf-8", "replace")
        if not name.isprintable() or "\ufffd" in name:
            raise Damaged(f"expected names of variables, found {ascii(key[:80])[1:]}")
        try:
            entries[name] = _entry(value, prefix, shards)
        except Damaged as error:
            raise Damaged(f"{shown(name, 200)}: {error}") from None
    _check_places(entries)
    return entries


def _shards(value: bytes) -> int:
    header = Message(value)
    shards, big = header.number(1), header.number(2)
    if not 1 <= shards <= _MOST_SHARDS:
        raise Damaged(f"the header: expected 1 to {_MOST_SHARDS:,} data files, found {shards:,}")
    if big:
        raise Damaged("the header: expected numbers in little-endian order, found another, which is not read")
    if (needed := header.message(3).number(2)) > _VERSION:
        raise Damaged(
            f"the header: expected version {_VERSION} of the format, found one for {needed} and later"
        )
    return shards


def _entry(value: bytes, prefix: Path, shards: int) -> Entry:
    entry = Message(value)
    code, shard = entry.number(1), entry.number(3)
    offset, size, stored = entry.number(4), entry.number(5), entry.number(6)
    sliced = entry.has(7)
    dtype, width = _DTYPES.get(code, (f"type {code}", 0))
    sides = entry.message(2)
    shape = tuple(side.number(1) for side in sides.messages(2))
    if len(shape) > _MOST_DIMENSIONS or any(side >= 2**63 for side in shape) or sides.number(3):
        raise Damaged(f"expected a shape of at most {_MOST_DIMENSIONS} sizes, found {shown(shape)}")
    if not sliced and (shard >= shards or max(offset, size) >= 2**63):
        raise Damaged(
            f"expected bytes in one of {shards} data files, found {size:,} at {offset:,} of number {shard:,}"
        )
    if not sliced and width and math.prod(shape) * width != size:
        raise Damaged(
            f"expected {math.prod(shape) * width:,} bytes for {dtype} {shown(shape)}, found {size:,}"
        )
    data = beside(prefix, f".data-{0 if sliced else shard:05d}-of-{shards:05d}")
    return Entry(dtype, shape, data, offset, size, unmasked(stored & 0xFFFFFFFF), sliced)


def _check_places(entries: dict[str, Entry]) -> None:
    """Every variable has bytes of its own in a file that has them, so that the files bound all work."""
    held = {name: entry for name, entry in entries.items() if not entry.sliced}
    owners = {entry.data: name for name, entry in held.items()}
    sizes = {data: _size(data, name) for data, name in owners.items()}
    used = dict.fromkeys(sizes, 0)
    for name, entry in sorted(held.items(), key=lambda item: (item[1].offset, item[1].size)):
        end = entry.offset + entry.size
        if end > sizes[entry.data]:
            raise ModelError(
                f"{entry.data} is cut off: expected {shown(name, 200)} in bytes {entry.offset:,} to {end:,}, "
                f"found {sizes[entry.data]:,} bytes; {REMEDY}"
            )
        if entry.offset < used[entry.data]:
            raise Damaged(
                f"{shown(name, 200)}: expected bytes of its own in {entry.data.name} from byte "
                f"{used[entry.data]:,}, found byte {entry.offset:,}"
            )
        used[entry.data] = end
    if (total := sum(entry.size for entry in held.values())) > limit_of("MODEL_BYTES"):
        raise Damaged(exceeded("MODEL_BYTES", total))


def _size(data: Path, name: str) -> int:
    with file_faults(data):
        if not data.is_file():
            raise ModelError(
                f"there is no {data}, where {shown(name, 200)} is; {REMEDY}: NAME.index and every NAME.data-*"
            )
        return data.stat().st_size
