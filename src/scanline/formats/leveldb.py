"""LevelDB's table: sorted keys and values in one file, every block with a checksum.

A table is data blocks, then an index block whose values say where each of them lies, then a footer of 48
bytes that says where the index lies. In a block, a key is what it shares with the one before, and the rest.
Source: LevelDB's doc/table_format.md and TensorFlow's core/lib/io/format.h.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from scanline.limits import exceeded, limit_of

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER_BYTES, TRAILER_BYTES = 48, 5
# Of a table that is no attack: TensorFlow's largest have some thousand names, most shorter than 100 bytes.
KEY_LIMIT, MEAN_KEY_LIMIT, VALUE_LIMIT = 512, 256, 2**16

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_LANES, _SHORT = 4096, 2048


class Damaged(Exception):
    """Bytes that are no table. The text says what, where, what was expected and what was found."""


def read_table(data: bytes) -> list[tuple[bytes, bytes]]:
    """All keys with their values, in the keys' order.

    Work and memory are bounded by the size of `data` and the limits above, whatever it holds.
    Raises Damaged where anything is not as the format or a checksum says.
    """
    end = len(data) - FOOTER_BYTES
    if end < 0 or data[-8:] != MAGIC:
        raise Damaged(
            f"expected a table that ends with {MAGIC.hex(' ')}, found {len(data):,} bytes that end with "
            f"{data[-8:].hex(' ') or 'nothing'}"
        )
    metaindex, place = _handle(data, end, len(data) - 8)
    index, _ = _handle(data, place, len(data) - 8)
    _block(data, metaindex, end)  # nothing is taken from it, but it has a checksum
    found: list[tuple[bytes, bytes]] = []
    left, used = limit_of("TENSORS") * MEAN_KEY_LIMIT, 0
    bounds = _entries(_block(data, index, end), 0, left)
    left -= sum(len(bound) for bound, _ in bounds)
    for bound, value in bounds:
        handle, rest = _handle(value, 0, len(value))
        if rest != len(value) or handle[0] < used or sum(handle) > index[0]:
            raise Damaged(f"the index: expected a data block after byte {used}, found {value[:20].hex(' ')}")
        used = sum(handle) + TRAILER_BYTES
        entries = _entries(_block(data, handle, end), len(found), left)
        left -= sum(len(key) for key, _ in entries)
        for key, content in entries:
            if found and key <= found[-1][0]:
                raise Damaged(
                    f"expected keys in rising order, found {_name(key)} after {_name(found[-1][0])}"
                )
            found.append((key, content))
        if found and found[-1][0] > bound:
            raise Damaged(f"the index: expected {_name(bound)} not before {_name(found[-1][0])}")
    return found


def _handle(data: bytes, place: int, end: int) -> tuple[tuple[int, int], int]:
    """(where a block begins, its size without the trailer), and where the next bytes begin."""
    begin, place = varint(data, place, end)
    size, place = varint(data, place, end)
    return (begin, size), place


def _block(data: bytes, handle: tuple[int, int], end: int) -> bytes:
    begin, size = handle
    stop = begin + size
    if stop + TRAILER_BYTES > end:
        raise Damaged(f"expected a block of {size:,} bytes at byte {begin:,}, found {max(0, end - begin):,}")
    expected = unmasked(int.from_bytes(data[stop + 1 : stop + TRAILER_BYTES], "little"))
    if (found := crc32c(data[begin : stop + 1])) != expected:
        raise Damaged(f"the block at byte {begin:,}: expected the checksum {expected:08x}, found {found:08x}")
    if data[stop] != 0:
        kind = "Snappy" if data[stop] == 1 else f"method {data[stop]}"
        raise Damaged(f"the block at byte {begin:,} is compressed ({kind}), which is not supported")
    return data[begin:stop]


def _entries(block: bytes, before: int, left: int) -> list[tuple[bytes, bytes]]:
    """The keys and values of a block. Restart points, made for searching, are not needed.

    before: how many others there are already. left: how many bytes its keys may have together.
    """
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise Damaged(f"expected a block with {restarts:,} restart points, found {len(block):,} bytes")
    found: list[tuple[bytes, bytes]] = []
    key, place = b"", 0
    while place < end:
        shared, place = varint(block, place, end)
        fresh, place = varint(block, place, end)
        size, place = varint(block, place, end)
        if (
            shared > len(key)
            or shared + fresh > KEY_LIMIT
            or size > VALUE_LIMIT
            or place + fresh + size > end
        ):
            raise Damaged(
                f"an entry at byte {place} of its block: expected a key of at most {KEY_LIMIT} bytes and a "
                f"value of at most {VALUE_LIMIT} within {end:,} bytes, found {shared} shared + {fresh} and "
                f"{size}"
            )
        left -= shared + fresh
        if left < 0:
            raise Damaged(
                f"expected keys of at most {limit_of('TENSORS') * MEAN_KEY_LIMIT:,} bytes together, "
                "found more"
            )
        if before + len(found) > limit_of("TENSORS"):  # one more, the header
            raise Damaged(exceeded("TENSORS", before + len(found)))
        key = key[:shared] + block[place : place + fresh]
        place += fresh + size
        found.append((key, block[place - size : place]))
    return found


def varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """The number at `place`, seven bits a byte, lowest first, below 2**64; and where the next bytes begin.

    Raises Damaged where it does not end before `end` or within ten bytes.
    """
    value = 0
    for count in range(10):
        if place >= end:
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, place
    raise Damaged(f"expected a number of at most 64 bits before byte {end}, found none")


def unmasked(stored: int) -> int:
    """The CRC-32C that was stored as `stored`. Source: LevelDB's util/crc32c.h, Mask and Unmask."""
    turned = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return ((turned >> 17) | (turned << 15)) & 0xFFFFFFFF


def crc32c(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, or, with the CRC of what came before, of both.

    Many bytes are cut into lanes that NumPy walks side by side. A CRC without its inversions is linear, so
    the lanes are then joined in pairs: the left one moved on by as many zero bytes as the right one has.
    Source: RFC 3720, appendix B.4; zlib's crc32_combine.
    """
    start = ~before & 0xFFFFFFFF
    count = len(data)
    if count < _SHORT:
        one_by_one = _table().tolist()
        for byte in data:
            start = one_by_one[(start ^ byte) & 0xFF] ^ (start >> 8)
        return ~start & 0xFFFFFFFF
    lanes = min(_LANES, 1 << ((count // 64).bit_length() - 1))
    width = -(-count // lanes)
    # Zeros before the first byte leave a CRC of 0 as it is. What it starts from instead is added at the end.
    padded = np.zeros(lanes * width, np.uint8)
    padded[lanes * width - count :] = np.frombuffer(data, np.uint8)
    columns = np.ascontiguousarray(padded.reshape(lanes, width).T)  # (width, lanes)
    table = _table()
    state = np.zeros(lanes, np.uint32)
    for column in columns:
        state = table[(state ^ column).astype(np.uint8)] ^ (state >> 8)
    while len(state) > 1:
        state = _moved(state[0::2], width) ^ state[1::2]
        width *= 2
    begun = _moved(np.array([start], np.uint32), count)
    return ~int(state[0] ^ begun[0]) & 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """What one more byte, (256,), does to a CRC of 0."""
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


def _moved(states: NDArray[np.uint32], zeros: int) -> NDArray[np.uint32]:
    """`states` after `zeros` more bytes of 0."""
    power = 0
    while zeros:
        if zeros & 1:
            states = _joined(_moves(power), states)
        zeros >>= 1
        power += 1
    return states


def _joined(parts: NDArray[np.uint32], states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`parts`, (4, 256), of each byte of the states, added up as a CRC adds."""
    total = np.zeros_like(states)
    for i in range(4):
        total = total ^ parts[i][(states >> (8 * i)) & 0xFF]
    return total


@cache
def _moves(power: int) -> NDArray[np.uint32]:
    """What 2**power bytes of 0 do to each value of each of a CRC's four bytes, lowest first: (4, 256)."""
    values = np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]
    if power == 0:
        one: NDArray[np.uint32] = _table()[values & 0xFF] ^ (values >> 8)
        return one
    half = _moves(power - 1)
    return _joined(half, _joined(half, values))


def _name(key: bytes) -> str:
    return ascii(key[:80])[1:]
