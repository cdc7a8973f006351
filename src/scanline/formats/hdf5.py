"""HDF5 as h5py writes it: groups, texts at them, and arrays of floating-point numbers.

The HDF5 library is not made for files of strangers, nor for damaged ones: version 2.0 takes a text to be as
long as the reference to it says, up to 4 GiB, before it looks; from a heap with a piece of 0 bytes it never
returns; and along a free list that bites its tail it takes all memory. Here no memory is taken that the bytes
of the file do not account for, every walk has an end, no link leads out of the file, and no header, group or
table is read twice, whatever points to it.

What is read are superblocks 0 to 3, object headers 1 and 2, symbol tables and link messages, and data sets
that are compact, contiguous, or chunked under a version 1 B-tree, plain or with gzip. All else is refused by
name. Source: HDF5 File Format Specification 3.0; its sections are named below.
"""

from __future__ import annotations

import itertools
import math
import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.limits import limit_of, unpacked_limit

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
_FILTERS, _ATTRIBUTE, _CONTINUATION, _TABLE = 0x0B, 0x0C, 0x10, 0x11
_GZIP, _SHUFFLE = 1, 2
_KINDS = {0: "whole numbers", 1: "numbers of another layout", 3: "text", 9: "lists or text"}
# Of IEEE floating-point numbers: bit offset, precision, exponent at, long, mantissa at, long, bias.
_FLOATS: dict[tuple[int, ...], str] = {
    (0, 16, 10, 5, 0, 10, 15): "f2",
    (0, 32, 23, 8, 0, 23, 127): "f4",
    (0, 64, 52, 11, 0, 52, 1023): "f8",
}
_NOWHERE = 2**64 - 1
_MOST_BLOCKS, _MOST_MESSAGES, _MOST_PIECES = 64, 4096, 2**16  # of a header, a header, and a heap
# For each layer that a model may have, of all headers and groups that are read; one in both directions has
# some forty messages and a dozen names.
_MESSAGES_A_LAYER, _MEMBERS_A_LAYER, _MEAN_NAME = 512, 512, 64
_LONGEST_NAME = 4096


class Damaged(Exception):
    """Bytes that are no HDF5, or of a kind that is not read here. The text says what and where."""


def refuse(text: str) -> NoReturn:
    raise Damaged(text)


def _name(text: bytes) -> str:
    return text.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Message:
    """A message of an object header: where its body begins, and how long it is."""

    kind: int
    start: int
    size: int


@dataclass(frozen=True)
class Dataset:
    """An array that can be read.

    shape: None if it holds nothing at all. dtype: of its numbers in the file. chunk: the shape of its pieces,
    or None. place: where its values or the B-tree of its pieces begin; size: of its values, in bytes, where
    they are in one piece. filters: what its pieces are packed with, in the order of writing.
    """

    shape: tuple[int, ...] | None
    dtype: np.dtype[np.floating]
    chunk: tuple[int, ...] | None
    place: int
    size: int
    filters: tuple[int, ...]


class Hdf5:
    """An open file. Objects are known by the address of their header."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Raises Damaged if it does not begin as HDF5 does (II.A)."""
        self._data = data
        self._expect(0, SIGNATURE, "HDF5's signature")
        version = self._number(8, 1)
        if version > 3:
            refuse(f"expected a superblock of version 0 to 3, found {version}")
        old = 4 * version
        sizes, base, header = (13, 24 + old, 64 + old) if version < 2 else (9, 12, 36)
        self._expect(sizes, b"\x08\x08", "addresses and sizes of 8 bytes each")
        self._expect(base, bytes(8), "addresses from the first byte on")
        self.root = self._number(header, 8)
        self._headers: dict[int, list[_Message]] = {}  # by their address, as the groups
        self._groups: dict[int, dict[str, int | None]] = {}
        self._read = self._members = self._name_bytes = 0
        self._most_read, self._most_members = (
            each * limit_of("LAYERS") for each in (_MESSAGES_A_LAYER, _MEMBERS_A_LAYER)
        )
        self._entries_left = len(data) // 16  # of B-trees: their nodes do not lie in each other

    def members(self, group: int) -> dict[str, int | None]:
        """The address of each member of a group, None for a link to elsewhere (IV.A.2.c, f, g, r)."""
        if group not in self._groups:
            self._groups[group] = self._find_members(group)
        return self._groups[group]

    def _find_members(self, group: int) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        tables = 0
        for message in self._messages(group):
            if message.kind == _TABLE:
                tables += 1
                if tables > 1:
                    refuse(f"expected one symbol table in the group at byte {group:,}, found another")
                tree, heap = self._number(message.start, 8), self._number(message.start + 8, 8)
                found |= self._table(tree, heap)
            elif message.kind == _LINK:
                found |= self._link(message)
            elif message.kind == _LINK_INFO:
                flags = self._number(message.start + 1, 1)
                if self._number(message.start + 2 + 8 * (flags & 1), 8) != _NOWHERE:
                    refuse(
                        f"the group at byte {group:,} keeps its links in a fractal heap, which is not read"
                    )
        return found

    def is_group(self, address: int) -> bool:
        """Whether it is a group, not a data set."""
        return any(each.kind in (_TABLE, _LINK, _LINK_INFO) for each in self._messages(address))

    def text(self, address: int, name: str, limit: int) -> bytes | None:
        """The attribute `name` of an object, which must be one text of at most `limit` bytes, without zeros
        at its end; None if there is none (IV.A.2.m)."""
        for message in self._messages(address):
            if message.kind == _ATTRIBUTE:
                found = self._attribute(message, name, limit)
                if found is not None:
                    return found
        return None

    def data_set(self, address: int) -> Dataset:
        """What an object's header says of its values. Raises Damaged if they are not in the file, no
        floating-point numbers, or packed with anything but gzip."""
        bodies = {each.kind: each for each in self._messages(address)}
        if _EXTERNAL in bodies:
            refuse("its values are in another file, which is refused")
        if not {_SPACE, _DATATYPE, _LAYOUT} <= bodies.keys():
            refuse(f"expected a data set at byte {address:,}, found none")
        dtype = self._float(bodies[_DATATYPE])
        shape = self._shape(bodies[_SPACE])
        filters = self._filters(bodies[_FILTERS]) if _FILTERS in bodies else ()
        place = bodies[_LAYOUT].start
        version, kind = self._number(place, 1), self._number(place + 1, 1)
        if version not in (3, 4) or kind > 3 or (version == 4 and kind == 2):
            refuse(f"its values are laid out in a way (version {version}, class {kind}) that is not read")
        if kind == 3:
            refuse("its values are those of other data sets, which is refused")
        if kind == 0:  # compact
            return Dataset(shape, dtype, None, place + 4, self._number(place + 2, 2), filters)
        if kind == 1:  # contiguous
            at, size = self._number(place + 2, 8), self._number(place + 10, 8)
            return Dataset(shape, dtype, None, at, 0 if at == _NOWHERE else size, filters)
        sizes = [self._number(place + 11 + 4 * index, 4) for index in range(self._number(place + 2, 1))]
        if not sizes or sizes[-1] != dtype.itemsize or 0 in sizes or len(sizes[:-1]) != len(shape or ()):
            refuse(f"expected pieces of {shape} numbers of {dtype.itemsize} bytes, found {tuple(sizes)}")
        return Dataset(shape, dtype, tuple(sizes[:-1]), self._number(place + 3, 8), 0, filters)

    def read(self, found: Dataset, limit: int) -> NDArray[np.floating]:
        """The values of a data set. Raises Damaged unless the file has all of them, and no more than `limit`
        bytes."""
        shape = found.shape or ()
        needed = math.prod(shape) * found.dtype.itemsize
        if needed > limit:
            refuse(f"expected at most {limit:,} bytes of values, found {needed:,}")
        if found.chunk is None:
            if found.size != needed:
                refuse(f"expected {needed:,} bytes of values, found {found.size:,} in the file")
            return np.frombuffer(self._take(found.place, needed), found.dtype).reshape(shape)
        pieces = dict(self._pieces(found.place, len(shape)))
        grid = list(zip(shape, found.chunk, strict=True))
        count = math.prod(-(-size // wide) for size, wide in grid)
        stored = sum(size for _, size in pieces.values())
        piece = math.prod(found.chunk) * found.dtype.itemsize
        if len(pieces) != count or count * piece > unpacked_limit(stored) or stored > len(self._data):
            refuse(f"expected {needed:,} bytes in {count:,} pieces, found {stored:,} in {len(pieces):,}")
        values = np.empty(shape, found.dtype)
        for corner in itertools.product(*(range(0, size, wide) for size, wide in grid)):
            if corner not in pieces:
                refuse(f"expected a piece of its values at {corner}, found none")
            content = self._unpack(self._take(*pieces[corner]), found, piece)
            whole = np.frombuffer(content, found.dtype).reshape(found.chunk)
            there = tuple(
                slice(at, min(at + wide, size)) for at, (size, wide) in zip(corner, grid, strict=True)
            )
            values[there] = whole[tuple(slice(0, each.stop - each.start) for each in there)]
        return values

    # --- bytes

    def _take(self, place: int, size: int) -> bytes:
        if not 0 <= size <= len(self._data) - place:
            refuse(f"expected {size:,} bytes at byte {place:,}, found the end at {len(self._data):,}")
        return self._data[place : place + size]

    def _number(self, place: int, size: int) -> int:
        return int.from_bytes(self._take(place, size), "little")

    def _expect(self, place: int, mark: bytes, what: str) -> None:
        found = self._take(place, len(mark))
        if found != mark:
            refuse(f"expected {what} at byte {place:,}, found {found.hex(' ')}")

    # --- object headers

    def _messages(self, place: int) -> list[_Message]:
        """The messages of the object header at `place`, which is read once."""
        if place not in self._headers:
            found = []
            for message in self._find_messages(place):
                self._read += 1
                if self._read > self._most_read:
                    refuse(f"expected at most {self._most_read:,} messages in its headers, found more")
                found.append(message)
            self._headers[place] = found
        return self._headers[place]

    def _find_messages(self, place: int) -> Iterator[_Message]:
        """As they are in the file (IV.A.1, IV.A.2.q)."""
        new = self._take(place, 4) == b"OHDR"
        if new:
            self._expect(place + 4, b"\x02", "an object header of version 2")
            flags = self._number(place + 5, 1)
            start = place + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
            width = 1 << (flags & 3)
            blocks = [(start + width, self._number(start, width))]
            kind_size, head = 1, 4 + 2 * bool(flags & 4)
        else:
            self._expect(place, b"\x01", "an object header")
            blocks = [(place + 16, self._number(place + 8, 4))]
            kind_size, head = 2, 8
        count = 0
        for start, size in blocks:  # which grows on the way
            end = start + size
            while end - start >= head:
                kind, length = self._number(start, kind_size), self._number(start + kind_size, 2)
                shared = self._number(start + kind_size + 2, 1) & 2
                body = start + head
                count += 1
                if length > end - body or count > _MOST_MESSAGES or (shared and kind != 0):
                    refuse(f"expected a message at byte {start:,}, found {length:,} bytes of kind {kind}")
                if kind == _CONTINUATION and len(blocks) < _MOST_BLOCKS:
                    more, most = self._number(body, 8), self._number(body + 8, 8)
                    if new:
                        self._expect(more, b"OCHK", "more of an object header")
                    blocks.append((more + 4, most - 8) if new else (more, most))
                yield _Message(kind, body, length)
                start = body + length

    def _attribute(self, message: _Message, wanted: str, limit: int) -> bytes | None:
        version = self._number(message.start, 1)
        if version not in (1, 2, 3):
            refuse(f"expected an attribute of version 1 to 3 at byte {message.start:,}, found {version}")
        place, end = message.start + 8 + (version == 3), message.start + message.size
        parts = []
        for index in range(3):  # name, datatype, dataspace
            length = self._number(message.start + 2 + 2 * index, 2)
            parts.append(self._take(place, length))
            place += length + (-length % 8 if version == 1 else 0)
        if parts[0].split(b"\0")[0] != wanted.encode():
            return None
        datatype, space = parts[1], parts[2]
        scalar = len(space) >= 4 and space[1] == 0 and (space[0] == 1 or space[3] == 0)
        shared = version > 1 and self._number(message.start + 1, 1)
        if len(datatype) < 8 or not scalar or shared:
            refuse(f"expected {wanted} to be one text, found something else")
        kind, length = datatype[0] & 15, int.from_bytes(datatype[4:8], "little")
        if kind == 9 and datatype[1] & 15 == 1:  # of any length, in a heap
            if end - place < 16:
                refuse(f"expected a reference of 16 bytes in {wanted}, found {end - place}")
            length, heap, number = (self._number(place + at, wide) for at, wide in ((0, 4), (4, 8), (12, 4)))
            place = self._in_heap(heap, number, length)
        elif kind != 3 or length > end - place:
            refuse(f"expected {wanted} to be one text, found {_KINDS.get(kind, 'something else')}")
        if length > limit:
            refuse(f"expected {wanted} to be at most {limit:,} bytes, found {length:,}")
        return self._take(place, length).rstrip(b"\0")

    def _in_heap(self, heap: int, number: int, length: int) -> int:
        """Where object `number` of the global heap begins, which has at least `length` bytes (III.E)."""
        self._expect(heap, b"GCOL\x01", "a heap")
        place, end = heap + 16, heap + self._number(heap + 8, 8)
        for _ in range(_MOST_PIECES):
            if end - place < 16:
                break
            found, size = self._number(place, 2), self._number(place + 8, 8)
            if found == number and number:
                if size < length:
                    refuse(f"expected a text of {length:,} bytes at byte {place:,}, found {size:,}")
                return place + 16
            taken = 16 + size + -size % 8 if found else size  # a free piece counts its own head
            if taken < 16:
                break
            place += taken
        refuse(f"expected text {number:,} in the heap at byte {heap:,}, found none")

    # --- groups

    def _table(self, tree: int, heap: int) -> dict[str, int | None]:
        """A symbol table: a B-tree of nodes of entries, whose names are in a local heap (III.A.1, B to D)."""
        self._expect(heap, b"HEAP\0", "a local heap")
        size, start = self._number(heap + 8, 8), self._number(heap + 24, 8)
        found: dict[str, int | None] = {}
        for _, node in self._walk(tree, 0, 8):
            self._expect(node, b"SNOD\x01", "a node of a symbol table")
            for index in range(self._number(node + 6, 2)):
                entry = node + 8 + 40 * index
                at = self._number(entry, 8)
                name, ended, _ = self._take(start + at, max(min(size - at, _LONGEST_NAME), 0)).partition(
                    b"\0"
                )
                if not name or not ended:
                    refuse(f"expected a name at byte {at:,} of the heap at byte {heap:,}, found none")
                self._count(name)
                soft = self._number(entry + 16, 4) == 2
                found[_name(name)] = None if soft else self._number(entry + 8, 8)
        return found

    def _count(self, name: bytes) -> None:
        """Counts a member of a group."""
        self._members += 1
        self._name_bytes += len(name)
        most_bytes = self._most_members * _MEAN_NAME
        if self._members > self._most_members or self._name_bytes > most_bytes:
            refuse(
                f"expected at most {self._most_members:,} members in its groups, with names of at most "
                f"{most_bytes:,} bytes together, found more"
            )

    def _walk(self, tree: int, kind: int, key: int) -> list[tuple[int, int]]:
        """(where its key begins, what it points to) for each entry of the lowest nodes of a version 1 B-tree
        (III.A.1). key: the size of a key."""
        found: list[tuple[int, int]] = []
        open_nodes, seen = [(tree, -1)], {tree}
        while open_nodes:
            place, expected = open_nodes.pop()
            self._expect(place, b"TREE" + bytes([kind]), "a node of a B-tree")
            level, count = self._number(place + 5, 1), self._number(place + 6, 2)
            self._entries_left -= count
            if expected not in (-1, level) or self._entries_left < 0:
                refuse(
                    f"expected a B-tree node of level {expected} at byte {place:,}, found {level}, {count:,}"
                )
            for index in range(count):
                at = place + 24 + index * (key + 8)
                child = self._number(at + key, 8)
                if child in seen:
                    refuse(f"expected a tree, found byte {child:,} twice in it")
                seen.add(child)
                if level == 0:
                    found.append((at, child))
                else:
                    open_nodes.append((child, level - 1))
        return found

    def _link(self, message: _Message) -> dict[str, int | None]:
        """A link message (IV.A.2.g)."""
        self._expect(message.start, b"\x01", "a link of version 1")
        flags = self._number(message.start + 1, 1)
        place, kind = message.start + 2, 0
        if flags & 8:
            kind = self._number(place, 1)
            place += 1
        place += 8 * bool(flags & 4) + bool(flags & 16)
        width = 1 << (flags & 3)
        length = self._number(place, width)
        name = self._take(place + width, min(length, _LONGEST_NAME))
        self._count(name)
        return {_name(name): self._number(place + width + length, 8) if kind == 0 else None}

    # --- data sets

    def _shape(self, message: _Message) -> tuple[int, ...] | None:
        """A dataspace (IV.A.2.b)."""
        version, rank = self._number(message.start, 1), self._number(message.start + 1, 1)
        if version not in (1, 2) or rank > 8:
            refuse(f"expected a shape of version 1 or 2, found version {version} with {rank} dimensions")
        if version == 2 and self._number(message.start + 3, 1) == 2:
            return None
        place = message.start + (8 if version == 1 else 4)
        return tuple(self._number(place + 8 * index, 8) for index in range(rank))

    def _float(self, message: _Message) -> np.dtype[np.floating]:
        """A datatype, if it is one of IEEE's floating-point numbers (IV.A.2.d)."""
        place = message.start
        kind, bits, size = self._number(place, 1) & 15, self._number(place + 1, 1), self._number(place + 4, 4)
        widths = (2, 2, 1, 1, 1, 1, 4)
        starts = itertools.accumulate(widths, initial=place + 8)
        layout = tuple(self._number(start, wide) for start, wide in zip(starts, widths, strict=False))
        name = _FLOATS.get(layout) if kind == 1 and not bits & 0x40 else None
        if name is None or size != int(name[1]):
            what = _KINDS.get(kind, "something else")
            refuse(f"expected floating-point numbers, found {what} of {size:,} bytes")
        return np.dtype((">" if bits & 1 else "<") + name)

    def _filters(self, message: _Message) -> tuple[int, ...]:
        """A filter pipeline (IV.A.2.l)."""
        version, count = self._number(message.start, 1), self._number(message.start + 1, 1)
        place, found = message.start + (8 if version == 1 else 2), []
        for _ in range(count):
            number = self._number(place, 2)
            if version not in (1, 2) or number not in (_GZIP, _SHUFFLE):
                refuse(f"its values are packed by HDF5's filter {number}; expected gzip or none")
            name = self._number(place + 2, 2) if version == 1 else 0
            settings = self._number(place + (6 if version == 1 else 4), 2)
            place += 8 + name + -name % 8 if version == 1 else 6
            place += 4 * (settings + (settings % 2 if version == 1 else 0))
            found.append(number)
        return tuple(found)

    def _pieces(self, tree: int, rank: int) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
        """(corner, (first byte, size)) of each piece of a chunked data set (III.A.1)."""
        if tree == _NOWHERE:
            return
        for at, child in self._walk(tree, 1, 8 + 8 * (rank + 1)):
            if self._number(at + 4, 4):
                refuse("some of its values are packed otherwise than the others, which is not read")
            corner = tuple(self._number(at + 8 + 8 * index, 8) for index in range(rank))
            yield corner, (child, self._number(at, 4))

    def _unpack(self, content: bytes, found: Dataset, size: int) -> bytes:
        for number in reversed(found.filters):
            if number == _GZIP:
                stream = zlib.decompressobj()
                try:
                    content = stream.decompress(content, size + 1)
                except zlib.error as error:
                    raise Damaged(f"expected a piece packed with gzip, found {error}") from error
            elif len(content) == size:  # shuffle: all first bytes, then all second ones, ...
                content = np.frombuffer(content, np.uint8).reshape(found.dtype.itemsize, -1).T.tobytes()
        if len(content) != size:
            refuse(f"expected a piece of {size:,} bytes, found {len(content):,}")
        return content
