"""Changes to text and JSON: numbers, words, lines and values."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from fuzz.mutators.plain import NUMBERS, noise

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


def text(content: bytes, rng: Random) -> bytes:
    """Numbers, words, cells and lines of a text."""
    kind = rng.randrange(8)
    if kind == 0:
        return noise(content, rng)
    decoded = content.decode("utf-8", "surrogateescape")
    if kind in (1, 2, 3):
        words = list(re.finditer(r"-?\d+(?:\.\d+)?" if kind == 1 else r"[^\s,;:\t=]+", decoded))
        if words:
            word = rng.choice(words)
            new = rng.choice(_TEXTS) if rng.random() < 0.8 else rng.choice(words)[0]
            decoded = decoded[: word.start()] + new + decoded[word.end() :]
    elif kind == 4:
        at = rng.randint(0, len(decoded))
        decoded = decoded[:at] + rng.choice(_TEXTS) + decoded[at:]
    else:
        lines = decoded.splitlines(keepends=True)
        if lines:
            at, there = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 5:
                del lines[at]
            elif kind == 6:
                lines.insert(there, lines[at])
            else:
                lines[at], lines[there] = lines[there], lines[at]
            decoded = "".join(lines)
    return decoded.encode("utf-8", "surrogateescape")


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
        holder[key] = rng.choice((holder[key] + 1, holder[key] - 1, -holder[key], rng.choice(NUMBERS)))
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
