"""Short runs on scikit-learn's digits, for the tests of whole runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from scanline.errors import Interrupted
from scanline.storage.digest import sha256
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun

SHORT = {
    "train.samples": 0, "train.steps": 24, "train.checkpoint_every": 7, "train.validate_every": 5,
    "train.log_every": 3, "model.hidden_size": 8, "model.layers": 2, "model.dropout": 0.3,
}  # fmt: skip


def short(run: Path, **changes) -> TrainingRun:
    return TrainingRun.begin("digits", settings=SHORT | changes, run=run, device="cpu")


def finish(training: TrainingRun) -> TrainingRun:
    for _ in training.events():
        pass
    return training


def weights(run: Path) -> str:
    return sha256((run / "model" / "model.safetensors").read_bytes())


def metrics(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def stop_at(training: TrainingRun, step: int, number: int = signal.SIGINT) -> Interrupted:
    def train_and_be_stopped() -> None:
        for event in training.events():
            if isinstance(event, Stepped) and event.step == step:
                os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as caught:
        train_and_be_stopped()
    return caught.value
