"""Changes inside arrays, weights and pictures, with lengths and checksums corrected."""

from __future__ import annotations

import json
import re
import struct
import zlib
from random import Random

import numpy as np
import safetensors.numpy

from fuzz.mutators.plain import noise
from fuzz.mutators.text import text, tree


def npy(content: bytes, rng: Random) -> bytes:
    """The header of numpy.save, with its length put right, or what follows it."""
    if len(content) < 12 or rng.random() < 0.3:
        return noise(content, rng)
    end = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:end]
    kind = rng.randrange(4)
    if kind == 0:
        header = text(header, rng)
    elif kind == 1:
        kinds = (
            b"<f8",
            b"<f4",
            b"|u1",
            b"<i8",
            b">i2",
            b"<U7",
            b"|S3",
            b"|O",
            b"<f2",
            b"<c16",
            b"<M8[s]",
            b"|b1",
        )
        kinds += (b"|V8", b"<U99999999", b"<m8", b"[('a','<f4')]", b"<f16", b"|T", b"|u0", b"|S0")
        header = re.sub(rb"'descr': [^ ]+", lambda _: b"'descr': '" + rng.choice(kinds) + b"',", header)
    elif kind == 2:
        sizes = ", ".join(
            str(rng.choice((0, 1, 2, 3, 4, 12, -1, 2**31, 2**40, 2**63))) for _ in range(rng.randrange(5))
        )
        header = re.sub(rb"'shape': \([^)]*\)", f"'shape': ({sizes},)".encode(), header)
    else:
        return content[:end] + noise(content[end:], rng)
    return content[:8] + struct.pack("<H", len(header) % 2**16) + header + content[end:]


def tensors(content: bytes, rng: Random) -> bytes:
    """The header of a safetensors file, with its length put right, or what follows it."""
    if len(content) < 8 or rng.random() < 0.15:
        return noise(content, rng)
    if rng.random() < 0.4:
        return _other_tensors(content, rng)
    end = 8 + int.from_bytes(content[:8], "little")
    header, held = content[8:end], content[end:]
    kind = rng.randrange(4)
    if kind == 0:
        return content[:end] + noise(held, rng)
    if kind == 1:
        kinds = (b"F64", b"F32", b"F16", b"BF16", b"I64", b"I32", b"U8", b"BOOL", b"F8_E4M3", b"C64", b"F4")
        dtypes = list(re.finditer(rb'"dtype":\s*"([^"]*)"', header))
        if dtypes:
            one = rng.choice(dtypes)
            header = header[: one.start(1)] + rng.choice(kinds) + header[one.end(1) :]
    else:
        header = tree(header, rng)
        header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + held


def _other_tensors(content: bytes, rng: Random) -> bytes:
    """A sound file of other tensors: one that is gone, new, or of another name, shape, type or value."""
    try:
        held = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__")
        name = rng.choice(sorted(held))
        array = held[name]
        action = rng.randrange(6)
        if action == 0:
            del held[name]
        elif action == 1:
            held[rng.choice((name + "x", "x", name.replace("0", "1"), rng.choice(sorted(held))))] = array
        elif action == 2:
            held[name] = array.astype(rng.choice(("f2", "f8", "i4", "i8", "u1", "?")))
        elif action == 3:
            shape = rng.choice(
                ((*array.shape, 1), (1, *array.shape), (array.size,), (0,), (), (2, 3), array.shape[::-1])
            )
            held[name] = np.resize(array, shape)
        else:
            values = (np.nan, np.inf, -np.inf, 0, -1, 1e38, 1e-45, 2**24)
            array = array.copy()
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice(values)
            held[name] = array
        return safetensors.numpy.save(held, metadata)
    except Exception:  # noqa: BLE001  it is no such file any more, or an array without values
        return noise(content, rng)


def png(content: bytes, rng: Random) -> bytes:
    """A chunk of a PNG with its checksum put right; or the bytes."""
    if rng.random() < 0.3:
        return noise(content, rng)
    chunks, at = [], 8
    while at + 12 <= len(content) and len(chunks) < 100:
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return noise(content, rng)
    place = rng.randrange(len(chunks))
    kind, held = chunks[place]
    action = rng.randrange(6)
    if action == 0:
        del chunks[place]
    elif action == 1:
        chunks.insert(rng.randint(0, len(chunks)), (kind, held))
    elif action == 2:
        names = (
            b"tRNS",
            b"PLTE",
            b"eXIf",
            b"iCCP",
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"gAMA",
        )
        chunks.insert(
            rng.randint(0, len(chunks)), (rng.choice(names), rng.randbytes(rng.choice((0, 1, 6, 26))))
        )
    elif kind == b"IDAT" and action < 5:
        try:
            held = zlib.compress(noise(zlib.decompress(held), rng), 1)
        except zlib.error:
            held = noise(held, rng)
        chunks[place] = (kind, held)
    else:
        chunks[place] = (kind, noise(held, rng))
    made = [struct.pack(">I", len(h)) + k + h + struct.pack(">I", zlib.crc32(k + h)) for k, h in chunks]
    return content[:8] + b"".join(made)
