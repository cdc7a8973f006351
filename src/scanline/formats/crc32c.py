"""CRC-32C (Castagnoli), the checksum of LevelDB's tables and TensorFlow's checkpoints.

Source: RFC 3720, appendix B.4; combining two CRCs: zlib's crc32_combine.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, with its bits reversed
_LANES, _SHORT_BYTES = 4096, 2048


def crc32c(data: bytes | memoryview, before: int = 0) -> int:
    """Return the CRC-32C of `data`.

    Args:
        data: The bytes.
        before: CRC of the bytes that precede `data`; the result is then the CRC of both together.
    """
    # Long input is cut into lanes that NumPy processes in parallel. A CRC without its two inversions is
    # linear over GF(2), so the lanes are then combined in pairs: the left lane's CRC is advanced by as many
    # zero bytes as the right lane has, and added (xor) to the right one's.
    start = ~before & 0xFFFFFFFF
    count = len(data)
    if count < _SHORT_BYTES:
        table = _table().tolist()
        for byte in data:
            start = table[(start ^ byte) & 0xFF] ^ (start >> 8)
        return ~start & 0xFFFFFFFF
    # A power of two of lanes, each of at least 64 bytes.
    lanes = min(_LANES, 1 << ((count // 64).bit_length() - 1))
    width = -(-count // lanes)
    # Leading zeros do not change a CRC that starts from 0. The real start value is added at the end.
    padded = np.zeros(lanes * width, np.uint8)
    padded[lanes * width - count :] = np.frombuffer(data, np.uint8)
    columns = np.ascontiguousarray(padded.reshape(lanes, width).T)  # (width, lanes)
    by_byte = _table()
    state = np.zeros(lanes, np.uint32)
    for column in columns:
        # One table step for all lanes at once: `column` is the next byte of every lane.
        state = by_byte[(state ^ column).astype(np.uint8)] ^ (state >> 8)
    # `lanes` is a power of two, so pairs come out even; `width` is the length in bytes of a right lane.
    while len(state) > 1:
        state = _advanced(state[0::2], width) ^ state[1::2]
        width *= 2
    from_start = _advanced(np.array([start], np.uint32), count)
    return ~int(state[0] ^ from_start[0]) & 0xFFFFFFFF


def unmasked(stored: int) -> int:
    """Return the CRC-32C that LevelDB stores as `stored`. Source: Mask and Unmask of its util/crc32c.h."""
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """Return the CRC of each single byte, starting from 0: (256,)."""
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


def _advanced(states: NDArray[np.uint32], zeros: int) -> NDArray[np.uint32]:
    """Return `states` after `zeros` more zero bytes, by binary exponentiation."""
    power = 0
    while zeros:
        if zeros & 1:
            states = _apply(_zeros_operator(power), states)
        zeros >>= 1
        power += 1
    return states


def _apply(operator: NDArray[np.uint32], states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the xor of `operator`, (4, 256), looked up for each byte of the states, lowest first."""
    total = np.zeros_like(states)
    for i in range(4):
        total = total ^ operator[i][(states >> (8 * i)) & 0xFF]
    return total


@cache
def _zeros_operator(power: int) -> NDArray[np.uint32]:
    """Return what 2**power zero bytes make of each value of each byte of a CRC, lowest first: (4, 256)."""
    values = np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]
    if power == 0:
        one: NDArray[np.uint32] = _table()[values & 0xFF] ^ (values >> 8)
        return one
    half = _zeros_operator(power - 1)
    return _apply(half, _apply(half, values))
