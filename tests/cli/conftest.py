"""Runs for the tests of reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from scanline.api import train

FEW = {"train.samples": 0, "train.epochs": 0, "train.steps": 8, "train.log_every": 2, "model.hidden_size": 4}


@pytest.fixture(scope="session")
def here(tmp_path_factory) -> Path:
    """A folder with runs on two files of sequences: one and two on the same, other on another."""
    folder = tmp_path_factory.mktemp("here")
    draw = np.random.default_rng(0)
    for name, n in (("mine", 80), ("others", 60)):
        y = np.arange(n) % 2
        X = (draw.normal(size=(n, 3, 2)) + (0.7 * y - 0.35)[:, None, None]).astype(np.float32)
        np.savez(folder / f"{name}.npz", X=X, y=np.array(["low", "high"])[y])
    for run, data, steps in [("one", "mine", 8), ("two", "mine", 60), ("other", "others", 8)]:
        settings = FEW | {"train.steps": steps}
        train(folder / f"{data}.npz", settings=settings, run=folder / run, log=None)
    return folder


@pytest.fixture
def folder(here, tmp_path, monkeypatch) -> Path:
    """A copy of it that a test may spoil, and in which it is."""
    for name in ("one", "two", "other"):
        shutil.copytree(here / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
