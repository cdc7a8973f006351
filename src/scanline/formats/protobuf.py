"""Protobuf messages without a schema: fields by number, as far as TensorFlow's checkpoints need them.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from scanline.errors import FormatError

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # wire types; groups (3 and 4) are obsolete
_MAX_VARINT_BYTES = 10


class Message:
    """A message, parsed completely. Unknown fields are ignored, as protobuf prescribes."""

    def __init__(self, content: bytes) -> None:
        """Parse a message.

        Raises:
            FormatError: If `content` is not a message.
        """
        self._fields: dict[int, list[int | bytes]] = {}
        place, end = 0, len(content)
        while place < end:
            tag, place = varint(content, place, end)
            field, wire_type = tag >> 3, tag & 7
            if wire_type == _VARINT:
                value, place = varint(content, place, end)
                self._fields.setdefault(field, []).append(value)
                continue
            if wire_type == _BYTES:
                size, place = varint(content, place, end)
            else:
                # end + 1: an unknown wire type always exceeds the message and is refused below.
                size = {_FIXED_64: 8, _FIXED_32: 4}.get(wire_type, end + 1)
            if place + size > end:
                raise FormatError(
                    expected=f"a field of at most {end - place} bytes in a message", found=f"tag {tag}"
                )
            content_of_field = content[place : place + size]
            self._fields.setdefault(field, []).append(
                content_of_field if wire_type == _BYTES else int.from_bytes(content_of_field, "little")
            )
            place += size

    def has(self, field: int) -> bool:
        """Return whether the message has a field of this number."""
        return field in self._fields

    def number(self, field: int) -> int:
        """Return the unsigned integer of a field: the last one if repeated, 0 if absent.

        Raises:
            FormatError: If the field is not a number.
        """
        # The last value counts, and an absent field is 0, as protobuf prescribes.
        value = self._fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise FormatError(expected=f"a number in field {field}", found=f"{len(value)} bytes")
        return value

    def message(self, field: int) -> Message:
        """Return the message in a field: the last one if repeated, an empty one if absent.

        Raises:
            FormatError: If the field is not a message.
        """
        return (self.messages(field) or [Message(b"")])[-1]

    def messages(self, field: int) -> list[Message]:
        """Return all messages in a repeated field.

        Raises:
            FormatError: If the field does not contain messages.
        """
        made = []
        for value in self._fields.get(field, []):
            if not isinstance(value, bytes):
                raise FormatError(expected=f"a message in field {field}", found=f"the number {value}")
            made.append(Message(value))
        return made


def varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """Read a variable-length integer: seven bits a byte, lowest first, below 2**64.

    Args:
        data: The bytes.
        place: Where the integer begins.
        end: Where it must have ended.

    Returns:
        The integer, and where the next bytes begin.

    Raises:
        FormatError: If it does not end before `end` or within ten bytes.
    """
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if place >= end:
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            # Ten bytes hold 70 bits; more than 64 is not a valid varint.
            if value >= 2**64:
                break
            return value, place
    raise FormatError(expected=f"a number of at most 64 bits before byte {end}", found="none")
