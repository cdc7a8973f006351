"""The workloads that are measured, with the data and weights that every implementation starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["train", "infer", "latency"]
CLASSES = 10
BATCH_SIZES = (128, 256, 512, 1000, 2500, 10_000)  # tried by each implementation for inference


@dataclass(frozen=True)
class Workload:
    """A stack of LSTM layers and a linear head over random sequences.

    Attributes:
        name: Name on the command line.
        about: Description for people.
        kind: "train" (one training step), "infer" (predictions for all sequences) or "latency" (one
            sequence).
        N: Number of sequences.
        T: Number of steps of the longest sequence.
        F: Number of features.
        H: Hidden size.
        layers: Number of layers.
        lengths: Whether the lengths are uniform in 1 to T; otherwise all are T.
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

    def to_json(self) -> dict[str, Any]:
        """Return the constructor's arguments, for the worker processes."""
        return asdict(self)

    def operations(self) -> float:
        """Return the number of floating-point operations of one step.

        Counts 2 x multiply-adds of the forward pass and, in training, of the gradient through the recurrence
        and between the layers, and of the weights' gradient. The head and the gradient of the first layer's
        input are left out.
        """
        steps = self.N * self.T if not self.lengths else float(self.make_lengths().sum())
        total = 0.0
        for layer in range(self.layers):
            inputs = self.F if layer == 0 else self.H
            forward = 4 * self.H * (inputs + self.H)
            total += 2 * steps * forward
            if self.kind == "train":
                through = 4 * self.H * (self.H + (inputs if layer else 0))
                total += 2 * steps * (through + forward)
        return total

    def make_lengths(self) -> NDArray[np.int64]:
        """Return the lengths, (N,)."""
        if not self.lengths:
            return np.full(self.N, self.T)
        # Fixed seeds here and below: every process makes the same arrays, so none is sent through a pipe.
        return np.random.default_rng(2).integers(1, self.T + 1, self.N)

    def make_data(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return values (N, T, F) in 0 to 1, and class indices (N,)."""
        draw = np.random.default_rng(1)
        return draw.random((self.N, self.T, self.F), np.float32), draw.integers(0, CLASSES, self.N)

    def make_weights(self) -> list[NDArray[np.float32]]:
        """Return the initial weights in torch's gate order i, f, g, o.

        Returns:
            weight_ih (4H, F), weight_hh (4H, H) and bias (4H,) of each layer, then the head's weight (K, H)
            and bias (K,).
        """
        draw, bound = np.random.default_rng(0), self.H**-0.5
        shapes: list[tuple[int, ...]] = []
        for layer in range(self.layers):
            inputs = self.F if layer == 0 else self.H
            shapes += [(4 * self.H, inputs), (4 * self.H, self.H), (4 * self.H,)]
        shapes += [(CLASSES, self.H), (CLASSES,)]
        return [draw.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]


_LENGTHS = "LSTM 128, lengths uniform in 1 to 100, 16 features, batch 128"
WORKLOADS = (
    Workload("rows", "LSTM 128, 28 rows of 28, batch 128", "train", 128, 28, 28, 128),
    Workload("rows-1024", "LSTM 128, 28 rows of 28, batch 1,024", "train", 1024, 28, 28, 128),
    Workload("stacked", "3 x LSTM 256, batch 100", "train", 100, 28, 28, 256, layers=3),
    Workload("pixels", "LSTM 128, 784 steps of 1, batch 128", "train", 128, 784, 1, 128),
    Workload("lengths", _LENGTHS, "train", 128, 100, 16, 128, lengths=True),
    Workload("inference", "LSTM 128, 10,000 images", "infer", 10_000, 28, 28, 128),
    Workload("latency", "LSTM 128, one image", "latency", 1, 28, 28, 128),
)
