"""Time training steps on a quiet machine, beside a busy process, and beside another training.

    python benchmarks/busy.py [--rounds N] [--steps N] [--json FILE]

The recipe `rows` on random pictures. Every measurement is a new process; the ways and the conditions
alternate, and medians are printed. "scanline" trains as the command does, "library" as a program that has
imported torch with its defaults, "torch" is a loop of torch.nn.LSTM, cross entropy and Adam.
Run it while nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAYS = ("scanline", "library", "torch")
CONDITIONS = ("quiet", "beside a busy process", "two at once")
BURN = "while True: pass"


def steps_of_scanline(count: int) -> list[float]:
    """Return the seconds of each step of Scanline's trainer."""
    import numpy as np

    from scanline.data.readers.arrays import Arrays
    from scanline.data.transforms.scaler import Scaler
    from scanline.training.inputs import read_inputs
    from scanline.training.preparation import prepare
    from scanline.training.state import initial_state
    from scanline.training.trainer import Trainer

    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (2000, 28, 28), dtype=np.uint8)
    arrays = Arrays(pictures, np.arange(2000) % 10)
    settings = {"train.validate_every": 0, "train.log_every": 0}
    prepared = prepare(*read_inputs(arrays, "rows", settings, None))
    scaler = Scaler.fit(prepared.data.train, prepared.recipe.input.scaling, prepared.data.full_scale)
    state = initial_state(prepared.recipe, prepared.architecture, scaler.shift, scaler.scale, "cpu")
    events = Trainer(state, prepared.recipe, prepared.data, prepared.task).events()
    return timed(lambda: next(events), count)


def steps_of_torch(count: int) -> list[float]:
    """Return the seconds of each step of a plain loop in torch."""
    import torch

    torch.manual_seed(0)
    layer, head = torch.nn.LSTM(28, 128, batch_first=True), torch.nn.Linear(128, 10)
    weights = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.0035)
    values, targets = torch.rand(16, 28, 28), torch.arange(16) % 10

    def step() -> None:
        optimizer.zero_grad()
        outputs, _ = layer(values)
        torch.nn.functional.cross_entropy(head(outputs[:, -1]), targets).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return timed(step, count)


def timed(step, count: int) -> list[float]:
    for _ in range(30):
        step()
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def child(way: str, count: int) -> None:
    if way == "scanline":
        from scanline.kernels.waiting import limit_spinning

        limit_spinning()
    seconds = steps_of_torch(count) if way == "torch" else steps_of_scanline(count)
    print(1e3 * sum(seconds) / len(seconds))


def measure(way: str, condition: str, count: int) -> float:
    """Return milliseconds a step: the mean, because the longest steps are what a user waits for."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, __file__, "--child", way, "--steps", str(count)]
    # The other training runs on until this one has been timed.
    others = {
        "quiet": [],
        "beside a busy process": [[sys.executable, "-c", BURN]],
        "two at once": [[*command[:-1], "10000000"]],
    }[condition]
    started = [subprocess.Popen(other, env=clean, stdout=subprocess.DEVNULL) for other in others]
    try:
        if condition == "two at once":
            time.sleep(4)  # until the other one trains
        return float(subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout)
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=WAYS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps)
        return
    times: dict[str, dict[str, list[float]]] = {way: {name: [] for name in CONDITIONS} for way in WAYS}
    for _ in range(options.rounds):
        for condition in CONDITIONS:
            for way in WAYS:
                times[way][condition].append(measure(way, condition, options.steps))
    for way in WAYS:
        quiet = statistics.median(times[way]["quiet"])
        for condition in CONDITIONS:
            median = statistics.median(times[way][condition])
            print(f"{way:<9} {condition:<22} {median:7.2f} ms a step, {median / quiet:5.2f} x quiet")
    if options.json:
        options.json.write_text(
            json.dumps({"schema": 1, "cores": os.cpu_count(), "ms_per_step": times}, indent=1)
        )


if __name__ == "__main__":
    main()
