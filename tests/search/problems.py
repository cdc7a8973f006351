"""Small problems to search on, and a search that takes a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scanline.search.request import Request
from scanline.search.study import Search

SPACE = {"model.readout": ["last", "max"], "model.hidden_size": [4, 8]}
SETTINGS = {"train.epochs": 4, "model.hidden_size": 8, "train.checkpoint_every": 1000}


def write_ts(path: Path, n: int, seed: int) -> Path:
    """Write series of 6 steps that rise or fall."""
    draw = np.random.default_rng(seed)
    lines = ["@problemName waves", "@univariate true", "@classLabel true down up", "@data"]
    for index in range(n):
        series = draw.normal(size=6) + np.arange(6) * (0.5 if index % 2 else -0.5)
        lines.append(f"{','.join(f'{value:.4f}' for value in series)}:{'up' if index % 2 else 'down'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_waves(folder: Path) -> Path:
    """Write a training and a test file, and return their common stem."""
    folder.mkdir(parents=True, exist_ok=True)
    write_ts(folder / "waves_TRAIN.ts", 24, seed=0)
    write_ts(folder / "waves_TEST.ts", 12, seed=1)
    return folder / "waves"


def begin(data: object, folder: Path, **changes: object) -> Search:
    """Begin a search of a few trials in this process."""
    chosen = {"trials": 2, "workers": 0, "folds": 0, "space": SPACE, "settings": SETTINGS, "device": "cpu"}
    given = str(data) if isinstance(data, Path) else data
    return Search.begin(Request(data=given, study=str(folder), baselines=False, **chosen | changes))
