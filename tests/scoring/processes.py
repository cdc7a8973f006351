"""Processes of scoring jobs: the program itself, and the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORKER = "scanline.scoring.worker"
MARK = "SCANLINE_TEST_TARGET"  # variable of the environment that tells the processes of two tests apart
LIMIT_S = 60.0  # for waits that end at once on a quiet machine


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start `scanline score`."""
    command = [sys.executable, "-m", "scanline", "score", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def workers_of(target: Path) -> list[int]:
    """Return the processes on this machine that score to a folder; they have it in their environment."""
    mark, found = f"{MARK}={target}".encode(), []
    for entry in Path("/proc").iterdir():
        try:
            if WORKER in (entry / "cmdline").read_text() and mark in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry.name))
        except (OSError, ValueError):  # another user's, or it has just ended
            continue
    return found


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {LIMIT_S:.0f} s")
        time.sleep(0.001)


def done_units(target: Path) -> set[str]:
    """Return the names of the units that an unfinished job has scored."""
    try:
        names = os.listdir(target)
    except FileNotFoundError:
        return set()
    return {name[len("done-") : -len(".json")] for name in names if name.startswith("done-")}
