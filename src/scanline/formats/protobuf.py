"""Protobuf messages as far as checkpoints need them: fields by number, no schema.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from scanline.formats.leveldb import Damaged, varint


class Message:
    """A message that was read whole. Fields that nobody asks for are left alone, as protobuf has it.

    Raises Damaged if `content` is no message, and, when it is asked, if a field is of another kind.
    """

    def __init__(self, content: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        place, end = 0, len(content)
        while place < end:
            tag, place = varint(content, place, end)
            kind = tag & 7
            if kind == 0:
                value, place = varint(content, place, end)
                self._fields.setdefault(tag >> 3, []).append(value)
                continue
            if kind == 2:
                width, place = varint(content, place, end)
            else:
                width = {1: 8, 5: 4}.get(kind, end + 1)  # groups are long out of use
            if place + width > end:
                raise Damaged(
                    f"expected a field of at most {end - place} bytes in a message, found tag {tag}"
                )
            part = content[place : place + width]
            self._fields.setdefault(tag >> 3, []).append(
                part if kind == 2 else int.from_bytes(part, "little")
            )
            place += width

    def has(self, field: int) -> bool:
        """Whether there is a field of that number."""
        return field in self._fields

    def number(self, field: int) -> int:
        """The integer of a field, without a sign: the last, as protobuf has it, or 0 where there is none."""
        value = self._fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise Damaged(f"expected a number in field {field}, found {len(value)} bytes")
        return value

    def message(self, field: int) -> Message:
        """The message of a field: the last, or an empty one where there is none."""
        return (self.messages(field) or [Message(b"")])[-1]

    def messages(self, field: int) -> list[Message]:
        """All messages of a field."""
        found = []
        for value in self._fields.get(field, []):
            if not isinstance(value, bytes):
                raise Damaged(f"expected a message in field {field}, found the number {value}")
            found.append(Message(value))
        return found
