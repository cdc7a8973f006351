"""The process of one implementation. Reads one JSON order a line and prints one JSON reply a line.

The first line is the task (see `runner.Worker`); the reply has `ready` or `failed`. Then:

    {"do": "run", "times": k, "warm_up": flag}   one step that is not timed, if asked for, then k timed steps
    {"do": "limits"}                             rates of multiply-adds and of loads, in Scanline's process
    {"do": "batch", "size": n}                   sequences per call, for inference
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

LIMIT_SECONDS = 0.02


def _memory_mb(field: str) -> float:
    """Return VmHWM (peak) or VmRSS of this process in MB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def limits(workload: Workload, precision: str, threads: int) -> dict[str, float | None]:
    """Return the processor's rates: multiply-adds in operations a second, loads in bytes a second.

    Each thread loads a block as large as its part of the workload's weights. Without the native library the
    rates are None.
    """
    from scanline.kernels.library import BFLOAT16, FLOAT32, load

    library = load()
    if library is None:
        return {"multiply-adds": None, "loads": None}
    # A processor without kernels for bfloat16 computes in float32.
    code = BFLOAT16 if precision == "bfloat16" and library.computes(BFLOAT16) else FLOAT32
    block = -(-workload.weight_bytes(precision) // threads)
    return {
        "multiply-adds": library.peak(code, threads, seconds=LIMIT_SECONDS),
        "loads": library.peak(code, threads, block, LIMIT_SECONDS),
    }


def use_cores(threads: int) -> None:
    """Keep this process, from now on, to as many cores as it may have threads.

    Some frameworks start a thread for every core, whatever they are asked to do.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main() -> None:
    """Set up the implementation of the first line, then follow orders until standard input ends."""
    # A copy of standard output for the replies, made before frameworks are imported.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print to standard output, which must carry replies only
    task = json.loads(sys.stdin.readline())
    use_cores(task["threads"])  # before imports, which start threads
    try:
        module = importlib.import_module(f"scanline_bench.implementations.{task['module']}")
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(task["threads"])
        # After the imports and before any data: what a framework needs by itself.
        imports_mb = _memory_mb("VmRSS")
        workload = Workload(**task["workload"])
        implementation, results = _prepare(module, workload, task)
    except Exception as error:  # noqa: BLE001 (a framework that fails is left out; the others are measured)
        _reply(replies, failed=f"{type(error).__name__}: {error}")
        return
    _reply(replies, ready=results)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "limits":
            _reply(replies, **limits(workload, task["precision"], task["threads"]))
        elif order["do"] == "batch":
            implementation.use_batch(order["size"])
            _reply(replies, done=True)
        else:
            _reply(replies, **_run(implementation, order["times"], order["warm_up"]), imports_mb=imports_mb)


def _prepare(module: Any, workload: Workload, task: dict[str, Any]) -> tuple[Implementation, list[float]]:
    """Return the implementation, and its results of three steps of the shortened workload."""
    shortened = workload.shortened()
    implementation = module.make(shortened, task["precision"], task["variant"])
    if task["batch"]:
        implementation.use_batch(task["batch"])
    results = []
    for _ in range(3):
        implementation.step()
        results.append(implementation.result())
    if shortened != workload:
        implementation = module.make(workload, task["precision"], task["variant"])
    return implementation, results


def _run(implementation: Implementation, times: int, warm_up: bool) -> dict[str, Any]:
    if warm_up:  # other processes have used the caches since the last turn
        implementation.step()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        implementation.step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "peak_mb": _memory_mb("VmHWM")}


def _reply(replies: TextIO, **values: Any) -> None:
    replies.write(json.dumps(values) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
