"""Packing stays within its memory: many identifiers, and more values than may be in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        not Path("/proc/self/smaps_rollup").exists(), reason="memory is measured on Linux only"
    ),
]


def unsorted(path: Path, sequences: int, steps: int, features: int) -> Path:
    """Write a long table whose rows are in random order, without holding it in memory."""
    draw = np.random.default_rng(0)
    order = draw.permutation(sequences * steps)
    names = [f"x{index}" for index in range(features)]
    with open(path, "wb") as file:
        file.write(",".join(["id", "time", "label", *names]).encode() + b"\n")
        for first in range(0, len(order), 100_000):
            index, time_ = np.divmod(order[first : first + 100_000], steps)
            values = draw.integers(0, 10_000, (len(index), features)) / 64
            columns = {"id": index, "time": time_, "label": index % 3}
            columns |= {name: values[:, place] for place, name in enumerate(names)}
            csv.write_csv(pa.table(columns), file, csv.WriteOptions(include_header=False))
    return path


def peak_mb(*arguments: str) -> tuple[int, dict]:
    """Run `scanline data pack`; return its peak of anonymous memory in MB, and its result."""
    program = [sys.executable, "-m", "scanline", "data", "pack", *arguments, "--json"]
    peak = 0
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                break
            peak = max(
                [peak, *(int(line.split()[1]) // 1_000 for line in lines if line.startswith("Anonymous"))]
            )
            time.sleep(0.02)
        out = process.communicate()[0]
    assert process.returncode == 0
    return peak * 1_024 // 10**6, json.loads(out)


def test_an_unsorted_table_larger_than_the_limit(tmp_path):
    path = unsorted(tmp_path / "long.csv", sequences=2_000, steps=100, features=600)
    assert path.stat().st_size > 700e6
    peak, result = peak_mb(str(path), "--to", str(tmp_path / "packed"), "--memory", "512MB")
    assert sum(split["steps"] for split in result["splits"].values()) == 200_000
    assert peak < 512


def test_a_million_identifiers(tmp_path):
    path = unsorted(tmp_path / "long.csv", sequences=1_000_000, steps=2, features=1)
    peak, result = peak_mb(str(path), "--to", str(tmp_path / "packed"), "--memory", "600MB")
    assert sum(split["sequences"] for split in result["splits"].values()) == 1_000_000
    assert peak < 600
