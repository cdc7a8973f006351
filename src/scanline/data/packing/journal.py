"""The folder of an unfinished packing: what was asked for, and what is done, so that it can go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.data.packed.location import Location
from scanline.data.packing.request import PackRequest
from scanline.errors import DataError, ScanlineError, UsageError
from scanline.storage.atomic import write_atomic

_REQUEST, _STAGED, _ROW_GROUPS, _LOCK = "request.json", "staged.json", "row_groups.jsonl", "lock"
_VERSION = 1  # of the files in the folder


def folder_of(request: PackRequest, target: Location) -> Path:
    """Return the folder for the temporary files of a request; the same target has the same folder."""
    digest = hashlib.sha256(target.uri.encode()).hexdigest()[:16]
    if request.temp is not None:
        return request.temp / f"scanline-pack-{digest}"
    if target.is_local:
        return target.path.parent / f".{target.name}.packing"
    return Path(tempfile.gettempdir()) / f"scanline-pack-{digest}"


def file_facts(paths: Sequence[Path], target: str) -> list[dict[str, Any]]:
    """Return what tells that files and folders changed: sizes and times, or the names in a folder.

    Args:
        paths: The files and folders.
        target: Address of the packed data set, which may be in one of the folders.

    Raises:
        DataError: If one cannot be read.
    """
    facts: list[dict[str, Any]] = []
    for path in paths:
        found: dict[str, Any] = {"path": str(path.resolve())}
        if found["path"] == target:
            continue
        try:
            if path.is_dir():
                digest = hashlib.sha256()
                for name in sorted(os.listdir(path)):
                    if not name.startswith(".") and str(path.resolve() / name) != target:
                        digest.update(os.fsencode(name) + b"\n")
                found["names"] = digest.hexdigest()
            else:
                status = path.stat()
                found |= {"bytes": status.st_size, "changed_ns": status.st_mtime_ns}
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        facts.append(found)
    return facts


@dataclass(frozen=True)
class Journal:
    """The record of a packing.

    Attributes:
        folder: Its folder.
    """

    folder: Path

    @property
    def has_begun(self) -> bool:
        """Whether there is a request."""
        return (self.folder / _REQUEST).is_file()

    def begin(self, request: PackRequest, files: list[dict[str, Any]]) -> None:
        """Record a request, or check that it is the one that has begun.

        Args:
            request: The request.
            files: What `file_facts` returned about its files.

        Raises:
            UsageError: If another request has begun.
        """
        facts = {"version": _VERSION, **request.facts(), "files": files}
        if self.has_begun:
            before = self._read(_REQUEST)
            if before != facts:
                changed = [key for key in facts if before is None or before.get(key) != facts[key]]
                what = {"files": "source files", "settings": "settings for reading"}
                raise UsageError(
                    f"{request.target}: an unfinished packing with other "
                    f"{' and '.join(what.get(key, key.replace('_', ' ')) for key in changed)} is in "
                    f"{self.folder}; give --force to start anew"
                )
            return
        self.clear()
        self._write(_REQUEST, facts)

    def clear(self) -> None:
        """Remove everything but the lock."""
        for path in self.folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def staged(self) -> dict[str, Any] | None:
        """Return what was recorded when all sequences were staged, or None."""
        return self._read(_STAGED) if (self.folder / _STAGED).is_file() else None

    def set_staged(self, facts: dict[str, Any]) -> None:
        """Record that all sequences are staged."""
        self._write(_STAGED, facts)

    def row_groups(self) -> list[dict[str, Any]]:
        """Return the row groups that were recorded; a line that was cut off does not count."""
        path = self.folder / _ROW_GROUPS
        if not path.is_file():
            return []
        lines = path.read_bytes().split(b"\n")
        found = []
        for line in lines[:-1]:
            digest, _, content = line.partition(b" ")
            if hashlib.sha256(content).hexdigest().encode() != digest:
                break
            found.append(json.loads(content))
        return found

    def keep_row_groups(self, count: int) -> None:
        """Keep the first `count` of the recorded row groups, before others are added."""
        path = self.folder / _ROW_GROUPS
        if path.is_file():
            lines = path.read_bytes().split(b"\n")[:count]
            write_atomic(path, b"".join(line + b"\n" for line in lines))

    def add_row_group(self, facts: dict[str, Any]) -> None:
        """Record a row group that was written."""
        content = json.dumps(facts).encode()
        line = hashlib.sha256(content).hexdigest().encode() + b" " + content + b"\n"
        with open(self.folder / _ROW_GROUPS, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _write(self, name: str, facts: dict[str, Any]) -> None:
        write_atomic(self.folder / name, json.dumps(facts))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            facts: dict[str, Any] = json.loads((self.folder / name).read_bytes())
        except ValueError:
            return None
        return facts


@contextlib.contextmanager
def opened_journal(folder: Path, target: str) -> Iterator[Journal]:
    """Yield the journal in a folder, which is created, while no other process packs to the same target.

    Raises:
        UsageError: If another process does.
        ScanlineError: If the folder cannot be created.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{target}: another process is packing to it, in {folder}") from None
    except OSError as error:
        raise ScanlineError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield Journal(folder)
    finally:
        lock.release()


def remove(folder: Path) -> None:
    """Remove the folder of a packing that is finished or cannot go on."""
    shutil.rmtree(folder, ignore_errors=True)
