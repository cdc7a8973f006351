"""Changes to files that keep enough of their format for a reader to go on: what is packed is changed inside.

Every change is a function of the bytes and of the generator that is given, so that a seed repeats a run.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import safetensors.numpy

Files = dict[str, bytes]  # by their paths in a folder
Change = Callable[[bytes, Random], bytes]

LARGEST = 2**18  # bytes of a file after a change
_NUMBERS = sorted(
    {sign * (2**power + off) for power in range(0, 65) for off in (-1, 0, 1) for sign in (1, -1)}
)
_TEXTS = (
    *(
        "",
        "0",
        "-1",
        "1e999",
        "-1e-999",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "true",
        "null",
        "?",
        "-0.0",
    ),
    *(
        "2147483648",
        "4294967296",
        "9223372036854775808",
        "1" * 400,
        "1" * 5000,
        "0x10",
        "1_000",
        "1,5",
        "٣",
        "é",
        "퟿",
    ),
    *(
        '"',
        '""',
        "'",
        "\\",
        "\0",
        "\ufeff",
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        ",",
        ";",
        ":",
        "#",
        "@data",
        "=",
        "[",
        "]",
    ),
    *(
        "{",
        "}",
        "[[",
        "../x",
        "/etc/passwd",
        "a" * 3000,
        "[" * 3000,
        "2026-01-31 12:00:00",
        "12:00",
        "{{ 1 }}",
        "<b>",
    ),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 2**31, 2**40, 2**63, 2**64, 10**400, -(2**63)),
    *("", "x", "1", "\0", "nan", "a\nb", "é", "<b>", "x" * 3000),
    *([], {}, [[]], [None], [0], [1, 2], ["x"], {"x": 1}, [[1.0, 2.0], [3.0]], [10**30], {"": []}, [{}]),
)


def change(name: str, content: bytes, rng: Random, other: bytes = b"", raw: Change | None = None) -> bytes:
    """`content` of a file called `name`, changed once or a few times.

    other: of another file of the kind, to take parts from. raw: another way to change plain bytes.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if other and rng.random() < 0.05:
            content = _spliced(content, other, rng)
        elif raw is not None and rng.random() < 0.3:
            content = raw(content, rng)
        else:
            content = _by_name(name)(content, rng)
    return content[:LARGEST]


def _by_name(name: str) -> Change:
    lower = name.lower()
    if lower.endswith(".gz"):
        inner = _by_name(lower.removesuffix(".gz"))
        return lambda content, rng: _repacked_gzip(content, rng, inner)
    return next((each for end, each in _BY_ENDING.items() if lower.endswith(end)), noise)


# --- bytes


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
        number = rng.choice(_NUMBERS) % 2 ** (8 * width)
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


def _spliced(content: bytes, other: bytes, rng: Random) -> bytes:
    begin = rng.randrange(len(other))
    at = rng.randint(0, len(content))
    piece = other[begin : begin + rng.choice((4, 16, 64, 512))]
    return content[:at] + piece + content[at + rng.choice((0, len(piece))) :]


# --- text


def text(content: bytes, rng: Random) -> bytes:
    """Numbers, words, cells and lines of a text."""
    kind = rng.randrange(8)
    if kind == 0:
        return noise(content, rng)
    said = content.decode("utf-8", "surrogateescape")
    if kind in (1, 2, 3):
        words = list(re.finditer(r"-?\d+(?:\.\d+)?" if kind == 1 else r"[^\s,;:\t=]+", said))
        if words:
            word = rng.choice(words)
            new = rng.choice(_TEXTS) if rng.random() < 0.8 else rng.choice(words)[0]
            said = said[: word.start()] + new + said[word.end() :]
    elif kind == 4:
        at = rng.randint(0, len(said))
        said = said[:at] + rng.choice(_TEXTS) + said[at:]
    else:
        lines = said.splitlines(keepends=True)
        if lines:
            at, there = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 5:
                del lines[at]
            elif kind == 6:
                lines.insert(there, lines[at])
            else:
                lines[at], lines[there] = lines[there], lines[at]
            said = "".join(lines)
    return said.encode("utf-8", "surrogateescape")


def tree(content: bytes, rng: Random) -> bytes:
    """A value of a JSON file, or its bytes."""
    if rng.random() < 0.1:
        return text(content, rng)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return text(content, rng)
    return json.dumps(changed_value(value, rng)).encode("utf-8", "surrogatepass")


def changed_value(value: Any, rng: Random) -> Any:
    """`value`, made of dictionaries, lists and plain values, with one place in it changed."""
    places: list[tuple[Any, Any]] = []
    _collect(value, places)
    if not places or rng.random() < 0.01:
        return rng.choice(_VALUES)
    holder, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "schema", "n", str(key) + "x"))] = holder[key]
    elif kind == 1:
        holder.insert(key, holder[key])
    elif kind == 2:
        other, place = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[place])) if place in _keys(other) else None
    elif kind == 3 and type(holder[key]) in (int, float):
        holder[key] = rng.choice((holder[key] + 1, holder[key] - 1, -holder[key], rng.choice(_NUMBERS)))
    elif kind == 4:
        holder[key] = [holder[key]] if rng.random() < 0.8 else _deep(rng.choice((100, 3000)))
    else:
        holder[key] = rng.choice(_VALUES)
    return value


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    if isinstance(value, dict | list):
        for key in _keys(value):
            places.append((value, key))
            _collect(value[key], places)


def _deep(depth: int) -> Any:
    value: Any = 0
    for _ in range(min(depth, 200)):
        value = [value]
    return value


def json_lines(content: bytes, rng: Random) -> bytes:
    """One line of JSON lines, or the text."""
    lines = content.splitlines()
    if not lines or rng.random() < 0.3:
        return text(content, rng)
    at = rng.randrange(len(lines))
    lines[at] = tree(lines[at], rng)
    return b"\n".join(lines) + b"\n"


# --- what is packed


def _repacked_gzip(content: bytes, rng: Random, inner: Change) -> bytes:
    if rng.random() < 0.3:
        return noise(content, rng)
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return noise(content, rng)
    return gzip.compress(inner(plain[: 4 * LARGEST], rng), 1, mtime=0)


def archive(content: bytes, rng: Random) -> bytes:
    """A member of a zip file, its name, or the bytes."""
    kind = rng.randrange(10)
    if kind < 2:
        return noise(content, rng)
    if kind == 2:  # the directory stands at the end
        tail = min(len(content), 300)
        return content[:-tail] + noise(content[-tail:], rng) if tail else content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = [(each.filename, file.read(each)) for each in file.infolist()]
    except Exception:  # noqa: BLE001  damaged bytes, for which zipfile has many names
        return noise(content, rng)
    if not members:
        return noise(content, rng)
    at = rng.randrange(len(members))
    name, held = members[at]
    if kind == 3:
        del members[at]
    elif kind == 4:
        members.append((rng.choice((name, name.upper(), "X.npy", "y.npy", "config.json", "../x")), held))
    elif kind == 5:
        members[at] = (rng.choice(members)[0], held)
    else:
        members[at] = (name, _by_name(name)(held, rng))
    packed = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", how) as file:
        warnings.simplefilter("ignore")  # of names that stand there twice
        for name, held in members:
            file.writestr(zipfile.ZipInfo(name), held[: 4 * LARGEST], how)
    return packed.getvalue()


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
        found = list(re.finditer(rb'"dtype":\s*"([^"]*)"', header))
        if found:
            one = rng.choice(found)
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
        said = json.loads(content[8 : 8 + size]).get("__metadata__")
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
        return safetensors.numpy.save(held, said)
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


_BY_ENDING: dict[str, Change] = {
    **dict.fromkeys((".csv", ".tsv", ".ts", ".toml", ".txt", "checkpoint"), text),
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": tree,
    ".npz": archive,
    ".keras": archive,
    ".npy": npy,
    ".safetensors": tensors,
    ".session": tensors,
    ".png": png,
}
