"""Training with tracking against training without: is a server that is down free of charge?

    python benchmarks/tracking.py [--rounds 10] [--to mlflow:URI] [--data digits] [--set train.steps=40000]

Each round has a pair of trainings for each mode, with and without tracking, which run at the same time: each
is pinned to a core of its own with one thread, and they exchange their cores after each round. A machine that
becomes slower slows both of a pair down. The process that publishes a run shares the core of its training.

    down    nothing listens on the server's port
    silent  connections are accepted and never answered
    up      the server of --to, if given

Printed are the medians of the training time in result.json and of the processor time of the command, and the
ratios to the other one of the pair: the geometric mean of the medians on both assignments of the cores, so
that a difference between the cores cancels out.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """What one training with tracking and the one beside it without took, in seconds.

    Attributes:
        swapped: Whether the cores were exchanged.
        training: Training time with and without tracking.
        processor: Processor time of the whole command, with that of its publishing process, likewise.
    """

    swapped: bool
    training: tuple[float, float]
    processor: tuple[float, float]


def main() -> None:
    """Train in all modes and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--to", help="a server that answers")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--set", action="append", dest="settings", metavar="KEY=VALUE")
    options = parser.parse_args()
    # About 20 seconds on one core, with a log line every 50 steps and a checkpoint every 200.
    settings = options.settings or ["train.samples=0", "train.steps=12000"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        modes = {
            "down": f"mlflow:http://127.0.0.1:{closed}",
            "silent": f"mlflow:http://127.0.0.1:{silent.getsockname()[1]}",
        } | ({"up": options.to} if options.to else {})
        pairs: dict[str, list[Pair]] = {mode: [] for mode in modes}
        for number in range(options.rounds):
            for mode, target in modes.items():
                pairs[mode].append(train(options.data, settings, target, swapped=number % 2 == 1))
            last = {mode: found[-1].training for mode, found in pairs.items()}
            print(f"round {number + 1} of {options.rounds}: {last}", file=sys.stderr, flush=True)
    print(f"{options.data}, {shlex.join(settings)}, {options.rounds} rounds, {os.cpu_count()} cores")
    show(pairs)


def train(data: str, settings: list[str], target: str, swapped: bool) -> Pair:
    """Train with tracking and without at the same time, each on one core."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for name, core in zip(("tracked", "plain"), cores[::-1] if swapped else cores, strict=True):
            command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "scanline", "train", data]
            command += ["--run", f"{folder}/{name}"] + [f"--set={each}" for each in settings]
            command += ["--track", target] if name == "tracked" else []
            null = subprocess.DEVNULL
            children.append(subprocess.Popen(command, stdout=null, stderr=null, env=_one_thread()))
        processor = []
        for child in children:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise SystemExit(f"{shlex.join(map(str, child.args))} ended with {child.returncode}")
            processor.append(usage.ru_utime + usage.ru_stime)
        results = [
            json.loads((Path(folder) / name / "result.json").read_text()) for name in ("tracked", "plain")
        ]
    training = [float(result["training"]["seconds"]) for result in results]
    return Pair(swapped, (training[0], training[1]), (processor[0], processor[1]))


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def show(pairs: dict[str, list[Pair]]) -> None:
    """Print the table."""
    print(
        f"{'mode':8} {'training':>10} {'processor':>10}   ratio to plain: training, processor (of the pairs)"
    )
    for mode, found in pairs.items():
        cells = []
        for name in ("training", "processor"):
            by_order = [
                [getattr(pair, name)[0] / getattr(pair, name)[1] for pair in found if pair.swapped == swapped]
                for swapped in (False, True)
            ]
            middle = statistics.geometric_mean(statistics.median(each) for each in by_order if each)
            low, high = min(map(min, filter(None, by_order))), max(map(max, filter(None, by_order)))
            cells.append(f"{middle:.4f} ({low:.3f} to {high:.3f})")
        training = statistics.median(pair.training[0] for pair in found)
        processor = statistics.median(pair.processor[0] for pair in found)
        print(f"{mode:8} {training:8.2f} s {processor:8.2f} s   {', '.join(cells)}")


if __name__ == "__main__":
    main()
