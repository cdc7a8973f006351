"""JSON files that Scanline writes and reads: written atomically, bounded in size, optionally sealed.

A sealed file ends with the SHA-256 of all bytes before it, so that every changed bit is detected.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

from scanline.errors import ModelError
from scanline.limits import exceeded, limit_of
from scanline.storage.atomic import write_atomic
from scanline.storage.digest import sha256

_FLAT_LIST = re.compile(r"\[\n[^\[\]{}]*\]")
_LINE_BREAK = re.compile(r"(\[?)\n *(\]?)")


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON.

    Raises:
        ValueError: If it contains NaN or infinity, which JSON does not have.
        ScanlineError: If the file cannot be written.
    """
    write_atomic(path, _indented(value))


def sealed_json(value: dict[str, Any]) -> str:
    """Return `value` as indented JSON with the key `sha256` at its end: the digest of the bytes before it."""
    body = _indented(value).removesuffix("\n}\n")
    return body + seal(body.encode())


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write `sealed_json(value)` atomically; errors as for `write_json`."""
    write_atomic(path, sealed_json(value))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the object in a sealed JSON file, without its digest.

    Raises:
        ModelError: As for `read_json`, and if the digest does not match; names the file.
    """
    try:
        return parse_sealed_json(read_bounded(path, "JSON_BYTES"))
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def parse_sealed_json(content: bytes) -> dict[str, Any]:
    """Return the object in the bytes of a sealed JSON file, without its digest.

    Raises:
        ValueError: If it is not JSON, not an object, or the digest does not match; says why.
    """
    value = _parse(content)
    # All seals have the same length. Comparing bytes, not parsed values, detects changes in white space too.
    body = content[: -len(seal(b""))]
    if content != body + seal(body).encode():
        raise ValueError("its content is not what was saved")
    del value["sha256"]
    return value


def seal(body: bytes) -> str:
    """Return the end of a sealed file that begins with `body`, a JSON object that is not closed yet."""
    return f',\n  "sha256": "{sha256(body)}"\n}}\n'


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ModelError: If the file is missing, too large, not JSON, or not an object; names the file.
    """
    try:
        return _parse(read_bounded(path, "RECORD_BYTES"))
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def read_bounded(path: Path, limit: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file.
        limit: Name of the limit on its size, see `scanline.limits`.

    Raises:
        ModelError: If the file cannot be read or is larger than the limit.
    """
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):  # reading may never end
            raise ModelError(f"{path} is damaged: expected a regular file, found a pipe or a device")
        if status.st_size > limit_of(limit):
            raise ModelError(f"{path}: {exceeded(limit, status.st_size)}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _indented(value: Any) -> str:
    text = json.dumps(value, indent=2, allow_nan=False)
    # Put lists of numbers and texts on one line. Strings are not affected: JSON escapes their line breaks.
    return _FLAT_LIST.sub(lambda match: _LINE_BREAK.sub(_joint, match[0]), text) + "\n"


def _joint(match: re.Match[str]) -> str:
    return match[1] + match[2] or " "


def _parse(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode())
    # RecursionError: deeply nested brackets exhaust the parser's stack.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value
