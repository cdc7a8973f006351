"""The process of one implementation. Reads one JSON order a line and prints one JSON reply a line.

The first line is the task (see `runner.Worker`); the reply has `ready` or `failed`. Then:

    {"do": "run", "times": k}            one warm-up step, then k timed steps
    {"do": "rate", "precision": name}    the rate of torch's matrix product
    {"do": "batch", "size": n}           sequences per call, for inference
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from scanline_bench.implementations import Implementation
from scanline_bench.workloads import Workload


def _memory_mb(field: str) -> float:
    """Return VmHWM (peak) or VmRSS of this process in MB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def matrix_rate(precision: str, size: int = 2048) -> float:
    """Return the rate of torch's product of two square matrices in GFLOP/s, the median of seven."""
    import torch

    a = torch.rand(size, size).to(getattr(torch, precision))
    b = torch.rand(size, size).to(a.dtype)
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    # The first product is a warm-up; element 3 of the other seven is the median.
    return round(2 * size**3 / sorted(seconds[1:])[3] / 1e9, 1)


def main() -> None:
    """Set up the implementation of the first line, then follow orders until standard input ends."""
    # A copy of standard output for the replies, made before frameworks are imported.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print to standard output, which must carry replies only
    task = json.loads(sys.stdin.readline())
    if task["sets_threads"]:
        import torch

        torch.set_num_threads(task["threads"])
    try:
        module = importlib.import_module(f"scanline_bench.implementations.{task['module']}")
        # After the imports and before any data: what a framework needs by itself.
        imports_mb = _memory_mb("VmRSS")
        implementation = module.make(Workload(**task["workload"]), task["precision"], task["variant"])
        if task["batch"]:
            implementation.use_batch(task["batch"])
        results = []
        for _ in range(3):
            implementation.step()
            results.append(implementation.result())
    except Exception as error:  # noqa: BLE001 (a framework that fails is left out; the others are measured)
        _reply(replies, failed=f"{type(error).__name__}: {error}")
        return
    _reply(replies, ready=results)
    for line in sys.stdin:
        _reply(replies, **_follow(json.loads(line), implementation, imports_mb))


def _follow(order: dict[str, Any], implementation: Implementation, imports_mb: float) -> dict[str, Any]:
    if order["do"] == "rate":
        return {"rate": matrix_rate(order["precision"])}
    if order["do"] == "batch":
        implementation.use_batch(order["size"])
        return {"done": True}
    # One untimed step: other processes have used the caches since the last turn.
    implementation.step()
    seconds = []
    for _ in range(order["times"]):
        started = time.perf_counter()
        implementation.step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "peak_mb": _memory_mb("VmHWM"), "imports_mb": imports_mb}


def _reply(replies: TextIO, **values: Any) -> None:
    replies.write(json.dumps(values) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
