"""Recordings of days: the data sets that memory is measured on, see LONG.md.

    python benchmarks/long.py day FILE.csv              # a label at each step, in a long table
    python benchmarks/long.py day FILE.npz --split      # the same with a validation and a test split
    python benchmarks/long.py classes FILE.npz          # one recording of a day for each of two classes
    python benchmarks/large_data.py peak COMMAND...     # peak anonymous memory of a command

A day at 50 Hz has 4,320,000 steps of three accelerations. Its activities last one to ten minutes each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

RATE, DAY = 50, 24 * 3600
# Frequency in Hz and amplitude of each activity.
ACTIVITIES = {"rest": (0.0, 0.0), "walk": (1.8, 0.4), "run": (2.8, 1.0)}


def day(seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return accelerations (steps, 3) float32 and the number of the activity of each step."""
    draw, labels, start = np.random.default_rng(seed), np.empty(steps, np.int64), 0
    while start < steps:
        end = start + int(draw.integers(60, 600)) * RATE
        labels[start:end] = draw.integers(len(ACTIVITIES))
        start = end
    forms = np.array(list(ACTIVITIES.values()))[labels]
    phase = 2 * np.pi * np.cumsum(forms[:, 0]) / RATE
    values = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], 1) * forms[:, 1:]
    values += draw.normal(0, 0.3, values.shape)
    return values.astype(np.float32), labels


def write_table(file: Path, seed: int, steps: int) -> None:
    """Write a long table of one recording."""
    import pyarrow
    from pyarrow import csv

    values, labels = day(seed, steps)
    columns = {"recording": np.zeros(steps, np.int8), "t": np.arange(steps) / RATE}
    columns |= {f"a{axis}": values[:, axis].round(3) for axis in range(3)}
    names = np.array(list(ACTIVITIES))
    csv.write_csv(pyarrow.table(columns | {"label": names[labels]}), file)


def write_arrays(file: Path, seed: int, steps: int, split: bool) -> None:
    """Write an .npz file of one recording, or of one for each split."""
    arrays: dict[str, np.ndarray] = {}
    for number, part in enumerate(("train", "val", "test") if split else ("",)):
        values, labels = day(seed + number, steps)
        tail = f"_{part}" if part else ""
        arrays |= {f"X{tail}": values[None], f"y{tail}": labels[None]}
    np.savez(file, **arrays)


def write_classes(file: Path, seed: int, steps: int) -> None:
    """Write an .npz file of two recordings, of which one has larger accelerations."""
    values = [day(seed + number, steps)[0] * (1, 1.5)[number] for number in (0, 1)]
    np.savez(file, X=np.stack(values), y=np.array(["calm", "lively"]))


def main() -> None:
    """Write a data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["day", "classes"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=RATE * DAY)
    parser.add_argument("--split", action="store_true")
    given = parser.parse_args()
    if given.kind == "classes":
        write_classes(given.file, given.seed, given.steps)
    elif given.file.suffix == ".csv":
        write_table(given.file, given.seed, given.steps)
    else:
        write_arrays(given.file, given.seed, given.steps, given.split)


if __name__ == "__main__":
    main()
