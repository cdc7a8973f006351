"""Which run a launch has begun: a launch that is started again after a failure goes on with that run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from scanline.storage.atomic import write_atomic
from scanline.storage.digest import sha256

_NONE = ("", "none")  # what torchrun calls a launch without a name


def _record_path(run: str | os.PathLike[str] | None, launch: str) -> Path:
    """Return the file that names the run of a launch."""
    name = f"launch-{sha256(launch.encode())[:16]}"
    return Path(run) / f"{name}.txt" if run else Path("runs") / f".{name}"


def find_run(run: str | os.PathLike[str] | None, launch: str) -> Path | None:
    """Return the run directory that this launch has begun earlier, or None.

    Args:
        run: The directory that the command names, or None.
        launch: Name of the launch.
    """
    if launch in _NONE:
        return None
    try:
        path = Path(_record_path(run, launch).read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        return None
    return path if path.is_dir() else None


def record_run(path: Path, run: str | os.PathLike[str] | None, launch: str) -> None:
    """Record that this launch has begun the run `path`; arguments as for `find_run`."""
    if launch not in _NONE:
        with contextlib.suppress(OSError):
            write_atomic(_record_path(run, launch), str(path.absolute()))


def forget_run(run: str | os.PathLike[str] | None, launch: str) -> None:
    """Remove the records of a training that has ended; arguments as for `find_run`."""
    with contextlib.suppress(OSError):
        _record_path(run, launch).unlink(missing_ok=True)
        for earlier in Path(run).glob("launch-*.txt") if run else ():  # of launches that were stopped
            earlier.unlink()
