"""Starts the contestants, checks that they compute the same, and times them in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata, util
from typing import Any

from scanline.errors import ScanlineError
from scanline_bench.works import BATCH_SIZES, CLASSES, Work

Say = Callable[[str], None]
TURN_SECONDS = 0.25  # of work in a turn, or one piece of it if that takes longer
SAME = {"float32": 1e-3, "bfloat16": 2e-2}  # relative difference of losses


@dataclass(frozen=True)
class Peer:
    """A way to do the work: a module of `contestants`, and what must be installed for it."""

    name: str
    module: str
    variant: str = ""
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def installed(self) -> bool:
        """Whether everything that it needs can be imported."""
        return all(util.find_spec(name) is not None for name in self.needs)


def peers_for(work: Work, precision: str, threads: int) -> list[Peer]:
    """Scanline first, then every peer that knows such work, installed or not."""
    torchs = ("torch packed", "torch padded") if work.lengths else ("torch",)
    peers = [Peer(name, "torch_peers", name) for name in ("scanline", *torchs)]
    peers.append(Peer("JAX", "jax_peer", needs=("jax", "optax")))
    if not work.lengths:
        for backend in ("tensorflow", "jax"):
            needs = ("keras", backend)
            name = f"Keras on {'JAX' if backend == 'jax' else 'TensorFlow'}"
            peers.append(Peer(name, "keras_peer", needs=needs, environment={"KERAS_BACKEND": backend}))
    if work.kind != "train" and precision == "float32":
        peers.append(Peer("ONNX Runtime", "onnx_peer", str(threads), ("onnx", "onnxruntime")))
    return peers


class Worker:
    """The process of one contestant."""

    def __init__(self, peer: Peer, work: Work, precision: str, threads: int) -> None:
        self.peer, self.seconds, self.peak_mb, self.imports_mb = peer, [], 0.0, 0.0  # type: ignore[var-annotated]
        count = str(threads)
        environment = os.environ | peer.environment | {
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "TF_NUM_INTRAOP_THREADS": count,
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scanline_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        task = {
            "module": peer.module,
            "variant": peer.variant,
            "work": work.to_json(),
            "precision": precision,
            "threads": threads,
            "sets_threads": peer.module == "torch_peers",
            "batch": BATCH_SIZES[0] if work.kind == "infer" else 0,
        }
        ready = self.ask(task)
        self.failed: str = ready.get("failed", "")
        self.results: list[float] = ready.get("ready", [])

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"failed": f"it ended with code {self.process.wait()}"}

    def turn(self, times: int) -> list[float]:
        """Do the work so many times; the seconds each took."""
        answer = self.ask({"do": "run", "times": times})
        if "failed" in answer:
            raise ScanlineError(f"bench: {self.peer.name}: {answer['failed']}")
        self.peak_mb, self.imports_mb = answer["peak_mb"], answer["imports_mb"]
        return list(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()


def run_work(work: Work, precision: str, threads: int, rounds: int, say: Say) -> dict[str, Any]:
    """One work in one precision class: every contestant's figures, and the ratio to the fastest peer.

    Raises ScanlineError if two contestants do not compute the same, or Scanline cannot do the work.
    """
    with ExitStack() as stack:
        workers = list(_start(work, precision, threads, say, stack))
        ours = workers[0]
        if work.kind == "infer":
            batches = {id(worker): _best_batch(worker) for worker in workers}
        turns = {id(worker): max(1, min(500, int(TURN_SECONDS / min(worker.turn(3))))) for worker in workers}
        for _ in range(rounds):
            for worker in workers:
                worker.seconds += worker.turn(turns[id(worker)])
        rates = {name: ours.ask({"do": "rate", "precision": name})["rate"] for name in SAME}
        rate = rates[precision]
    operations = work.operations()
    figures = []
    for worker in workers:
        low, median, high = statistics.quantiles(worker.seconds, n=4)
        gflops = operations / median / 1e9
        figures.append(
            {
                "name": worker.peer.name,
                "median_ms": median * 1e3,
                "quartiles_ms": [low * 1e3, high * 1e3],
                "runs": len(worker.seconds),
                "gflops": round(gflops, 1),
                "share_of_matrix_rate": round(gflops / rate, 3),
                "peak_mb": worker.peak_mb,
                "above_imports_mb": round(worker.peak_mb - worker.imports_mb, 1),
                "results": worker.results,
            }
            | ({"batch": batches[id(worker)]} if work.kind == "infer" else {})
        )
    peers = [figure for figure in figures if figure["name"] != "scanline"]
    fastest = min(peers, key=lambda figure: figure["median_ms"])
    return {
        "work": work.name,
        "about": work.about,
        "kind": work.kind,
        "precision": precision,
        "gflop": round(operations / 1e9, 3),
        "matrix_gflops": rate,
        "contestants": figures,
        "fastest_peer": fastest["name"],
        "ratio": round(fastest["median_ms"] / figures[0]["median_ms"], 2),
    }


def _start(work: Work, precision: str, threads: int, say: Say, stack: ExitStack) -> Iterator[Worker]:
    """The contestants that can do the work, Scanline first, once each has computed what the first did."""
    expected: list[float] = []
    for peer in peers_for(work, precision, threads):
        if not peer.installed():
            continue
        worker = Worker(peer, work, precision, threads)
        stack.callback(worker.close)
        if worker.failed:
            if not expected:
                raise ScanlineError(f"bench: {peer.name} cannot do {work.name}: {worker.failed}")
            say(f"{work.name}, {precision}: without {peer.name}: {worker.failed[:200]}")
            continue
        if not expected:
            expected = worker.results
        elif difference(work, worker.results, expected) > SAME[precision]:
            raise ScanlineError(
                f"bench: {peer.name} does not compute what Scanline does on {work.name}: "
                f"{worker.results} in place of {expected}"
            )
        yield worker


def difference(work: Work, results: list[float], expected: list[float]) -> float:
    """The largest difference of losses, relative to the first; of sums of logits, by their number."""
    scale = abs(expected[0]) if work.kind == "train" else work.N * CLASSES
    return max(abs(a - b) for a, b in zip(results, expected, strict=True)) / scale


def _best_batch(worker: Worker) -> int:
    """The batch size at which the contestant answers fastest; it is left there."""
    best, best_seconds = 0, float("inf")
    for size in BATCH_SIZES:
        worker.ask({"do": "batch", "size": size})
        seconds = min(worker.turn(2))
        if seconds < best_seconds:
            best, best_seconds = size, seconds
    worker.ask({"do": "batch", "size": best})
    return best


def versions() -> dict[str, str]:
    """Of every framework that takes part."""
    found = {}
    for package in ("torch", "jax", "optax", "keras", "tensorflow", "tensorflow-cpu", "onnxruntime"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
