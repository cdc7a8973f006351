"""Training with tracking against training without: is a server that is down free of charge?

    python benchmarks/tracking.py [--rounds 10] [--to mlflow:URI] [--data digits] [--set train.steps=40000]

Each round trains the same run once in each mode, in an order that changes from round to round, so that a
machine that becomes slower meets all modes alike:

    plain   without --track
    down    nothing listens on the server's port
    silent  connections are accepted and never answered
    up      the server of --to, if given

Printed are the medians of the training time in result.json and of the duration of the command, and the
median ratio to the plain run of the same round with the ratios of the rounds.
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
import time
from pathlib import Path


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
    # Half a minute on two cores, with a log line every 50 steps and a checkpoint every 200.
    settings = options.settings or ["train.samples=0", "train.steps=20000"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        modes = {
            "plain": None,
            "down": f"mlflow:http://127.0.0.1:{closed}",
            "silent": f"mlflow:http://127.0.0.1:{silent.getsockname()[1]}",
        } | ({"up": options.to} if options.to else {})
        times: dict[str, list[tuple[float, float]]] = {mode: [] for mode in modes}
        names = list(modes)
        for number in range(options.rounds):
            shift = number % len(names)
            for mode in names[shift:] + names[:shift]:
                times[mode].append(train(options.data, settings, modes[mode]))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(f"{options.data}, {shlex.join(settings)}, {options.rounds} rounds, {os.cpu_count()} cores")
    show(times)


def train(data: str, settings: list[str], target: str | None) -> tuple[float, float]:
    """Train once. Returns the training time and the duration of the command in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "scanline", "train", data, "--run", str(run)]
        command += [f"--set={each}" for each in settings] + (["--track", target] if target else [])
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        return float(json.loads((run / "result.json").read_text())["training"]["seconds"]), seconds


def show(times: dict[str, list[tuple[float, float]]]) -> None:
    """Print the table."""
    print(
        f"{'mode':8} {'training':>10} {'command':>10}   ratio to plain: training, command (lowest to highest)"
    )
    for mode, found in times.items():
        cells = []
        for which in (0, 1):
            pairs = zip(found, times["plain"], strict=True)
            ratios = sorted(own[which] / plain[which] for own, plain in pairs)
            cells.append(f"{statistics.median(ratios):.4f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
        training, command = (statistics.median(each[which] for each in found) for which in (0, 1))
        print(f"{mode:8} {training:8.2f} s {command:8.2f} s   {', '.join(cells)}")


if __name__ == "__main__":
    main()
