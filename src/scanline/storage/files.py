"""Files that appear whole or not at all, and digests of what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scanline.errors import ModelError, ScanlineError
from scanline.limits import exceeded, limit_of

TEMPORARY = ".tmp"  # how the names of files and folders end that are not whole yet; they begin with a dot
_SYNC = getattr(os, "fdatasync", os.fsync)  # all but the clock times, which would cost a write of their own


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut. Does nothing where folders cannot be opened."""
    if os.name == "nt":  # Windows has no way to flush a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make what is in `path` survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        _SYNC(descriptor)
    finally:
        os.close(descriptor)


def write_over(path: Path, content: bytes) -> None:
    """Write `content` over what `path` holds, if it is there: its room on the disk is used again.

    For files that nobody counts on: meanwhile it is neither the old nor the new one. Raises OSError.
    """
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.truncate()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises ScanlineError if the file cannot be written; the old file is then untouched.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_LINE_BREAKS = re.compile(r"(\[?)\n *(\]?)")


def _joint(found: re.Match[str]) -> str:
    return found[1] + found[2] or " "


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, whole or not at all. NaN is refused: JSON has none."""
    write_whole(path, _readable(value))


def _readable(value: Any) -> str:
    text = json.dumps(value, indent=2, allow_nan=False)
    # A list of plain values stands on one line. No string of JSON holds a line break, so none is touched.
    return re.sub(r"\[\n[^\[\]{}]*\]", lambda found: _LINE_BREAKS.sub(_joint, found[0]), text) + "\n"


def sealed_json(value: dict[str, Any]) -> str:
    """As `write_json` writes it, with a `sha256` at the end, of all bytes before it: none changes unseen."""
    body = _readable(value).removesuffix("\n}\n")
    return body + _seal(body.encode())


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write what `sealed_json` makes of `value`, whole or not at all."""
    write_whole(path, sealed_json(value))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """What `write_sealed_json` was given. Raises ModelError as `read_json`, and if the digest differs."""
    content = read_bounded(path, "JSON_BYTES")
    value = _parse(path, content)
    body = content[: -len(_seal(b""))]
    if content != body + _seal(body).encode():
        raise ModelError(f"{path} is damaged: its content is not what was saved")
    del value["sha256"]
    return value


def _seal(body: bytes) -> str:
    """What follows `body`, a JSON object that is not closed yet."""
    return f',\n  "sha256": "{sha256(body)}"\n}}\n'


def read_json(path: Path) -> dict[str, Any]:
    """The object in the JSON file `path`.

    Raises ModelError naming the file if it is missing, too large, not JSON, or not an object.
    """
    return _parse(path, read_bounded(path, "RECORD_BYTES"))


def read_bounded(path: Path, limit: str) -> bytes:
    """The bytes of a file of no more than the limit of that name. Raises ModelError."""
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):  # without an end
            raise ModelError(f"{path} is damaged: expected a file, found something that is none")
        if status.st_size > limit_of(limit):
            raise ModelError(f"{path}: {exceeded(limit, status.st_size)}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is damaged: expected a JSON object, found {type(value).__name__}")
    return value


@contextlib.contextmanager
def whole_folder(path: Path, used: Path | None = None) -> Iterator[Path]:
    """A new folder that appears at `path`, with all that was written into it, or not at all.

    Yields a temporary folder beside `path` to write into; on leaving without an error it takes
    the place of `path`. A reader that comes between two versions finds no folder, never half a one.
    used: a temporary folder beside `path` that is yielded instead of a new one, with the files in it.
    Raises ScanlineError if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = used or Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent))
    except OSError as error:
        raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        for file in temporary.iterdir():
            sync_file(file)
        sync_folder(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", suffix=TEMPORARY, dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
