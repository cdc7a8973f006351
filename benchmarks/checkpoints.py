"""Measure the cost of checkpoints: the default run on MNIST with one every 100 steps, and with none.

    python benchmarks/checkpoints.py

The runs alternate. Prints the median training time that the runs record.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import scanline

ROUNDS = 5
KINDS = {"none": 10**9, "every 100 steps": 100}


def main() -> None:
    """Train and print."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            for kind, every in KINDS.items():
                settings = {"train.checkpoint_every": every, "train.checkpoint_seconds": 0.0}
                path = Path(folder) / f"{every}-{turn}"
                run = scanline.train("mnist", settings=settings, run=path, log=None)
                seconds[kind].append(run.result["training"]["seconds"])
    middle = {kind: statistics.median(each) for kind, each in seconds.items()}
    for kind, each in seconds.items():
        print(f"{kind}: {middle[kind]:.3f} s ({', '.join(f'{value:.3f}' for value in sorted(each))})")
    added = middle["every 100 steps"] / middle["none"] - 1
    print(f"added by 62 checkpoints: {100 * added:.2f} %")


if __name__ == "__main__":
    main()
