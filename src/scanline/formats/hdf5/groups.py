"""Groups: names and addresses of their members (sections III.B to D, IV.A.2.c, f, g, r)."""

from __future__ import annotations

from scanline.errors import FormatError
from scanline.formats.hdf5.btree import GROUP_NODE, BTrees
from scanline.formats.hdf5.headers import LINK, LINK_INFO, SYMBOL_TABLE, Headers, Message
from scanline.formats.hdf5.reader import UNDEFINED, Reader
from scanline.limits import limit_of

_MAX_NAME_BYTES = 4096
# Members of all groups, for each layer that a model may have, and the mean length of their names. A
# bidirectional layer has about a dozen names.
_MEMBERS_PER_LAYER, _MEAN_NAME_BYTES = 512, 64
_SOFT_LINK = 2

# Addresses by name; None for a link to elsewhere.
Members = dict[str, int | None]


class Groups:
    """The groups of a file, by address. Each is parsed once, and the number of members is bounded."""

    def __init__(self, reader: Reader, headers: Headers, trees: BTrees) -> None:
        self._reader, self._headers, self._trees = reader, headers, trees
        self._parsed: dict[int, Members] = {}
        self._count = self._name_bytes = 0
        self._limit = _MEMBERS_PER_LAYER * limit_of("LAYERS")

    def members(self, group: int) -> Members:
        """Return the members of the group at an address.

        Raises:
            FormatError: If it is damaged, stored in a way that is not supported, or has too many members.
        """
        if group not in self._parsed:
            self._parsed[group] = self._parse(group)
        return self._parsed[group]

    def _parse(self, group: int) -> Members:
        number = self._reader.number
        members: Members = {}
        tables = 0
        for message in self._headers.messages(group):
            if message.kind == SYMBOL_TABLE:
                tables += 1
                if tables > 1:
                    raise FormatError(
                        expected=f"one symbol table in the group at byte {group:,}", found="another"
                    )
                members |= self._symbol_table(number(message.start, 8), number(message.start + 8, 8))
            elif message.kind == LINK:
                members |= self._link(message)
            elif message.kind == LINK_INFO:
                flags = number(message.start + 1, 1)
                if number(message.start + 2 + 8 * (flags & 1), 8) != UNDEFINED:
                    raise FormatError(
                        f"the group at byte {group:,} stores its links in a fractal heap, which is not "
                        "supported"
                    )
        return members

    def _symbol_table(self, tree: int, heap: int) -> Members:
        """Parse a B-tree of nodes of entries, whose names are in a local heap."""
        take, number = self._reader.take, self._reader.number
        self._reader.expect(heap, b"HEAP\0", "a local heap")
        size, start = number(heap + 8, 8), number(heap + 24, 8)
        members: Members = {}
        for _, node in self._trees.leaves(tree, GROUP_NODE, 8):
            self._reader.expect(node, b"SNOD\x01", "a node of a symbol table")
            for index in range(number(node + 6, 2)):
                entry = node + 8 + 40 * index
                at = number(entry, 8)
                text = take(start + at, max(min(size - at, _MAX_NAME_BYTES), 0))
                name, end, _ = text.partition(b"\0")
                if not name or not end:
                    raise FormatError(
                        expected=f"a name at byte {at:,} of the heap at byte {heap:,}", found="none"
                    )
                self._count_member(name)
                soft = number(entry + 16, 4) == _SOFT_LINK
                members[_decoded(name)] = None if soft else number(entry + 8, 8)
        return members

    def _link(self, message: Message) -> Members:
        take, number = self._reader.take, self._reader.number
        self._reader.expect(message.start, b"\x01", "a link of version 1")
        flags = number(message.start + 1, 1)
        place, kind = message.start + 2, 0
        if flags & 8:  # without a kind it is a hard link
            kind = number(place, 1)
            place += 1
        place += 8 * bool(flags & 4) + bool(flags & 16)  # creation order, character set
        width = 1 << (flags & 3)
        length = number(place, width)
        name = take(place + width, min(length, _MAX_NAME_BYTES))
        self._count_member(name)
        return {_decoded(name): number(place + width + length, 8) if kind == 0 else None}

    def _count_member(self, name: bytes) -> None:
        self._count += 1
        self._name_bytes += len(name)
        max_bytes = self._limit * _MEAN_NAME_BYTES
        if self._count > self._limit or self._name_bytes > max_bytes:
            raise FormatError(
                expected=f"at most {self._limit:,} members in its groups, with names of at most "
                f"{max_bytes:,} bytes together",
                found="more",
            )


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace")
