"""What a target is, and helpers that make seed files."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutators import Files
from scanline.errors import ScanlineError

Repair = Callable[[Files, Random], Files]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: Its name on the command line.
        seeds: Makes valid inputs.
        read: Reads the files in a folder.
        repair: Corrects the checksums of changed files, so that the reader parses further.
        needs: Packages that it needs.
    """

    name: str
    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    repair: Repair | None = None
    needs: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Return a package that it needs and that is not installed, or None."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


@contextlib.contextmanager
def refusal_allowed() -> Iterator[None]:
    """Ignore a refusal, so that the same input is read in other ways, too."""
    with contextlib.suppress(ScanlineError):
        yield


def _saved(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _only(folder: Path) -> Path:
    return next(folder.iterdir())


def _tree(folder: Path) -> Files:
    """The files in a folder by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _made_by(write: Callable[[Path], object]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return _tree(Path(folder))
