"""Models with random weights for export, and ONNX Runtime's results of an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

F, K = 3, 4
CELLS, READOUTS = ("lstm", "gru", "rnn", "gru-reset-before"), ("last", "mean", "max")
# Each opset takes one export; outside campaigns, each cell has one readout.
PAIRS = [
    pytest.param(cell, readout, marks=() if c == r else pytest.mark.campaign)
    for c, cell in enumerate(CELLS)
    for r, readout in enumerate(READOUTS)
]
GARBAGE = np.array([np.nan, np.inf, -np.inf, 1e30, 3.0], np.float32)


def form(features: int = F, source: int | None = None, **changed: Any) -> Preprocessing:
    """Return the preprocessing of sequences, with changes."""
    made: dict[str, Any] = {"picture": None, "view": "rows", "permutation_seed": 0, "missing": "error"}
    made |= {"means": (), "settings": DEFAULT_DATA} | changed
    return Preprocessing(source_features=source or features, features=features, **made)


def build(
    cell: str = "lstm",
    layers: int = 1,
    bidirectional: bool = False,
    readout: str = "last",
    *,
    seed: int = 0,
    hidden: int = 6,
    classes: int = K,
    read: Preprocessing | None = None,
    **model: Any,
) -> Model:
    """Return a model with random weights, large enough that every step affects the result."""
    read = read or form()
    architecture = Architecture(
        cell, read.features, hidden, layers, bidirectional, 0.0, "between", readout, classes
    )
    classifier = Network(architecture).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in classifier.parameters():
            if weight.requires_grad:
                weight.uniform_(-0.8, 0.8, generator=draw)
        levels = read.picture.levels if read.picture else 2
        classifier.shift.uniform_(0, levels / 2, generator=draw)
        classifier.scale.uniform_(levels / 4, levels / 2, generator=draw)
    names = tuple(f"class {number}" for number in range(classes))
    calibrated = model.pop("calibrated", False)
    return Model(classifier, Classification(names), read, "made up", **model, calibrated=calibrated)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session as a user would make it, except for the number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_file(path: Path, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits and probabilities of an exported file."""
    logits, probabilities = session(path).run(["logits", "probabilities"], feed)
    return logits, probabilities


def pad(sequences: list[np.ndarray], draw: np.random.Generator, extra: int = 0) -> dict[str, np.ndarray]:
    """Return the inputs of a graph for sequences, padded with garbage."""
    lengths = np.array([len(each) for each in sequences], np.int64)
    shape = (len(sequences), int(lengths.max()) + extra, sequences[0].shape[1])
    steps = GARBAGE[draw.integers(len(GARBAGE), size=shape)]
    for row, each in zip(steps, sequences, strict=True):
        row[: len(each)] = each
    return {"steps": steps, "lengths": lengths}


def unlabelled(sequences: list[np.ndarray]) -> MemorySource:
    return MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), "made up")


def picture_form(view: str, channels: int, features: int, **changed: Any) -> Preprocessing:
    picture = PictureFormat(height=4, width=6, box=3, levels=16, centre="mass", channels=channels)
    return form(features, 6 * channels, picture=picture, view=view, permutation_seed=7, **changed)
