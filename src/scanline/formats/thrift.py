"""Thrift's compact protocol, as far as the metadata of Parquet files need it. Nothing is allocated unread.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from scanline.errors import FormatError

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_NAMES = (
    "",
    "true",
    "false",
    "byte",
    "i16",
    "i32",
    "i64",
    "double",
    "binary",
    "list",
    "set",
    "map",
    "struct",
)
_MAX_DEPTH = 32  # of structures and containers within each other; metadata of Parquet files have about 10


class CompactReader:
    """Reads values one after another.

    A structure is a loop over `fields`, which has to read or `skip` the value of each field before the next.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._at, self._end, self._depth = content, 0, len(content), 0

    def fail(self, expected: str, found: object) -> NoReturn:
        """Raise FormatError at this place."""
        raise FormatError(place=f"byte {self._at} of the metadata", expected=expected, found=found)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Iterate over the fields of a structure: (number, type).

        Raises:
            FormatError: If it does not end within the content, or is nested too deeply.
        """
        self._descend()
        field = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            if not TRUE <= kind <= STRUCT:
                self.fail("a type of 1 to 12", kind)
            field = field + step if step else self._integer()
            yield field, kind
        self._depth -= 1

    def integer(self, kind: int, bits: int) -> int:
        """Read a signed integer.

        Args:
            kind: Type of the field.
            bits: 32 or 64, the type that is expected.

        Raises:
            FormatError: If the type is another, or the value has more bits.
        """
        self._expect(kind, I32 if bits == 32 else I64)
        value = self._integer()
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            self.fail(f"an integer of {bits} bits", value)
        return value

    def items(self, kind: int, item_kind: int) -> range:
        """Read the head of a list and return a range over its items, each of which has to be read next.

        Args:
            kind: Type of the field.
            item_kind: The type that its items must have.

        Raises:
            FormatError: If one of the types is another, or the list has more items than bytes follow.
        """
        self._expect(kind, LIST)
        found, count = self._head_of_list()
        self._expect(found, item_kind)
        return range(count)

    def expect_struct(self, kind: int) -> None:
        """Raise FormatError if the type of a field is not a structure."""
        self._expect(kind, STRUCT)

    def skip(self, kind: int) -> None:
        """Read a value of any type and forget it. Raises FormatError if it does not end in the content."""
        if kind in (I16, I32, I64):
            self._varint()
        elif kind == BINARY:
            self._advance(self._varint())
        elif kind == STRUCT:
            for _, each in self.fields():
                self.skip(each)
        elif kind in (LIST, SET, MAP):
            self._descend()
            if kind == MAP:
                self._skip_map()
            else:
                item_kind, count = self._head_of_list()
                for _ in range(count):
                    self._skip_item(item_kind)
            self._depth -= 1
        elif kind == DOUBLE:
            self._advance(8)
        elif kind == BYTE:
            self._advance(1)
        elif kind not in (TRUE, FALSE):  # the value of a boolean field is its type
            self.fail("a type of 1 to 12", kind)

    def _skip_item(self, kind: int) -> None:
        if kind in (TRUE, FALSE):  # in a list, a boolean has a byte
            self._advance(1)
        else:
            self.skip(kind)

    def _skip_map(self) -> None:
        count = self._varint()
        if not count:
            return
        self._check_count(count)
        kinds = self._byte()
        for _ in range(count):
            self._skip_item(kinds >> 4)
            self._skip_item(kinds & 15)

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self.fail(f"at most {_MAX_DEPTH} structures and lists within each other", "more")

    def _expect(self, kind: int, wanted: int) -> None:
        if kind != wanted:
            self.fail(f"the type {_NAMES[wanted]}", _NAMES[kind] if kind < len(_NAMES) else kind)

    def _head_of_list(self) -> tuple[int, int]:
        head = self._byte()
        count = head >> 4
        if count == 15:
            count = self._varint()
        self._check_count(count)
        return head & 15, count

    def _check_count(self, count: int) -> None:
        # Each item has at least one byte, so that a short file cannot ask for a long loop.
        if count > self._end - self._at:
            self.fail(f"at most {self._end - self._at:,} items", f"{count:,}")

    def _advance(self, size: int) -> None:
        if size > self._end - self._at:
            self.fail(f"at most {self._end - self._at:,} bytes", f"{size:,}")
        self._at += size

    def _byte(self) -> int:
        at = self._at
        if at >= self._end:
            self.fail("another byte", "the end")
        self._at = at + 1
        return self._content[at]

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)  # zigzag: 0, -1, 1, -2, ...

    def _varint(self) -> int:
        value = self._byte()
        if value < 128:
            return value
        value, shift, byte = value & 127, 7, 128
        while byte >= 128:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if value >= 2**64 or shift > 70:
                self.fail("an integer of at most 64 bits", "more")
        return value
