"""Changes to plain bytes: bits, bytes, numbers and pieces."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Files = dict[str, bytes]  # by path in a folder
Change = Callable[[bytes, Random], bytes]

MAX_BYTES = 2**18  # of a file after a change
NUMBERS = sorted(
    {sign * (2**power + off) for power in range(0, 65) for off in (-1, 0, 1) for sign in (1, -1)}
)


def noise(content: bytes, rng: Random) -> bytes:
    """Bits, bytes, numbers of 1 to 8 bytes, and pieces that go, come twice, or change places."""
    data = bytearray(content)
    if not data:
        return rng.randbytes(rng.choice((1, 4, 16, 64)))
    kind = rng.randrange(9)
    # Heads decide more than what follows them.
    at = rng.randrange(min(len(data), rng.choice((16, 128, len(data)))))
    size = rng.choice((1, 1, 2, 4, 8, 16, 64, 512))
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind in (2, 3):
        width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        number = rng.choice(NUMBERS) % 2 ** (8 * width)
        if rng.random() < 0.3:  # a little more or less than what stands there
            number = (int.from_bytes(data[at : at + width], order) + rng.randint(-8, 8)) % 2 ** (8 * width)
        data[at : at + width] = number.to_bytes(width, order)
    elif kind == 4:
        del data[at : at + size]
    elif kind == 5:
        data[at:at] = data[at : at + size]
    elif kind == 6:
        data[at:at] = rng.randbytes(size)
    elif kind == 7:
        del data[at:]
    else:
        there = rng.randrange(len(data))
        data[there : there + size] = data[at : at + size]
    return bytes(data)


def spliced(content: bytes, other: bytes, rng: Random) -> bytes:
    begin = rng.randrange(len(other))
    at = rng.randint(0, len(content))
    piece = other[begin : begin + rng.choice((4, 16, 64, 512))]
    return content[:at] + piece + content[at + rng.choice((0, len(piece))) :]
