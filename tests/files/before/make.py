"""Make the runs of this folder. They were made once, by Scanline at commit 35c4136, and are not made again.

Run with that commit's `src` on PYTHONPATH: python make.py FOLDER
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
from scanline.experiment import Experiment

import scanline
from scanline.errors import Interrupted
from scanline.training.records import Stepped

COMMON = {"train.samples": 0, "train.epochs": 0, "model.hidden_size": 8, "train.log_every": 5}


def recordings(path: Path) -> None:
    """A long table of 60 recordings of 3 to 9 steps, some values missing."""
    draw = np.random.default_rng(5)
    lines = ["id,time,x,y,label"]
    for recording in range(60):
        kind = recording % 3
        for step in range(int(draw.integers(3, 10))):
            x, y = step * (kind - 1) + draw.normal(0, 0.5), draw.normal(kind, 0.5)
            cells = ["" if draw.random() < 0.1 else f"{value:.3f}" for value in (x, y)]
            lines.append(f"r{recording},{step},{','.join(cells)},{('falls', 'stays', 'rises')[kind]}")
    path.write_text("\n".join(lines) + "\n")


def finish(experiment: Experiment) -> None:
    for _ in experiment.records():
        pass


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def digits(folder: Path) -> None:
    settings = COMMON | {"train.steps": 60, "train.learning_rate": 0.02}
    run = folder / "lstm-rows"
    finish(Experiment.begin("digits", "rows", settings, run / "run", "cpu"))
    pictures = np.arange(5 * 64).reshape(5, 8, 8).astype(np.uint8) % 17
    np.savez(
        run / "expected.npz",
        values=pictures,
        probabilities=scanline.load(run / "run").predict_proba(pictures),
    )


def sequences(folder: Path) -> None:
    run = folder / "gru-stopped"
    run.mkdir(parents=True)
    recordings(run / "series.csv")
    os.chdir(run)  # messages in the log name the file without a folder
    settings = COMMON | {
        "model.cell": "gru", "model.readout": "mean", "input.missing": "forward-fill", "train.steps": 40,
        "train.checkpoint_every": 10, "train.validate_every": 8,
    }  # fmt: skip
    experiment = Experiment.begin("series.csv", "sequences", settings, run / "run", "cpu")
    try:
        for record in experiment.records():
            if isinstance(record, Stepped) and record.step == 23:
                os.kill(os.getpid(), signal.SIGINT)
    except Interrupted:
        pass
    draw = np.random.default_rng(6)
    values = draw.normal(size=(5, 6, 2))
    values[1, 2, 0] = values[3, 0, 1] = np.nan
    lengths = np.array([6, 4, 1, 3, 5])
    given = [each[:length] for each, length in zip(values, lengths, strict=True)]
    shutil.copytree(run / "run", folder / "resumed")
    finish(Experiment.resume(folder / "resumed", "cpu"))
    np.savez(
        run / "expected.npz",
        values=values,
        lengths=lengths,
        probabilities=scanline.load(run / "run").predict_proba(given),
        resumed_probabilities=scanline.load(folder / "resumed").predict_proba(given),
        resumed_sha256=np.array(digest(folder / "resumed")),
    )
    shutil.rmtree(folder / "resumed")
    recipe = run / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str((run / "series.csv").resolve()), "@DATA@"))


def arrays(folder: Path) -> None:
    draw = np.random.default_rng(7)
    X = [draw.normal(size=(int(draw.integers(2, 8)), 3)) + (index % 4 == 0) for index in range(60)]
    given = scanline.Arrays(X, np.array(["rare", "usual", "usual", "usual"] * 15), name="mine")
    settings = COMMON | {
        "model.cell": "rnn", "model.readout": "max", "input.scaling": "standard", "model.layers": 2,
        "train.class_weights": "balanced", "train.steps": 50,
    }  # fmt: skip
    run = folder / "rnn-weighted"
    finish(Experiment.begin(given, "sequences", settings, run / "run", "cpu"))
    values = draw.normal(size=(4, 5, 3))
    np.savez(
        run / "expected.npz", values=values, probabilities=scanline.load(run / "run").predict_proba(values)
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    for make in (digits, sequences, arrays):
        make(target)
