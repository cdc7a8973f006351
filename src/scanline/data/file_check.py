"""The result of verifying a file of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileCheck:
    """Result of verifying one file.

    Attributes:
        path: The file, or its address in an object store.
        ok: Whether it can be used.
        note: What was checked, or the fault.
    """

    path: Path | str
    ok: bool
    note: str
