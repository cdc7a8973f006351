"""LevelDB's table format: sorted keys and values in one file, every block with a checksum.

Layout: data blocks, an index block whose values locate the data blocks, and a footer of 48 bytes that locates
the index. Within a block, a key is stored as the length of the prefix shared with the key before, and the
rest.
Source: LevelDB's doc/table_format.md and TensorFlow's core/lib/io/format.h.
"""

from __future__ import annotations

from typing import NamedTuple

from scanline.errors import FormatError
from scanline.formats.crc32c import crc32c, unmasked
from scanline.formats.protobuf import varint
from scanline.limits import excess, limit_of

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER_BYTES, TRAILER_BYTES = 48, 5
# TensorFlow's largest checkpoints have a few thousand names, most of them shorter than 100 bytes.
KEY_LIMIT, MEAN_KEY_LIMIT, VALUE_LIMIT = 512, 256, 2**16


class Handle(NamedTuple):
    """Where a block begins, and its size in bytes without the trailer."""

    begin: int
    size: int

    @property
    def end(self) -> int:
        """Where the block ends and its trailer begins."""
        return self.begin + self.size


def read_table(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return all keys with their values, in the order of the keys.

    Time and memory are bounded by the size of `data` and by the limits, whatever it contains.

    Raises:
        FormatError: If the bytes do not follow the format, a checksum does not match, or a limit is exceeded.
    """
    end = len(data) - FOOTER_BYTES
    if end < 0 or data[-8:] != MAGIC:
        raise FormatError(
            expected=f"a table that ends with {MAGIC.hex(' ')}",
            found=f"{len(data):,} bytes that end with {data[-8:].hex(' ') or 'nothing'}",
        )
    metaindex, place = read_handle(data, end, len(data) - 8)
    index, _ = read_handle(data, place, len(data) - 8)
    _block(data, metaindex, end)  # not used, but its checksum must match
    table: list[tuple[bytes, bytes]] = []
    key_bytes_left, used = limit_of("TENSORS") * MEAN_KEY_LIMIT, 0
    bounds = read_entries(_block(data, index, end), 0, key_bytes_left)
    key_bytes_left -= sum(len(bound) for bound, _ in bounds)
    for bound, value in bounds:
        handle, rest = read_handle(value, 0, len(value))
        # Blocks in rising order without overlap: no block is read twice.
        if rest != len(value) or handle.begin < used or handle.end > index.begin:
            raise FormatError(
                place="the index", expected=f"a data block after byte {used}", found=value[:20].hex(" ")
            )
        used = handle.end + TRAILER_BYTES
        entries = read_entries(_block(data, handle, end), len(table), key_bytes_left)
        key_bytes_left -= sum(len(key) for key, _ in entries)
        for key, content in entries:
            # Strictly rising keys also rule out duplicates.
            if table and key <= table[-1][0]:
                raise FormatError(
                    expected="keys in rising order", found=f"{_name(key)} after {_name(table[-1][0])}"
                )
            table.append((key, content))
        if table and table[-1][0] > bound:
            raise FormatError(
                place="the index",
                expected=f"a bound not before {_name(table[-1][0])}",
                found=_name(bound),
            )
    return table


def read_handle(data: bytes, place: int, end: int) -> tuple[Handle, int]:
    """Read the handle at `place`; also return where the next bytes begin."""
    begin, place = varint(data, place, end)
    size, place = varint(data, place, end)
    return Handle(begin, size), place


def _block(data: bytes, handle: Handle, end: int) -> bytes:
    place = f"the block at byte {handle.begin:,}"
    if handle.end + TRAILER_BYTES > end:
        raise FormatError(
            expected=f"a block of {handle.size:,} bytes at byte {handle.begin:,}",
            found=f"{max(0, end - handle.begin):,}",
        )
    # The trailer is the compression method (one byte) and the masked CRC of block and method.
    expected = unmasked(int.from_bytes(data[handle.end + 1 : handle.end + TRAILER_BYTES], "little"))
    # The checksum comes first: nothing in a block is interpreted before it matches.
    if (found := crc32c(data[handle.begin : handle.end + 1])) != expected:
        raise FormatError(place=place, expected=f"the checksum {expected:08x}", found=f"{found:08x}")
    if data[handle.end] != 0:
        method = "Snappy" if data[handle.end] == 1 else f"method {data[handle.end]}"
        raise FormatError(f"compressed ({method}), which is not supported", place=place)
    return data[handle.begin : handle.end]


def read_entries(block: bytes, before: int, key_bytes_left: int) -> list[tuple[bytes, bytes]]:
    """Return the keys and values of a block. Restart points, which speed up searches, are skipped.

    Args:
        block: The block without its trailer.
        before: Number of entries in earlier blocks.
        key_bytes_left: Number of bytes that all its keys may have together.

    Raises:
        FormatError: If the block is damaged or has too many entries.
    """
    # A block ends with its restart offsets, a uint32 each, and their number. The entries are before them.
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise FormatError(expected=f"a block with {restarts:,} restart points", found=f"{len(block):,} bytes")
    entries: list[tuple[bytes, bytes]] = []
    key, place = b"", 0
    while place < end:
        shared, place = varint(block, place, end)
        fresh, place = varint(block, place, end)
        size, place = varint(block, place, end)
        fits = shared <= len(key) and shared + fresh <= KEY_LIMIT and size <= VALUE_LIMIT
        if not fits or place + fresh + size > end:
            raise FormatError(
                place=f"an entry at byte {place} of its block",
                expected=f"a key of at most {KEY_LIMIT} bytes and a value of at most {VALUE_LIMIT} within "
                f"{end:,} bytes",
                found=f"{shared} shared + {fresh} and {size}",
            )
        # A shared prefix costs no bytes of the file: without this bound, few bytes could stand for many.
        key_bytes_left -= shared + fresh
        if key_bytes_left < 0:
            raise FormatError(
                expected=f"keys of at most {limit_of('TENSORS') * MEAN_KEY_LIMIT:,} bytes together",
                found="more",
            )
        if before + len(entries) > limit_of("TENSORS"):  # the header is one entry more
            raise FormatError(**excess("TENSORS", before + len(entries)))
        key = key[:shared] + block[place : place + fresh]
        place += fresh + size
        entries.append((key, block[place - size : place]))
    return entries


def _name(key: bytes) -> str:
    return ascii(key[:80])[1:]
