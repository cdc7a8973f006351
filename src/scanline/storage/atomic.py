"""Files and folders that appear complete or not at all, also after a crash or a power failure.

The order of operations is what makes this hold:

1. The content is written under a temporary name in the target's own folder, so that the rename in step 3
   stays within one file system.
2. The content is flushed to the disk (fsync) *before* the rename. Otherwise the file system may make the new
   name durable first, and a power failure leaves a name without its content.
3. `os.replace` gives it its final name. The rename is atomic: a reader opens the old content or the new one.
4. The containing folder is flushed, which makes the new name durable.

A crash before step 3 leaves the old content and a file or folder whose name ends in `TEMPORARY`; readers
ignore such names. A crash after step 3 leaves the new content, or, without step 4, either one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from scanline.errors import ScanlineError

TEMPORARY = ".tmp"  # suffix of the names of incomplete files and folders, which begin with a dot
# fdatasync skips the time stamps, which would cost another write of the file system's own structures.
_SYNC = getattr(os, "fdatasync", os.fsync)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Does nothing on Windows, where folders cannot be flushed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of `path` durable.

    Raises:
        OSError: If the file cannot be opened or flushed.
    """
    # O_RDWR because Windows refuses to flush a descriptor that is opened for reading only.
    descriptor = os.open(path, os.O_RDWR)
    try:
        _SYNC(descriptor)
    finally:
        os.close(descriptor)


def overwrite(path: Path, content: bytes) -> None:
    """Write `content` in place, which is *not* atomic: a crash leaves a mixture of old and new.

    For files under a temporary name, whose disk blocks are used again instead of being allocated anew.

    Raises:
        OSError: If the file cannot be written.
    """
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.truncate()


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file atomically and durably: a reader sees the old content or the new one.

    Raises:
        ScanlineError: If the file cannot be written; the old file is then unchanged.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece that appears at `path` with all of its content, or not at all.

    Yields a file, open for writing. Leaving the block without an error gives it its name.

    Args:
        path: Where the file appears. Its folder exists.

    Raises:
        ScanlineError: If the file cannot be written; an older file is then unchanged.
    """
    temporary = None
    try:
        temporary, file = _new_file(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):  # after os.replace the name is gone
                os.unlink(temporary)


@contextlib.contextmanager
def atomic_folder(path: Path, used: Path | None = None) -> Iterator[Path]:
    """Create a folder that appears at `path` with all its files, or not at all.

    Yields a temporary folder beside `path`. Leaving the block without an error moves it to `path`, in place
    of an older folder. Folders cannot be exchanged atomically: between the two renames there is no folder at
    `path`, but never an incomplete one.

    Args:
        path: Where the folder appears. Parent folders are created.
        used: A temporary folder beside `path` to yield instead of a new one, with the files in it.

    Raises:
        ScanlineError: If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = used or _new_folder(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield temporary
        # Step 2 of the module docstring: contents first, then the names inside the folder.
        for entry in temporary.rglob("*"):
            sync_folder(entry) if entry.is_dir() else sync_file(entry)
        sync_folder(temporary)
        if path.exists():
            # The old folder is moved aside first because os.replace cannot replace a folder that has files.
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", suffix=TEMPORARY, dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        # After the rename the temporary name is gone, and this does nothing.
        shutil.rmtree(temporary, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> ScanlineError:
    return ScanlineError(f"cannot write {path}: {error.strerror or error}")


# `tempfile` gives access to the owner only. The umask, which says who else has access, can only be read by
# setting it, for all threads of the process. So names are drawn here, and the system applies the umask.


def _new_file(path: Path) -> tuple[Path, BinaryIO]:
    """Create a file under a temporary name beside `path`; return its path and the file, open for writing."""
    while True:
        temporary = _temporary_name(path)
        with contextlib.suppress(FileExistsError):
            return temporary, open(temporary, "xb")


def _new_folder(path: Path) -> Path:
    """Create a folder under a temporary name beside `path`, and return its path."""
    while True:
        temporary = _temporary_name(path)
        with contextlib.suppress(FileExistsError):
            temporary.mkdir()
            return temporary


def _temporary_name(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}"
