"""A writer of TensorFlow's checkpoints, made from the format's description and not from the reader's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MAGIC = bytes.fromhex("57fb808b247547db")
CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10, "float16": 19}
HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one data file, version 1: as TensorFlow 1.15 writes it


def crc32c(data: bytes) -> int:
    """Bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    found = b""
    while value >= 128:
        found += bytes([value % 128 + 128])
        value //= 128
    return found + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a message; a number of 0 is left out, as proto3 has it."""
    if isinstance(value, bytes):
        return varint(number * 8 + 2) + varint(len(value)) + value
    return varint(number * 8) + varint(value) if value else b""


def fixed32(number: int, value: int) -> bytes:
    return varint(number * 8 + 5) + value.to_bytes(4, "little")


def header(shards: int = 1, big: int = 0, needs: int = 0) -> bytes:
    return field(1, shards) + field(2, big) + field(3, field(1, 1) + field(2, needs))


def entry(
    code: int, shape: tuple[int, ...], shard: int, offset: int, size: int, crc: int, more: bytes = b""
) -> bytes:
    sides = b"".join(field(2, field(1, side)) for side in shape)
    return (
        field(1, code)
        + field(2, sides)
        + field(3, shard)
        + field(4, offset)
        + field(5, size)
        + fixed32(6, masked(crc))
        + more
    )


def block(items: list[tuple[bytes, bytes]], interval: int = 16) -> bytes:
    body, restarts, before = b"", [], b""
    for count, (key, value) in enumerate(items):
        shared = 0
        if count % interval == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    marks = [place.to_bytes(4, "little") for place in restarts or [0]]
    return body + b"".join(marks) + len(marks).to_bytes(4, "little")


def sealed(content: bytes, compression: int = 0) -> bytes:
    """A block with its trailer."""
    whole = content + bytes([compression])
    return whole + masked(crc32c(whole)).to_bytes(4, "little")


def successor(last: bytes) -> bytes:
    """A short key after `last`, as LevelDB ends an index."""
    return bytes([last[0] + 1]) if last and last[0] < 255 else last + b"\xff"


def separator(last: bytes, first: bytes) -> bytes:
    """A short key from `last` on and before `first`, as LevelDB's BytewiseComparator finds it."""
    same = 0
    while same < min(len(last), len(first)) and last[same] == first[same]:
        same += 1
    if same < min(len(last), len(first)) and last[same] + 1 < first[same]:
        return last[:same] + bytes([last[same] + 1])
    return last


def table(items: list[tuple[bytes, bytes]], block_bytes: int = 4096, compression: int = 0) -> bytes:
    """LevelDB's table of `items`, in this order, with a block ended once it has `block_bytes`."""
    blocks: list[list[tuple[bytes, bytes]]] = [[]]
    for item in items:
        if sum(len(key) + len(value) for key, value in blocks[-1]) >= block_bytes:
            blocks.append([])
        blocks[-1].append(item)
    content, index = b"", []
    for count, part in enumerate(blocks):
        data = block(part)
        last = part[-1][0] if part else b""
        bound = separator(last, blocks[count + 1][0][0]) if count + 1 < len(blocks) else successor(last)
        index.append((bound, varint(len(content)) + varint(len(data))))
        content += sealed(data, compression)
    return with_index(content, index)


def with_index(content: bytes, index: list[tuple[bytes, bytes]]) -> bytes:
    """Data blocks with what follows them: an empty metaindex, the index and the footer."""
    handles = b""
    for part in (block([]), block(index, interval=1)):
        handles += varint(len(content)) + varint(len(part))
        content += sealed(part)
    return content + handles.ljust(40, b"\0") + MAGIC


def write(
    folder: Path, variables, name: str = "model.ckpt", shards: int = 1, block_bytes: int = 4096, edit=None
) -> Path:
    """Write a checkpoint; what its files' names begin with.

    variables: arrays by name, or (code, shape, bytes). shards: data files, in turn. edit: changes the list of
    (key, value) before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [b""] * shards
    items = [(b"", HEADER if shards == 1 else header(shards))]
    for count, key in enumerate(sorted(variables, key=str.encode)):
        value = variables[key]
        if isinstance(value, tuple):
            code, shape, raw = value
        else:
            code, shape, raw = CODES[str(value.dtype)], value.shape, np.ascontiguousarray(value).tobytes()
        shard = count % shards
        items.append((key.encode(), entry(code, shape, shard, len(files[shard]), len(raw), crc32c(raw))))
        files[shard] += raw
    if edit:
        items = edit(items)
    prefix = folder / name
    for shard, content in enumerate(files):
        (folder / f"{name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    (folder / f"{name}.index").write_bytes(table(items, block_bytes))
    return prefix
