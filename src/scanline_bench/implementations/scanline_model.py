"""Scanline's models: `Model.predict_proba`, the call of its predictor, `Session.feed` and the trainer."""

from __future__ import annotations

import numpy as np
import torch

from scanline import recipe
from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from scanline.training.state import initial_state
from scanline.training.trainer import Trainer
from scanline_bench.implementations import Implementation, expected_class
from scanline_bench.peers import PREDICTOR
from scanline_bench.workloads import CLASSES, CLIP_NORM, LEARNING_RATE, TRAINING_BATCH, Workload

TASK = Classification(tuple(range(CLASSES)))


def _architecture(workload: Workload) -> Architecture:
    w = workload
    return Architecture(w.cell, w.F, w.H, w.layers, w.bidirectional, 0.0, "between", "last", CLASSES)


@torch.no_grad()
def _load(network: Network, workload: Workload) -> None:
    weights = workload.make_weights()
    for layer, directions in enumerate(weights.layers):
        for direction, given in enumerate(directions):
            for parameter, value in zip(network.recurrent.weights(layer, direction), given, strict=True):
                if value is not None:
                    parameter.copy_(torch.from_numpy(value))
    network.head.weight.copy_(torch.from_numpy(weights.head))
    network.head.bias.copy_(torch.from_numpy(weights.head_bias))


def _model(workload: Workload, precision: str) -> Model:
    if precision != "float32":
        raise ValueError("models predict in float32")
    network = Network(_architecture(workload)).eval()
    _load(network, workload)
    form = Preprocessing(None, "rows", 0, workload.F, workload.F, "error", (), DEFAULT_DATA)
    return Model(network, TASK, form, "random numbers")


class ModelPredictions:
    """`Model.predict_proba` of all sequences, which chooses its batches itself."""

    def __init__(self, workload: Workload, precision: str) -> None:
        self.model, (self.x, _) = _model(workload, precision), workload.make_data()

    def step(self) -> None:
        """See `Implementation`."""
        self.probabilities = self.model.predict_proba(self.x)

    def result(self) -> float:
        """See `Implementation`. The logits are computed again, as probabilities do not tell their sum."""
        logits = self.model.outputs(self.model.read(self.x))
        if not np.allclose(self.probabilities, TASK.probabilities(logits), atol=1e-6):
            raise AssertionError("the probabilities are not those of the logits")
        return float(logits.astype(np.float64).sum())

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""


class PredictorCall:
    """A call of the predictor that owns the network's packed weights, as `Model.predict_proba` makes it."""

    def __init__(self, workload: Workload, precision: str) -> None:
        values, lengths = workload.make_data()[0], workload.make_lengths()
        predictor = Predictor(_model(workload, precision).network).native()
        if predictor is None:
            raise ValueError("there is no native library")
        self.predictor = predictor
        self.steps, self.lengths = values.reshape(-1, workload.F), lengths

    def step(self) -> None:
        """See `Implementation`."""
        self.logits = self.predictor.outputs(self.steps, self.lengths)

    def result(self) -> float:
        """See `Implementation`."""
        return float(self.logits.astype(np.float64).sum())

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""


class ModelStream:
    """A session that is fed one step at a time."""

    def __init__(self, workload: Workload, precision: str) -> None:
        self.x = workload.make_data()[0][0]  # (T, F)
        self.session, self.read = _model(workload, precision).stream(), 0

    def step(self) -> None:
        """See `Implementation`."""
        self.probabilities = self.session.feed(self.x[self.read])
        self.read = (self.read + 1) % len(self.x)

    def result(self) -> float:
        """See `Implementation`."""
        return expected_class(self.probabilities)

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""


class WholeTraining:
    """A training from its first step: the recipe `rows` with a constant learning rate and no shifts."""

    def __init__(self, workload: Workload, precision: str) -> None:
        self.workload = workload
        values, labels = workload.make_data()
        source = MemorySource.from_array(values, labels, TASK.classes, "random numbers")
        self.data = Dataset("random numbers", {"train": source})
        settings = {
            "batch_size": TRAINING_BATCH,
            "samples": 0,
            "steps": workload.training_steps,
            "precision": precision,
            "schedule": "constant",
            "learning_rate": LEARNING_RATE,
            "clip_norm": CLIP_NORM,
            "shift": 0,
            "log_every": 0,
            "validate_every": 0,
        }
        self.recipe = recipe.load("rows", {f"train.{key}": value for key, value in settings.items()})

    def step(self) -> None:
        """See `Implementation`."""
        state = initial_state(self.recipe, _architecture(self.workload), 0.0, 1.0, "cpu")
        _load(state.network, self.workload)
        for _ in Trainer(state, self.recipe, self.data, TASK).events():
            pass
        self.loss = state.loss

    def result(self) -> float:
        """See `Implementation`."""
        return self.loss

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""


def make(workload: Workload, precision: str, variant: str) -> Implementation:
    """Return the implementation for `workload`."""
    if workload.kind == "training":
        return WholeTraining(workload, precision)
    if variant == PREDICTOR:
        return PredictorCall(workload, precision)
    return (ModelStream if workload.kind == "stream" else ModelPredictions)(workload, precision)
