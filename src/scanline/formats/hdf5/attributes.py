"""Attributes that are one text, in the header or in the global heap (sections III.E, IV.A.2.m)."""

from __future__ import annotations

from scanline.errors import FormatError
from scanline.formats.hdf5.headers import Message
from scanline.formats.hdf5.reader import Reader

_STRING, _VARIABLE_LENGTH = 3, 9  # classes of datatypes
KINDS = {
    0: "whole numbers",
    1: "numbers of another layout",
    _STRING: "text",
    _VARIABLE_LENGTH: "lists or text",
}
_MAX_HEAP_OBJECTS = 2**16


def text_attribute(reader: Reader, message: Message, wanted: str, limit: int) -> bytes | None:
    """Return the text in an attribute message, or None if the attribute has another name.

    Args:
        reader: The file.
        message: The message.
        wanted: Name of the attribute.
        limit: The largest size of the text in bytes.

    Returns:
        The text without zero bytes at its end.

    Raises:
        FormatError: If the attribute is not one text of at most `limit` bytes.
    """
    version = reader.number(message.start, 1)
    if version not in (1, 2, 3):
        raise FormatError(expected=f"an attribute of version 1 to 3 at byte {message.start:,}", found=version)
    place, end = message.start + 8 + (version == 3), message.start + message.size
    parts = []
    for index in range(3):  # name, datatype, dataspace
        length = reader.number(message.start + 2 + 2 * index, 2)
        parts.append(reader.take(place, length))
        place += length + (-length % 8 if version == 1 else 0)
    name, datatype, space = parts
    if name.split(b"\0")[0] != wanted.encode():
        return None
    scalar = len(space) >= 4 and space[1] == 0 and (space[0] == 1 or space[3] == 0)
    shared = version > 1 and reader.number(message.start + 1, 1)
    if len(datatype) < 8 or not scalar or shared:
        raise FormatError(expected=f"{wanted} to be one text", found="something else")
    kind, length = datatype[0] & 15, int.from_bytes(datatype[4:8], "little")
    if kind == _VARIABLE_LENGTH and datatype[1] & 15 == 1:  # a text of any length, in the heap
        if end - place < 16:
            raise FormatError(expected=f"a reference of 16 bytes in {wanted}", found=end - place)
        length = reader.number(place, 4)
        heap, index = reader.number(place + 4, 8), reader.number(place + 12, 4)
        place = _in_heap(reader, heap, index, length)
    elif kind != _STRING or length > end - place:
        raise FormatError(expected=f"{wanted} to be one text", found=KINDS.get(kind, "something else"))
    if length > limit:
        raise FormatError(expected=f"{wanted} to be at most {limit:,} bytes", found=f"{length:,}")
    return reader.take(place, length).rstrip(b"\0")


def _in_heap(reader: Reader, heap: int, index: int, length: int) -> int:
    """Return where object `index` of the global heap begins, which has at least `length` bytes."""
    reader.expect(heap, b"GCOL\x01", "a heap")
    place, end = heap + 16, heap + reader.number(heap + 8, 8)
    for _ in range(_MAX_HEAP_OBJECTS):
        if end - place < 16:
            break
        found, size = reader.number(place, 2), reader.number(place + 8, 8)
        if found == index and index:
            if size < length:
                raise FormatError(expected=f"a text of {length:,} bytes at byte {place:,}", found=f"{size:,}")
            return place + 16
        # Objects are padded to 8 bytes; the size of the free space (index 0) includes its own head.
        step = 16 + size + -size % 8 if found else size
        if step < 16:  # would not advance
            break
        place += step
    raise FormatError(expected=f"text {index:,} in the heap at byte {heap:,}", found="none")
