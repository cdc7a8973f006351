"""Locks: one process at a time changes a study, and the end of a worker is noticed.

A study in SQLite is locked by a file beside it, one in PostgreSQL by the server. The system, or the server,
releases the lock of a process that is killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import filelock
import sqlalchemy


class StudyLock(Protocol):
    """Held while a study is changed."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it."""
        ...


class NoStudyLock:
    """The lock of a study in the memory of this process, which nothing else changes."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it."""
        yield


class FileStudyLock:
    """The lock of a study in a file of SQLite."""

    def __init__(self, path: Path) -> None:
        self._lock = filelock.FileLock(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it."""
        with self._lock.acquire(poll_interval=0.005):
            yield


class ServerStudyLock:
    """The lock of a study on a PostgreSQL server: an advisory lock of a session of its own.

    Source: PostgreSQL, section "Advisory Locks" of the manual.
    """

    def __init__(self, engine: sqlalchemy.Engine, name: str) -> None:
        self._engine = engine
        # 63 bits: the server takes signed 64-bit numbers.
        self._key = int.from_bytes(hashlib.sha256(f"scanline/{name}".encode()).digest()[:8], "big") >> 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it."""
        with self._engine.connect() as connection:
            # Released with the transaction, and so with the connection.
            connection.execute(sqlalchemy.text("select pg_advisory_xact_lock(:key)"), {"key": self._key})
            yield
            connection.rollback()


class WorkerLock:
    """A file that a worker locks as long as it lives.

    Attributes:
        name: Name of the worker.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.lock"
        self._lock = filelock.FileLock(self._path)
        self._lock.acquire(timeout=0)

    def release(self) -> None:
        """Release the lock and remove the file."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def has_ended(folder: Path, name: str) -> bool | None:
    """Return whether a worker has ended; None if it has no file here, as a worker of another machine."""
    path = folder / f"{name}.lock"
    if not path.exists():
        return None
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    # The file stays: the next process that asks must get the same answer.
    lock.release()
    return True
