"""A contestant in a process of its own: told on standard input what to do, it answers on standard output.

One JSON object a line. {"do": "run", "times": k} does the work k times after one that does not count, and
{"do": "rate"} multiplies matrices.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from scanline_bench.works import Work


def _memory_mb(field: str) -> float:
    """VmHWM (peak) or VmRSS of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def matrix_rate(precision: str, size: int = 2048) -> float:
    """GFLOP/s of torch's product of two square matrices, the median of seven."""
    import torch

    a = torch.rand(size, size).to(getattr(torch, precision))
    b = torch.rand(size, size).to(a.dtype)
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return round(2 * size**3 / sorted(seconds[1:])[3] / 1e9, 1)


def main() -> None:
    """Set up what the first line asks for, say when that is done, then obey."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the frameworks print is no answer

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    task = json.loads(sys.stdin.readline())
    if task["sets_threads"]:
        import torch

        torch.set_num_threads(task["threads"])
    try:
        module = importlib.import_module(f"scanline_bench.contestants.{task['module']}")
        before = _memory_mb("VmRSS")
        contestant = module.make(Work(**task["work"]), task["precision"], task["variant"])
        if task["batch"]:
            contestant.use_batch(task["batch"])
        results = []
        for _ in range(3):
            contestant.step()
            results.append(contestant.result())
        answer(ready=results)
    except Exception as error:  # noqa: BLE001 (whatever a framework cannot do here, the others can be measured)
        answer(failed=f"{type(error).__name__}: {error}")
        return
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "rate":
            answer(rate=matrix_rate(order["precision"]))
        elif order["do"] == "batch":
            contestant.use_batch(order["size"])
            answer(done=True)
        else:
            contestant.step()
            seconds = []
            for _ in range(order["times"]):
                started = time.perf_counter()
                contestant.step()
                seconds.append(time.perf_counter() - started)
            answer(seconds=seconds, peak_mb=_memory_mb("VmHWM"), imports_mb=before)


if __name__ == "__main__":
    main()
