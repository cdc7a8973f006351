"""Object headers: lists of messages about an object (sections IV.A.1 and IV.A.2.q)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scanline.errors import FormatError
from scanline.formats.hdf5.reader import Reader
from scanline.limits import limit_of

# Kinds of messages.
SPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x0B, 0x0C, 0x10, 0x11

_MAX_BLOCKS, _MAX_MESSAGES = 64, 4096  # of one header
_SHARED = 2  # flag of a message that is stored elsewhere
# Messages in all headers, for each layer that a model may have. A bidirectional layer has about forty.
_MESSAGES_PER_LAYER = 512


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its kind, where its body begins, and the body's size in bytes."""

    kind: int
    start: int
    size: int


class Headers:
    """The object headers of a file, by address. Each is parsed once, and their total size is bounded."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parsed: dict[int, list[Message]] = {}
        self._count = 0
        self._limit = _MESSAGES_PER_LAYER * limit_of("LAYERS")

    def messages(self, place: int) -> list[Message]:
        """Return the messages of the object header at `place`.

        Raises:
            FormatError: If there is no header, it is damaged, or all headers have too many messages.
        """
        if place not in self._parsed:
            parsed = []
            for message in self._parse(place):
                self._count += 1
                if self._count > self._limit:
                    raise FormatError(
                        expected=f"at most {self._limit:,} messages in its headers", found="more"
                    )
                parsed.append(message)
            self._parsed[place] = parsed
        return self._parsed[place]

    def _parse(self, place: int) -> Iterator[Message]:
        take, number = self._reader.take, self._reader.number
        version_2 = take(place, 4) == b"OHDR"
        if version_2:
            self._reader.expect(place + 4, b"\x02", "an object header of version 2")
            flags = number(place + 5, 1)
            start = place + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)  # times, attribute limits
            width = 1 << (flags & 3)
            blocks = [(start + width, number(start, width))]
            kind_bytes, head_bytes = 1, 4 + 2 * bool(flags & 4)
        else:
            self._reader.expect(place, b"\x01", "an object header")
            blocks = [(place + 16, number(place + 8, 4))]
            kind_bytes, head_bytes = 2, 8
        count = 0
        for start, size in blocks:  # continuation messages append to it
            end = start + size
            while end - start >= head_bytes:
                kind, length = number(start, kind_bytes), number(start + kind_bytes, 2)
                shared = number(start + kind_bytes + 2, 1) & _SHARED
                body = start + head_bytes
                count += 1
                if length > end - body or count > _MAX_MESSAGES or (shared and kind != 0):
                    raise FormatError(
                        expected=f"a message at byte {start:,}", found=f"{length:,} bytes of kind {kind}"
                    )
                if kind == CONTINUATION and len(blocks) < _MAX_BLOCKS:
                    place, size = number(body, 8), number(body + 8, 8)
                    if version_2:
                        self._reader.expect(place, b"OCHK", "a continuation of an object header")
                        place, size = place + 4, size - 8  # without signature and checksum
                    blocks.append((place, size))
                yield Message(kind, body, length)
                start = body + length
