"""Attack, and the collection in which each module of this package lists its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Write = Callable[[Path], Path]


@dataclass(frozen=True)
class Attack:
    """A malicious file, or a folder of them.

    Attributes:
        name: Unique name.
        kind: Loader to use, a key of `loading.LOADERS`.
        error: Class of the expected exception; empty if the file is harmless and loads.
        message: Pattern of the expected message.
        write: Writes the file into a folder and returns its path.
    """

    name: str
    kind: str
    error: str
    message: str
    write: Write


class Attacks(list[Attack]):
    """The attacks of one module."""

    def one(self, kind: str, error: str, message: str) -> Callable[[Write], Write]:
        """Add the decorated function, by its name."""

        def add(write: Write) -> Write:
            self.append(Attack(write.__name__, kind, error, message, write))
            return write

        return add

    def many(self, kind: str, error: str, cases: dict[str, tuple[str, Write]]) -> None:
        """Add attacks of one kind. cases: (message, write) by name."""
        self.extend(Attack(name, kind, error, message, write) for name, (message, write) in cases.items())


class Evil:
    """Leaves a mark if it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/scanline-was-attacked",)
