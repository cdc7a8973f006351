"""The smallest valid model and checkpoint, for tests that damage them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch

from scanline import recipe
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.description import Provenance, SplitDigest, TestResult
from scanline.model.ensemble import make_ensemble
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from scanline.training import checkpoint
from scanline.training.checkpoint_state import Position
from scanline.training.state import BestValidation, initial_state

ARCHITECTURE = Architecture("lstm", 2, 2, 1, False, 0.0, "between", "last", 2)
PLAN = recipe.load("rows")


def bundled() -> Model:
    """A model of two classes with every field of a description; the same each time."""
    classifier = Network(ARCHITECTURE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    form = Preprocessing(None, "rows", 0, 2, 2, "mean", (0.1, -2.5e-7), DEFAULT_DATA)
    history = Provenance(
        recipe="rows",
        seed=3,
        licence="MIT",
        parts={"train": SplitDigest(n=9, sha256="0" * 64)},
        test=TestResult(n=9, correct=7, accuracy=7 / 9, ci95=(0.4526, 0.9368)),
    )
    return Model(classifier, Classification(("né", 5)), form, "made up", 1.0000000000000002, history)


def save_bundle(folder: Path) -> Path:
    bundled().save(folder, "0.0.0")
    return folder


def save_ensemble(folder: Path) -> Path:
    """Save an ensemble of two models."""
    first = bundled()
    second = replace(first, network=copy.deepcopy(first.network), preprocessing=first.preprocessing)
    with torch.no_grad():
        second.network.head.bias.add_(1)
    make_ensemble([first, second], names=("one", "two")).save(folder, "0.0.0")
    return folder


def save_checkpoint(checkpoints: Path) -> Path:
    """Returns the folder of the one checkpoint."""
    state = initial_state(PLAN, ARCHITECTURE, 0.0, 1.0, "cpu")
    state.network(torch.ones(2, 3, 2)).sum().backward()
    state.optimizer.step()
    state.step, state.best = 7, BestValidation(1 / 3, 3, 2)
    position = Position(metrics_bytes=10, log_bytes=20, seconds=1.5)
    return checkpoint.save(checkpoints, checkpoint.snapshot(state, position))


def load_checkpoint(folder: Path):
    """The state in the one checkpoint in `folder`. Raises ModelError."""
    return checkpoint.load_newest(folder, ARCHITECTURE, PLAN.train, "cpu")
