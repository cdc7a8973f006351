"""Starts the implementations, checks that their results agree, and times them in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from scanline.errors import ScanlineError
from scanline_bench.peers import OURS, SCANLINE, Peer, peers_for
from scanline_bench.results import Limit, Measurement, WorkloadResult
from scanline_bench.workloads import BATCH_SIZES, CLASSES, Workload

Say = Callable[[str], None]
TURN_SECONDS = 0.25  # length of a turn; one step if that takes longer
TRAININGS = 3  # rounds at most of a whole training
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}  # relative difference of losses


class Worker:
    """The process of one implementation.

    Args:
        peer: The implementation.
        workload: The workload.
        precision: "float32" or "bfloat16".
        threads: Threads of the process.

    Attributes:
        failed: Why the implementation cannot run the workload; empty if it can.
        results: Losses or sums of logits of the first three steps.
        seconds: Times of all steps so far.
    """

    def __init__(self, peer: Peer, workload: Workload, precision: str, threads: int) -> None:
        self.peer = peer
        self.seconds: list[float] = []
        self.peak_mb = self.imports_mb = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scanline_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(peer, threads),
        )
        task = {
            "module": peer.module,
            "variant": peer.variant,
            "workload": workload.to_json(),
            "precision": precision,
            "threads": threads,
            "batch": BATCH_SIZES[0] if workload.kind == "infer" else 0,
        }
        ready = self.ask(task)
        self.failed: str = ready.get("failed", "")
        self.results: list[float] = ready.get("ready", [])

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order and return the reply."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            # One reply for each order, so the pipes cannot fill up and block both sides.
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"failed": f"the process ended with code {self.process.wait()}"}

    def turn(self, times: int) -> list[float]:
        """Run `times` steps and return the seconds of each; a single one is long and needs no warm-up."""
        reply = self.ask({"do": "run", "times": times, "warm_up": times > 1})
        if "failed" in reply:
            raise ScanlineError(f"bench: {self.peer.name}: {reply['failed']}")
        self.peak_mb, self.imports_mb = reply["peak_mb"], reply["imports_mb"]
        return list(reply["seconds"])

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()


def _environment(peer: Peer, threads: int) -> dict[str, str]:
    count = str(threads)
    return os.environ | peer.environment | {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def run_workload(workload: Workload, precision: str, threads: int, rounds: int, say: Say) -> WorkloadResult:
    """Measure one workload in one precision.

    Args:
        workload: The workload.
        precision: "float32" or "bfloat16".
        threads: Threads of every implementation.
        rounds: Turns of each implementation. They alternate (A B C A B C ...), so that a change of the
            machine's speed affects all of them.
        say: Called with a line about each implementation that cannot take part.

    Raises:
        ScanlineError: If two implementations do not compute the same, or Scanline cannot run the workload.
    """
    limits: list[dict[str, float | None]] = []
    with ExitStack() as stack:
        workers = list(_start(workload, precision, threads, say, stack))
        # Models and predictors choose their batches themselves.
        choose = (SCANLINE, *(worker.peer.name for worker in workers if worker.peer.name not in OURS))
        batched = [workload.kind == "infer" and worker.peer.name in choose for worker in workers]
        batches = [
            _best_batch(worker) if each else None for worker, each in zip(workers, batched, strict=True)
        ]
        if workload.kind == "training":
            rounds, times = min(rounds, TRAININGS), [1] * len(workers)
        else:
            # The minimum of three steps ignores interruptions by other processes.
            times = [max(1, min(500, int(TURN_SECONDS / min(worker.turn(3))))) for worker in workers]
        for _ in range(rounds):
            for worker, count in zip(workers, times, strict=True):
                worker.seconds += worker.turn(count)
            limits.append(workers[0].ask({"do": "limits"}))
    result = _result(workload, precision, workers, batches, limits)
    for each in result.implementations:
        if (each.share or 0) > 1:
            say(
                f"{workload.name}, {precision}: {each.name} takes {each.median_ms:.3g} ms, less than the "
                f"processor needs at the measured rate of {result.limits[0].name}: its speed changed during "
                "the run; measure again"
            )
    return result


def _result(
    workload: Workload,
    precision: str,
    workers: list[Worker],
    batches: list[int | None],
    measured_limits: list[dict[str, float | None]],
) -> WorkloadResult:
    limits = limits_of(workload, precision, measured_limits)
    measured = tuple(
        _measurement(worker, workload.operations(), limits, batch)
        for worker, batch in zip(workers, batches, strict=True)
    )
    fastest = min((each for each in measured if each.name not in OURS), key=lambda each: each.median_ms)
    return WorkloadResult(
        workload=workload.name,
        about=workload.about,
        kind=workload.kind,
        precision=precision,
        gflop=round(workload.operations() / 1e9, 4),
        limits=limits,
        implementations=measured,
        fastest_peer=fastest.name,
        ratio=round(fastest.median_ms / measured[0].median_ms, 2),
    )


def limits_of(
    workload: Workload, precision: str, measured: list[dict[str, float | None]]
) -> tuple[Limit, ...]:
    """Return the limits of a workload from the rates of all rounds; none if they could not be measured."""
    amounts = {"multiply-adds": workload.operations(), "loads": float(workload.loaded_bytes(precision))}
    limits = []
    for name, amount in amounts.items():
        rates = [rate for each in measured if (rate := each[name])]
        if rates and (name != "loads" or workload.one_sequence):
            rate = statistics.median(rates)
            limits.append(Limit(name, round(rate / 1e9, 1), amount / 1e9, amount / rate * 1e3))
    return tuple(reversed(limits))


def _measurement(
    worker: Worker, operations: float, limits: tuple[Limit, ...], batch: int | None
) -> Measurement:
    seconds = worker.seconds if len(worker.seconds) > 1 else worker.seconds * 2
    low, median, high = statistics.quantiles(seconds, n=4)
    return Measurement(
        name=worker.peer.name,
        median_ms=median * 1e3,
        quartiles_ms=(low * 1e3, high * 1e3),
        runs=len(worker.seconds),
        gflops=round(operations / median / 1e9, 1),
        share=round(limits[0].bound_ms / (median * 1e3), 6) if limits else None,
        peak_mb=worker.peak_mb,
        above_imports_mb=round(worker.peak_mb - worker.imports_mb, 1),
        results=tuple(worker.results),
        batch=batch,
    )


def _start(workload: Workload, precision: str, threads: int, say: Say, stack: ExitStack) -> Iterator[Worker]:
    """Start the implementations, Scanline first, and check that each computes what Scanline does."""
    expected: list[float] = []
    for peer in peers_for(workload, precision, threads):
        if not peer.installed():
            continue
        worker = Worker(peer, workload, precision, threads)
        # Registered at once: the process ends even if a later implementation fails.
        stack.callback(worker.close)
        if worker.failed:
            if not expected:
                raise ScanlineError(f"bench: {peer.name} cannot run {workload.name}: {worker.failed}")
            say(f"{workload.name}, {precision}: without {peer.name}: {worker.failed[:200]}")
            continue
        if not expected:
            expected = worker.results
        elif difference(workload, worker.results, expected) > TOLERANCE[precision]:
            raise ScanlineError(
                f"bench: {peer.name} does not compute what Scanline computes on {workload.name}: "
                f"expected {expected}, got {worker.results}"
            )
        yield worker


def difference(workload: Workload, results: list[float], expected: list[float]) -> float:
    """Return the largest difference: of losses relative to the first, of sums of logits per logit."""
    scale = abs(expected[0]) if workload.trains else workload.N * CLASSES
    return max(abs(a - b) for a, b in zip(results, expected, strict=True)) / scale


def _best_batch(worker: Worker) -> int:
    """Find the fastest batch size of the implementation and leave it set."""
    best, best_seconds = 0, float("inf")
    for size in BATCH_SIZES:
        worker.ask({"do": "batch", "size": size})
        seconds = min(worker.turn(2))
        if seconds < best_seconds:
            best, best_seconds = size, seconds
    # Workers keep the batch size between turns.
    worker.ask({"do": "batch", "size": best})
    return best
