"""A small search that tests repeat with other workers, kills and storages: its trials must not change."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.thorough import THOROUGH

TRIALS = 24 if THOROUGH else 6
RECIPE = """
base = "sequences"
[model]
hidden_size = 8
bidirectional = false
[train]
samples = 1500
[search]
"model.cell" = ["lstm", "gru"]
"model.hidden_size" = { low = 4, high = 16 }
"train.learning_rate" = { low = 0.001, high = 0.1, log = true }
"train.batch_size" = [16, 32]
"""


def write_inputs(folder: Path) -> None:
    """Write a recipe and sequences of two classes into a folder."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(160, 12, 2)).astype(np.float32)
    labels = (values[:, :, 0].sum(1) > 0).astype(int)
    np.savez(folder / "data.npz", X=values, y=labels)
    (folder / "search.toml").write_text(RECIPE)


def command(*options: str, data: str = "data.npz") -> list[str]:
    """Return the command line of a search."""
    given = ["--recipe", "search.toml", "--trials", str(TRIALS), "--folds", "0", "--no-baselines"]
    return [sys.executable, "-m", "scanline", "tune", data, *given, *options]


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a search in a process group of its own."""
    return subprocess.Popen(
        command(*options),
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def search(folder: Path, *options: str) -> str:
    """Run a search to its end, and return what it has printed."""
    process = start(folder, *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output.decode()


def table(folder: Path, study: str) -> bytes:
    """Return the table of trials."""
    return (folder / "studies" / study / "trials.csv").read_bytes()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(each) for each in task.read_text().split()]
        except OSError:  # it has ended
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def kill(pid: int) -> None:
    """Kill a process, if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
