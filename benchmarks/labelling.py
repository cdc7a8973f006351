"""Measure a label for each step beside a method of scikit-learn on windows, with the same splits.

    python benchmarks/labelling.py --seeds 5                 # all; half an hour
    python benchmarks/labelling.py --only rfid --seeds 1     # one data set
    python benchmarks/labelling.py --only rfid --validation  # on the validation split; the test is not read

The data lie in $SCANLINE_DATA: sensors/rfid_older_people, labelling/occupancy and labelling/gesture_phase.
Results are printed as rows of the table in benchmarks/LABELLING.md. Settings were chosen with --validation.

The part-of-speech tags of UD ATIS (labelling/ud_english_atis) need words as inputs and are not measured here.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

import scanline
from scanline import recipe
from scanline.metrics.steps import StepMetrics, step_metrics

DATA = Path(os.environ.get("SCANLINE_DATA", "../shared"))
Floats = NDArray[np.float32]
Split = tuple[list[Floats], list[NDArray[np.int64]]]


@dataclass(frozen=True)
class Problem:
    """A data set with its splits, and what is beside the network.

    Attributes:
        name: Name on the command line.
        classes: The class names.
        splits: (T_i, F) values and (T_i,) class indices of each sequence, by the name of the split.
        piece: Number of steps into which training sequences are cut.
        window: Steps on each side that the windows of the other method reach to.
        other: Makes the other method from a seed.
        settings: Changes of the recipe `steps`.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    piece: int
    window: int
    other: Callable[[int], Any]
    settings: dict[str, object]


def rfid() -> Problem:
    """RFID sensors of older people: 87 recordings, a fifth of the persons for the test, a fifth to validate.

    Source: Torres et al. (2013), "Sensor enabled wearable RFID technology for mitigating the risk of falls
    near beds".
    """
    recordings = []
    for path in sorted((DATA / "sensors/rfid_older_people").glob("S*_Dataset/d*.gz")):
        with gzip.open(path, "rt") as file:
            rows = np.loadtxt(file, delimiter=",", ndmin=2)
        antennas = np.eye(4)[rows[:, 4].astype(int) - 1]
        gaps = np.log1p(np.diff(rows[:, 0], prepend=rows[0, 0]))[:, None]
        values = np.hstack([rows[:, 1:4], antennas, rows[:, 5:8], gaps]).astype(np.float32)
        recordings.append((values, rows[:, 8].astype(np.int64) - 1))
    persons = np.random.default_rng(0).permutation(len(recordings))
    fifth = len(persons) // 5
    names = {"test": persons[:fifth], "validation": persons[fifth : 2 * fifth], "train": persons[2 * fifth :]}
    splits = {
        name: ([recordings[i][0] for i in sorted(own)], [recordings[i][1] for i in sorted(own)])
        for name, own in names.items()
    }
    classes = ("sit on bed", "sit on chair", "lie", "walk")
    settings: dict[str, object] = {"train.epochs": 40}
    return Problem("rfid", classes, splits, 256, 8, _forest, settings)


def occupancy() -> Problem:
    """Occupancy of a room, a row a minute; the files datatest and datatest2 are the test.

    Every fifth piece of the training file validates.

    Source: Candanedo & Feldheim (2016).
    """

    def read(name: str) -> tuple[Floats, NDArray[np.int64]]:
        with gzip.open(DATA / f"labelling/occupancy/{name}.txt.gz", "rt") as file:
            rows = np.array([row[2:] for row in csv.reader(file)][1:], np.float64)
        return rows[:, :-1].astype(np.float32), rows[:, -1].astype(np.int64)

    values, labels = read("datatraining")
    pieces = [slice(first, first + 240) for first in range(0, len(values), 240)]
    held = pieces[2::5]
    kept = [each for each in pieces if each not in held]
    tests = [read("datatest"), read("datatest2")]
    splits = {
        "train": ([values[each] for each in kept], [labels[each] for each in kept]),
        "validation": ([values[each] for each in held], [labels[each] for each in held]),
        "test": ([each for each, _ in tests], [each for _, each in tests]),
    }
    settings: dict[str, object] = {"model.hidden_size": 32, "train.epochs": 30, "train.learning_rate": 0.001}
    return Problem("occupancy", ("empty", "occupied"), splits, 240, 8, _boosting, settings)


def gesture() -> Problem:
    """Gesture phases of 3 people in 7 recordings: a3, b3 and c3 are the test, a2 validates.

    Source: Madeo et al. (2013).
    """
    classes = ("Hold", "Preparation", "Rest", "Retraction", "Stroke")

    def read(name: str) -> tuple[Floats, NDArray[np.int64]]:
        with gzip.open(DATA / f"labelling/gesture_phase/{name}_raw.csv.gz", "rt") as file:
            rows = list(csv.reader(file))[1:]
        points = np.array([row[:18] for row in rows], np.float64)
        # Hands, head and wrists from the spine, and their velocities.
        points[:, [*range(9), *range(12, 18)]] -= np.tile(points[:, 9:12], 5)
        moved = np.diff(points, axis=0, prepend=points[:1])
        # One step of b1 is labelled in another language.
        kinds = ["Preparation" if row[19].startswith("Prepara") else row[19] for row in rows]
        phases = np.array([classes.index(kind) for kind in kinds])
        return np.hstack([points, moved]).astype(np.float32), phases

    names = {"train": ("a1", "b1", "c1"), "validation": ("a2",), "test": ("a3", "b3", "c3")}
    splits = {}
    for split, own in names.items():
        recordings = [read(name) for name in own]
        splits[split] = ([each for each, _ in recordings], [each for _, each in recordings])
    settings: dict[str, object] = {"model.hidden_size": 64, "train.epochs": 60}
    return Problem("gesture", classes, splits, 128, 8, _boosting, settings)


def _forest(seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(200, min_samples_leaf=2, random_state=seed, n_jobs=1)


def _boosting(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(random_state=seed)


PROBLEMS: dict[str, Callable[[], Problem]] = {"rfid": rfid, "occupancy": occupancy, "gesture": gesture}


def windows(values: Floats, reach: int) -> Floats:
    """Return features of the window around each step: values, mean, deviation and extremes, (T, 5 * F)."""
    padded = np.pad(values, ((reach, reach), (0, 0)), "edge")
    view = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)  # (T, F, window)
    return np.hstack([values, view.mean(2), view.std(2), view.min(2), view.max(2)])


def with_network(problem: Problem, split: str, seed: int) -> StepMetrics:
    """Train the network and return its metrics on a split."""
    values, labels = problem.splits["train"]
    cuts = [slice(first, first + problem.piece) for first in range(0, max(map(len, values)), problem.piece)]
    pieces = [
        (steps[cut], own[cut])
        for steps, own in zip(values, labels, strict=True)
        for cut in cuts
        if len(steps[cut])
    ]
    arrays = scanline.Arrays(
        [steps for steps, _ in pieces],
        [[problem.classes[label] for label in own] for _, own in pieces],
        validation=_named(problem, "validation"),
        name=problem.name,
    )
    settings = {"task": "step-classification", "split.test": 0} | problem.settings
    with tempfile.TemporaryDirectory() as folder:
        run = scanline.train(
            arrays, settings=settings, seed=seed, run=Path(folder) / "run", device="cpu", log=None
        )
        measured = run.model.evaluate(scanline.Arrays(*_named(problem, split)))
    assert isinstance(measured, StepMetrics)
    return measured


def _named(problem: Problem, split: str) -> tuple[list[Floats], list[list[str]]]:
    values, labels = problem.splits[split]
    return values, [[problem.classes[label] for label in own] for own in labels]


def with_other(problem: Problem, split: str, seed: int) -> StepMetrics:
    """Fit the other method on windows of the training split and return its metrics on a split."""
    values, labels = problem.splits["train"]
    method = problem.other(seed)
    method.fit(np.vstack([windows(each, problem.window) for each in values]), np.concatenate(labels))
    values, labels = problem.splits[split]
    found = method.predict_proba(np.vstack([windows(each, problem.window) for each in values]))
    probabilities = np.full((len(found), len(problem.classes)), 1e-9)
    probabilities[:, method.classes_] = found
    logits = np.log(np.maximum(probabilities, 1e-9)).astype(np.float32)
    lengths = np.array([len(each) for each in values], np.int64)
    return step_metrics(logits, np.concatenate(labels), problem.classes, lengths)


def row(name: str, method: str, found: list[StepMetrics]) -> str:
    """Return a row of the table: means over the seeds, and the range of the macro F1."""
    f1 = [each.macro_f1 for each in found]
    segments = [each.segments.f1 or 0.0 for each in found]
    accuracy = statistics.mean(each.accuracy for each in found)
    span = f" ({min(f1):.4f}-{max(f1):.4f})" if len(f1) > 1 else ""
    return (
        f"| {name} | {method} | {len(found)} | {statistics.mean(f1):.4f}{span} | {accuracy:.4f} | "
        f"{statistics.mean(segments):.4f} |"
    )


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PROBLEMS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--validation", action="store_true", help="measure on the validation split")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    arguments = parser.parse_args()
    split = "validation" if arguments.validation else "test"
    print(f"| data, {split} split | method | seeds | macro F1 | accuracy | segment F1 |")
    print("|---|---|---|---|---|---|")
    for name, make in PROBLEMS.items():
        if arguments.only not in (None, name):
            continue
        problem = make()
        problem.settings.update(dict(map(recipe.parse_setting, arguments.changes)))
        seeds = range(arguments.seeds)
        other = type(problem.other(0)).__name__
        for method, measure in (("network", with_network), (f"{other} on windows", with_other)):
            print(row(name, method, [measure(problem, split, seed) for seed in seeds]), flush=True)


if __name__ == "__main__":
    main()
