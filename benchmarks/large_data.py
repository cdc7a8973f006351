"""Packed data: memory, throughput beside data in memory, and the data sets that they are measured on.

    python benchmarks/large_data.py recordings FOLDER --gib 8   # .npz files of augmented recordings
    python benchmarks/large_data.py table FILE.csv --gib 10     # an unsorted long table of them
    python benchmarks/large_data.py throughput PACKED           # steps, stored and in memory, in turns
    python benchmarks/large_data.py shuffle FOLDER --seeds 5    # accuracy on MNIST sorted by class
    python benchmarks/large_data.py peak COMMAND...             # peak anonymous memory of a command

The recordings are those of BasicMotions (100 steps of 6 features, 4 classes), each scaled and with noise.
They and MNIST are looked up in SCANLINE_DATA.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PART_BYTES = 2**28
STEPS, ROUNDS = 20, 15


def augmented(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` recordings, (count, T, F) float32, and their classes."""
    from scanline.data import catalogue
    from scanline.recipe import DEFAULT_DATA

    train = catalogue.read("BasicMotions", DEFAULT_DATA).train
    recorded, draw = train.values, np.random.default_rng(seed)
    chosen = draw.integers(0, len(recorded), count)
    scales = 1 + 0.1 * draw.standard_normal((count, 1, recorded.shape[2]), dtype=np.float32)
    noise = draw.standard_normal((count, *recorded.shape[1:]), dtype=np.float32)
    values = recorded[chosen] * scales + 0.3 * recorded.std((0, 1)) * noise
    return values.astype(np.float32), np.array(train.classes)[train.targets[chosen]]


def write_recordings(folder: Path, gib: float) -> None:
    """Write .npz files that `scanline data pack 'FOLDER/*.npz'` reads as one data set."""
    folder.mkdir(parents=True, exist_ok=True)
    one = augmented(0, 1)[0].nbytes
    for part in range(round(gib * 2**30 / PART_BYTES)):
        X, y = augmented(part, PART_BYTES // one)
        np.savez(folder / f"part-{part:04d}.npz", X=X, y=y)


def write_table(file: Path, gib: float) -> None:
    """Write a long table whose rows are in random order within pieces of about 500 MB of text."""
    import pyarrow
    from pyarrow import csv

    # The steps of a recording are spread over all pieces: each piece has some steps of all of them.
    pieces, per_row = max(1, round(2 * gib)), 60
    X, y = augmented(0, max(1, round(gib * 2**30 / per_row / 100)))
    count, T, F = X.shape
    with file.open("wb") as stream:
        for piece in range(pieces):
            steps = np.arange(T)[piece::pieces]
            rows = np.random.default_rng(piece).permutation(count * len(steps))
            recording, step = rows // len(steps), steps[rows % len(steps)]
            values = X[recording, step].round(3)
            columns = {"recording": recording, "t": step, "activity": y[recording]}
            columns |= {f"x{feature}": values[:, feature] for feature in range(F)}
            table = pyarrow.table(columns)
            csv.write_csv(table, stream, csv.WriteOptions(include_header=piece == 0))


def throughput(packed: str) -> dict[str, float]:
    """Return sequences per second of training from row groups and from memory: LSTM 128, batch 128."""
    import torch

    from scanline import recipe
    from scanline.data.packed_data import read_packed
    from scanline.data.transforms.scaler import Scaler
    from scanline.training.preparation import prepare
    from scanline.training.state import initial_state
    from scanline.training.trainer import Trainer

    torch.set_num_threads(2)
    plan = recipe.load(
        "sequences",
        {
            "model.hidden_size": 128, "model.layers": 1, "train.samples": 0, "train.steps": 10**6,
            "train.batch_size": 128, "train.validate_every": 0, "train.patience": 0, "train.log_every": 0,
            "train.bucket": 0, "train.checkpoint_every": 10**6, "train.epochs": 0,
        },
    )  # fmt: skip
    stored = read_packed(packed)
    part = stored.train.take(np.sort(np.random.default_rng(0).permutation(len(stored.train))[:100_000]))
    events = {}
    for name, data in (("stored", stored), ("memory", stored.with_splits(train=part))):
        prepared = prepare(plan, data)
        scaler = Scaler.fit(prepared.data.train, plan.input.scaling, data.full_scale)
        state = initial_state(plan, prepared.architecture, scaler.shift, scaler.scale, "cpu")
        events[name] = Trainer(state, plan, prepared.data, prepared.task).events()
    seconds: dict[str, list[float]] = {"stored": [], "memory": []}
    for turn in range(ROUNDS * len(events)):
        name = ("stored", "memory")[turn % 2]
        seconds[name].append(_time(events[name]))
    rates = {name: STEPS * 128 / statistics.median(each[1:]) for name, each in seconds.items()}
    total = {name: STEPS * 128 * (len(each) - 1) / sum(each[1:]) for name, each in seconds.items()}
    return rates | {
        "stored / memory, medians": rates["stored"] / rates["memory"],
        "stored / memory, totals": total["stored"] / total["memory"],
    }


def _time(events: Iterator[object]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        next(events)
    return time.perf_counter() - started


def shuffle(folder: Path, seeds: int) -> dict[str, list[float]]:
    """Return the validation accuracies of short trainings on MNIST sorted by class, by the order of its use.

    A window is 8 of about 47 row groups. Packing mixes the sequences; with `keep_order` they stay sorted, so
    that windows alone mix classes.
    """
    import scanline
    from scanline.data import catalogue
    from scanline.recipe import DEFAULT_DATA

    train = catalogue.read("mnist", DEFAULT_DATA).train
    order = np.argsort(train.targets, kind="stable")
    folder.mkdir(parents=True, exist_ok=True)
    X, y = train.values.reshape(-1, 28, 28)[order], np.array(train.classes)[train.targets[order]]
    np.savez(folder / "sorted.npz", X=X, y=y)
    sources = {
        "memory": folder / "sorted.npz",
        "packed": folder / "packed",
        "packed, sorted": folder / "kept",
    }
    for name in ("packed", "packed, sorted"):
        kept = name != "packed"
        scanline.pack(sources["memory"], sources[name], row_group_mb=1, keep_order=kept, force=True)
    found: dict[str, list[float]] = {name: [] for name in sources}
    settings = {"train.samples": 30_000, "train.validate_every": 0, "split.use_test": False}
    for seed in range(seeds):
        for name, source in sources.items():
            run = folder / "runs" / f"{name}-{seed}"
            trained = scanline.train(source, recipe="rows", settings=settings, seed=seed, run=run, log=None)
            found[name].append(trained.result["validation"]["accuracy"])
    return found


def peak(command: list[str]) -> dict[str, float]:
    """Run a command; return its seconds and the largest sum of anonymous memory of its processes, in MiB."""
    started = time.perf_counter()
    process, most = subprocess.Popen(command), 0
    while process.poll() is None:
        most = max(most, sum(map(_anonymous_kib, _family(process.pid))))
        time.sleep(0.1)
    return {
        "exit code": process.returncode,
        "seconds": round(time.perf_counter() - started, 1),
        "peak anonymous MiB": round(most / 1024),
    }


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *(each for child in children.read_text().split() for each in _family(int(child)))]
    except OSError:  # it has ended
        return []


def _anonymous_kib(pid: int) -> int:
    try:
        found = re.search(r"^Anonymous:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def main() -> None:
    """Run the command that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("recordings", "table"):
        command = commands.add_parser(name)
        command.add_argument("path", type=Path)
        command.add_argument("--gib", type=float, default=8.0)
    commands.add_parser("throughput").add_argument("packed")
    sorted_data = commands.add_parser("shuffle")
    sorted_data.add_argument("path", type=Path)
    sorted_data.add_argument("--seeds", type=int, default=5)
    commands.add_parser("peak").add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.command == "recordings":
        write_recordings(given.path, given.gib)
    elif given.command == "table":
        write_table(given.path, given.gib)
    else:
        figures: object
        if given.command == "throughput":
            figures = throughput(given.packed)
        elif given.command == "shuffle":
            figures = shuffle(given.path, given.seeds)
        else:
            figures = peak(given.arguments)
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
