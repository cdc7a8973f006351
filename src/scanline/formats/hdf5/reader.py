"""Bounds-checked access to the bytes of a file."""

from __future__ import annotations

import mmap

from scanline.errors import FormatError

UNDEFINED = 2**64 - 1  # an address that points nowhere


class Reader:
    """The bytes of a file. Every access that is out of bounds raises FormatError."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def take(self, place: int, size: int) -> bytes:
        """Return `size` bytes at `place`."""
        if not 0 <= size <= len(self._data) - place:
            raise FormatError(
                expected=f"{size:,} bytes at byte {place:,}", found=f"the end at {len(self._data):,}"
            )
        return self._data[place : place + size]

    def number(self, place: int, size: int) -> int:
        """Return the little-endian unsigned integer of `size` bytes at `place`."""
        return int.from_bytes(self.take(place, size), "little")

    def expect(self, place: int, mark: bytes, what: str) -> None:
        """Check that the bytes at `place` are `mark`, which the error calls `what`."""
        found = self.take(place, len(mark))
        if found != mark:
            raise FormatError(expected=f"{what} at byte {place:,}", found=found.hex(" "))
