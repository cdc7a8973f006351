"""The workloads that are measured, with the data and weights that every implementation starts from.

To add a workload, add a line to `WORKLOADS`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Kind = Literal["train", "infer", "latency", "stream", "training"]
CellName = Literal["lstm", "gru", "rnn"]
CLASSES = 10
# Products of a unit with its inputs; the workers of other frameworks must not import torch and the cells.
GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
BATCH_SIZES = (128, 256, 512, 1000, 2500, 10_000)  # tried by each implementation for inference
BYTES = {"float32": 4, "bfloat16": 2}
TRAINING_BATCH = 16
LEARNING_RATE, CLIP_NORM = 1e-3, 1.0


class LayerWeights(NamedTuple):
    """Initial weights of one layer in one direction, gates in torch's order (i, f, g, o; r, z, n).

    Attributes:
        weight_ih: (G*H, F).
        weight_hh: (G*H, H).
        bias_ih: (G*H,).
        bias_hh: (G*H,) of a GRU, whose reset gate scales it; None if it would only be added to `bias_ih`.
    """

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any
    bias_hh: Any


class Weights(NamedTuple):
    """Initial weights of a workload.

    Attributes:
        layers: For each layer its directions.
        head: (K, D*H).
        head_bias: (K,).
    """

    layers: list[list[LayerWeights]]
    head: Any
    head_bias: Any


@dataclass(frozen=True)
class Workload:
    """A stack of recurrent layers and a linear head over random sequences.

    Attributes:
        name: Name on the command line.
        about: Description for people.
        kind: "train" (one training step), "infer" (predictions for all sequences), "latency" (one sequence),
            "stream" (the next step of one sequence) or "training" (from the first step to the last, in
            batches of `TRAINING_BATCH`).
        N: Number of sequences.
        T: Number of steps of the longest sequence.
        F: Number of features.
        H: Hidden size.
        layers: Number of layers.
        lengths: Whether the lengths are uniform in 1 to T; otherwise all are T.
        cell: Name of the cell.
        bidirectional: Whether each layer reads in both directions.
        samples: Sequences that a whole training reads.
    """

    name: str
    about: str
    kind: Kind
    N: int
    T: int
    F: int
    H: int
    layers: int = 1
    lengths: bool = False
    cell: CellName = "lstm"
    bidirectional: bool = False
    samples: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the constructor's arguments, for the worker processes."""
        return asdict(self)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def trains(self) -> bool:
        """Whether losses are computed, rather than outputs."""
        return self.kind in ("train", "training")

    @property
    def one_sequence(self) -> bool:
        """Whether the weights are read for a single sequence: loads limit it, not multiply-adds."""
        return self.kind in ("latency", "stream")

    @property
    def training_steps(self) -> int:
        """Number of steps of a whole training."""
        return self.samples // TRAINING_BATCH

    def shortened(self) -> Self:
        """Return the workload whose results are compared: a whole training becomes 30 of its steps."""
        return replace(self, samples=30 * TRAINING_BATCH) if self.kind == "training" else self

    def inputs_of(self, layer: int) -> int:
        """Return the number of features that a layer reads."""
        return self.F if layer == 0 else self.directions * self.H

    def operations(self) -> float:
        """Return the number of floating-point operations of one measurement.

        Counts 2 x multiply-adds of the forward pass and, in training, of the gradient through the recurrence
        and between the layers, and of the weights' gradient. The head and the gradient of the first layer's
        input are left out.
        """
        columns, total = GATES[self.cell] * self.H * self.directions, 0.0
        for layer in range(self.layers):
            inputs = self.inputs_of(layer)
            forward = columns * (inputs + self.H)
            total += forward
            if self.trains:
                total += columns * (self.H + (inputs if layer else 0)) + forward
        return 2 * self._steps() * total

    def _steps(self) -> float:
        """Return the number of steps of all sequences."""
        if self.kind == "stream":
            return 1.0
        if self.lengths:
            return float(self.make_lengths().sum())
        return (self.samples or self.N) * self.T

    def weight_bytes(self, precision: str) -> int:
        """Return the bytes of the recurrent layers' weights, without biases."""
        columns = GATES[self.cell] * self.H * self.directions
        sizes = [columns * (self.inputs_of(layer) + self.H) for layer in range(self.layers)]
        return BYTES[precision] * sum(sizes)

    def loaded_bytes(self, precision: str) -> int:
        """Return the bytes of weights that one sequence needs at least.

        The recurrent weights are loaded at every step, as each step needs the state before it; the others
        once, as the inputs of all steps can share them.
        """
        steps = 1 if self.kind == "stream" else self.T
        recurrent = BYTES[precision] * GATES[self.cell] * self.H * self.H * self.directions * self.layers
        return self.weight_bytes(precision) + (steps - 1) * recurrent

    def make_lengths(self) -> NDArray[np.int64]:
        """Return the lengths, (N,)."""
        if not self.lengths:
            return np.full(self.N, self.T)
        # Fixed seeds here and below: every process makes the same arrays, so none is sent through a pipe.
        return np.random.default_rng(2).integers(1, self.T + 1, self.N)

    def make_data(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return values (N, T, F) in 0 to 1, and class indices (N,)."""
        draw = np.random.default_rng(1)
        return draw.random((self.N, self.T, self.F), np.float32), draw.integers(0, CLASSES, self.N)

    def make_weights(self) -> Weights:
        """Return the initial weights."""
        generator, bound = np.random.default_rng(0), self.H**-0.5
        columns = GATES[self.cell] * self.H

        def draw(*shape: int) -> Floats:
            return generator.uniform(-bound, bound, shape).astype(np.float32)

        layers = [
            [
                LayerWeights(
                    draw(columns, self.inputs_of(layer)),
                    draw(columns, self.H),
                    draw(columns),
                    draw(columns) if self.cell == "gru" else None,
                )
                for _ in range(self.directions)
            ]
            for layer in range(self.layers)
        ]
        return Weights(layers, draw(CLASSES, self.directions * self.H), draw(CLASSES))


_UNIFORM = "lengths uniform in 1 to 100, 16 features, batch 128"
WORKLOADS = (
    Workload("rows", "LSTM 128, 28 rows of 28, batch 128", "train", 128, 28, 28, 128),
    Workload("rows-1024", "LSTM 128, 28 rows of 28, batch 1,024", "train", 1024, 28, 28, 128),
    Workload("stacked", "3 x LSTM 256, batch 100", "train", 100, 28, 28, 256, layers=3),
    Workload("pixels", "LSTM 128, 784 steps of 1, batch 128", "train", 128, 784, 1, 128),
    Workload("lengths", f"LSTM 128, {_UNIFORM}", "train", 128, 100, 16, 128, lengths=True),
    Workload("single", "LSTM 128, one sequence of 784 steps of 1", "train", 1, 784, 1, 128),
    Workload("gru", "GRU 128, 28 rows of 28, batch 128", "train", 128, 28, 28, 128, cell="gru"),
    Workload("gru-lengths", f"GRU 128, {_UNIFORM}", "train", 128, 100, 16, 128, lengths=True, cell="gru"),
    Workload("rnn", "RNN 128 (tanh), 28 rows of 28, batch 128", "train", 128, 28, 28, 128, cell="rnn"),
    Workload(
        "bidirectional", "bidirectional LSTM 128, batch 128", "train", 128, 28, 28, 128, bidirectional=True
    ),
    Workload(
        "bidirectional-4", "bidirectional LSTM 128, batch 4", "train", 4, 28, 28, 128, bidirectional=True
    ),
    Workload("inference", "LSTM 128, 10,000 images", "infer", 10_000, 28, 28, 128),
    Workload("gru-inference", "GRU 128, 10,000 images", "infer", 10_000, 28, 28, 128, cell="gru"),
    Workload("latency", "LSTM 128, one image", "latency", 1, 28, 28, 128),
    Workload("gru-latency", "GRU 128, one image", "latency", 1, 28, 28, 128, cell="gru"),
    Workload("stream", "LSTM 128, the next row of one image", "stream", 1, 28, 28, 128),
    Workload(
        "training",
        f"LSTM 128, training on 100,000 images in batches of {TRAINING_BATCH}",
        "training",
        10_000,
        28,
        28,
        128,
        samples=100_000,
    ),
)
