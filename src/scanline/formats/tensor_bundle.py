"""TensorFlow's checkpoint format V2, the "tensor bundle", without TensorFlow.

NAME.index is a LevelDB table. Its first value, under the empty key, is a BundleHeaderProto. Every other
value is a BundleEntryProto: it says which bytes of which of the files NAME.data-00000-of-00001, ... are the
values of the variable named by the key, and their checksum.
Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, one_line
from scanline.formats.crc32c import crc32c, unmasked
from scanline.formats.leveldb import read_table
from scanline.formats.protobuf import Message
from scanline.formats.tensor_bundle_files import beside, file_errors, find_prefix
from scanline.limits import excess, limit_of

INDEX_LIMIT_BYTES = 16 * 2**20
REMEDY = "copy the whole checkpoint again"
_CHUNK_BYTES = 16 * 2**20
_MAX_SHARDS, _MAX_DIMENSIONS = 99_999, 32
_VERSION = 1  # of the format; a file declares the oldest reader that can read it
_WITHOUT_CHECKSUM = ("string", "resource", "variant")

# Name and bytes of a value (0 if not fixed) by the number in tensorflow/core/framework/types.proto.
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
    """A variable in the index.

    Attributes:
        dtype: Name of its type.
        shape: Its shape.
        data: The file with its values.
        offset: Where its bytes begin in that file.
        size: Number of its bytes.
        crc: CRC-32C of its bytes.
        sliced: Whether it is stored in slices; then the fields about its bytes mean nothing.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Path
    offset: int
    size: int
    crc: int
    sliced: bool

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.offset + self.size

    @property
    def is_float(self) -> bool:
        """Whether its values are real numbers, like weights."""
        return self.dtype in _FLOATS or self.dtype == "bfloat16"


class TensorBundle:
    """A checkpoint with a valid index. Values are read on demand.

    Attributes:
        prefix: What the names of its files begin with.
        entries: The variables by name.
    """

    def __init__(self, prefix: Path, entries: dict[str, Entry]) -> None:
        self.prefix, self.entries = prefix, entries

    def read(self, name: str) -> NDArray[np.float32]:
        """Return the values of a variable as float32, in its shape.

        Raises:
            FormatError: If it is sliced, empty or not of real numbers, or its checksum does not match.
        """
        entry, place = self.entries[name], one_line(name, 200)
        if entry.sliced:
            raise FormatError(
                "saved in slices (a partitioned variable), which is not supported",
                file=self.prefix,
                place=place,
                remedy="save the checkpoint again without a partitioner",
            )
        if not entry.is_float or not entry.size:
            raise FormatError(
                file=self.prefix,
                place=place,
                expected="numbers of float32, float64, float16 or bfloat16",
                found=f"{entry.dtype} {one_line(entry.shape)}",
            )
        # Exhausting the chunks also verifies the checksum, before any value is used.
        content = b"".join(self._chunks(name))
        if entry.dtype == "bfloat16":  # the upper half of a float32
            raw = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            raw = np.frombuffer(content, _FLOATS[entry.dtype])
        with np.errstate(over="ignore"):  # too large a value becomes infinite, which the importer refuses
            values: NDArray[np.float32] = raw.reshape(entry.shape).astype(np.float32)
        return values

    def check(self, name: str) -> None:
        """Verify the checksum of a variable.

        Raises:
            FormatError: If it does not match.
        """
        entry = self.entries[name]
        # The checksum of a string tensor is not that of its bytes in the file, and no strings are used.
        if not entry.sliced and entry.dtype not in _WITHOUT_CHECKSUM:
            for _ in self._chunks(name):
                pass

    def _chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a variable; raises FormatError after the last if the checksum does not match."""
        entry, crc = self.entries[name], 0
        with file_errors(entry.data), open(entry.data, "rb") as file:
            file.seek(entry.offset)
            left = entry.size
            while left:
                chunk = file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    break
                left -= len(chunk)
                crc = crc32c(chunk, crc)
                yield chunk
        if left or crc != entry.crc:
            raise FormatError(
                file=entry.data,
                place=f"{one_line(name, 200)}, bytes {entry.offset:,} to {entry.end:,}",
                expected=f"the checksum {entry.crc:08x}",
                found=f"{crc:08x}",
                remedy=REMEDY,
            )


def open_bundle(path: Path) -> TensorBundle:
    """Open a checkpoint and read its index. No memory is taken that the files do not account for.

    Args:
        path: What the names of its files begin with (`.../model.ckpt`), its `.index` file, or a folder, whose
            file `checkpoint` says which one.

    Raises:
        FormatError: If a file is missing, damaged or of another kind; names it.
    """
    with file_errors(path):
        prefix = find_prefix(path)
        index = beside(prefix, ".index")
        with open(index, "rb") as file:
            # One byte more than the limit tells a file that is too large, without a race between stat and
            # read.
            content = file.read(INDEX_LIMIT_BYTES + 1)
    if len(content) > INDEX_LIMIT_BYTES:
        raise FormatError(file=index, expected=f"at most {INDEX_LIMIT_BYTES:,} bytes", found="more")
    try:
        return TensorBundle(prefix, _read_index(prefix, content))
    except FormatError as error:
        raise error.within(index, remedy=REMEDY) from None


def _read_index(prefix: Path, content: bytes) -> dict[str, Entry]:
    table = read_table(content)
    if not table or table[0][0] != b"":
        raise FormatError(expected="the header under the empty key", found="none")
    shards = _shards(table[0][1])
    entries: dict[str, Entry] = {}
    for key, value in table[1:]:
        if key.startswith(b"\0"):  # one slice of a variable; the variable's own entry says that it is sliced
            continue
        name = key.decode("utf-8", "replace")
        if not name.isprintable() or "\ufffd" in name:
            raise FormatError(expected="names of variables", found=ascii(key[:80])[1:])
        try:
            entries[name] = _entry(value, prefix, shards)
        except FormatError as error:
            raise error.within(place=one_line(name, 200)) from None
    _check_ranges(entries)
    return entries


def _shards(value: bytes) -> int:
    """Return the number of data files that the header declares."""
    header = Message(value)
    shards, big_endian = header.number(1), header.number(2)
    if not 1 <= shards <= _MAX_SHARDS:
        raise FormatError(
            place="the header", expected=f"1 to {_MAX_SHARDS:,} data files", found=f"{shards:,}"
        )
    if big_endian:
        raise FormatError(
            place="the header",
            expected="numbers in little-endian order",
            found="big-endian order, which is not supported",
        )
    if (needed := header.message(3).number(2)) > _VERSION:
        raise FormatError(
            place="the header",
            expected=f"version {_VERSION} of the format",
            found=f"one for readers of version {needed} and later",
        )
    return shards


def _entry(value: bytes, prefix: Path, shards: int) -> Entry:
    entry = Message(value)
    code, shard = entry.number(1), entry.number(3)
    offset, size, stored = entry.number(4), entry.number(5), entry.number(6)
    sliced = entry.has(7)
    dtype, item_bytes = _DTYPES.get(code, (f"type {code}", 0))
    sizes = entry.message(2)
    shape = tuple(each.number(1) for each in sizes.messages(2))
    if len(shape) > _MAX_DIMENSIONS or any(each >= 2**63 for each in shape) or sizes.number(3):
        raise FormatError(expected=f"a shape of at most {_MAX_DIMENSIONS} dimensions", found=one_line(shape))
    if not sliced and (shard >= shards or max(offset, size) >= 2**63):
        raise FormatError(
            expected=f"bytes in one of {shards} data files",
            found=f"{size:,} at {offset:,} of number {shard:,}",
        )
    # Strings have no fixed size; for every other type, shape and number of bytes must agree.
    if not sliced and item_bytes and math.prod(shape) * item_bytes != size:
        raise FormatError(
            expected=f"{math.prod(shape) * item_bytes:,} bytes for {dtype} {one_line(shape)}",
            found=f"{size:,}",
        )
    data = beside(prefix, f".data-{0 if sliced else shard:05d}-of-{shards:05d}")
    return Entry(dtype, shape, data, offset, size, unmasked(stored & 0xFFFFFFFF), sliced)


def _check_ranges(entries: dict[str, Entry]) -> None:
    """Check that every variable has its own bytes within its file, so that the files bound all work."""
    stored = {name: entry for name, entry in entries.items() if not entry.sliced}
    users = {entry.data: name for name, entry in stored.items()}
    file_bytes = {data: _size(data, name) for data, name in users.items()}
    used = dict.fromkeys(file_bytes, 0)
    # In the order of offsets, one pass per file detects every overlap.
    for name, entry in sorted(stored.items(), key=lambda item: (item[1].offset, item[1].size)):
        if entry.end > file_bytes[entry.data]:
            raise FormatError(
                "truncated",
                file=entry.data,
                expected=f"{one_line(name, 200)} in bytes {entry.offset:,} to {entry.end:,}",
                found=f"{file_bytes[entry.data]:,} bytes",
                remedy=REMEDY,
            )
        if entry.offset < used[entry.data]:
            raise FormatError(
                place=one_line(name, 200),
                expected=f"bytes in {entry.data.name} after those of other variables, from byte "
                f"{used[entry.data]:,} on",
                found=f"byte {entry.offset:,}",
            )
        used[entry.data] = entry.end
    if (total := sum(entry.size for entry in stored.values())) > limit_of("MODEL_BYTES"):
        raise FormatError(**excess("MODEL_BYTES", total))


def _size(data: Path, name: str) -> int:
    with file_errors(data):
        if not data.is_file():
            raise FormatError(
                f"there is no {data}, which has the values of {one_line(name, 200)}",
                remedy=f"{REMEDY}: NAME.index and every NAME.data-*",
            )
        return data.stat().st_size
