"""Models and data of the tests of scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scanline.api import train
from scanline.data.memory import MemorySource
from scanline.data.reading import read_sources
from scanline.recipe import DEFAULT_DATA

SETTINGS = {
    "train.samples": 0,
    "train.epochs": 0,
    "train.steps": 150,
    "train.log_every": 50,
    "train.learning_rate": 0.02,
    "model.hidden_size": 8,
    "model.bidirectional": False,
    "split.validation": 0.2,
}


@pytest.fixture(scope="session")
def csv_file(tmp_path_factory) -> Path:
    """120 sequences of 3 to 9 steps of x and y, in three classes by the mean of x."""
    path = tmp_path_factory.mktemp("sequences") / "sequences.csv"
    draw = np.random.default_rng(4)
    lines = ["id,time,x,y,label"]
    for index in range(120):
        kind = index % 3
        steps = draw.normal(size=(int(draw.integers(3, 10)), 2)) + np.array([1.5 * kind, 0])
        label = ("low", "middle", "high")[kind]
        lines += [f"s{index},{time},{x:.4f},{y:.4f},{label}" for time, (x, y) in enumerate(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def sequences(csv_file) -> MemorySource:
    """The sequences of the file."""
    (source,) = read_sources(csv_file, DEFAULT_DATA).values()
    return source


@pytest.fixture(scope="session")
def run(csv_file, tmp_path_factory) -> Path:
    """A run that refuses missing values, whose model reads forward."""
    return train_on(csv_file, tmp_path_factory, "run")


@pytest.fixture(scope="session")
def filling_run(csv_file, tmp_path_factory) -> Path:
    """A run that fills missing values, whose model reads in both directions."""
    changes = {"input.missing": "forward-fill", "model.bidirectional": True, "train.steps": 10}
    return train_on(csv_file, tmp_path_factory, "filling", **changes)


def train_on(data: Path, tmp_path_factory, name: str, **changes: object) -> Path:
    path = tmp_path_factory.mktemp("runs") / name
    train(data, settings=SETTINGS | changes, run=path, log=None)
    return path
