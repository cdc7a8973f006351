"""The work that is measured, and the numbers that every contestant starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["train", "infer", "latency"]
CLASSES = 10


@dataclass(frozen=True)
class Work:
    """N sequences of T steps of F features through `layers` LSTM layers of H units and a linear head.

    lengths: whether the sequences' lengths are uniform in 1 to T.
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
        """For the contestants' processes."""
        return asdict(self)

    def operations(self) -> float:
        """Floating-point operations: 2 x the multiply-adds of the forward pass and, in training, of the
        gradient through the recurrence and between the layers, and of the weights' gradient.

        The head is left out, as is the gradient of the first layer's input, which nobody needs.
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
        """(N,) the sequences' lengths."""
        if not self.lengths:
            return np.full(self.N, self.T)
        return np.random.default_rng(2).integers(1, self.T + 1, self.N)

    def make_data(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values (N, T, F) between 0 and 1, and labels (N,)."""
        draw = np.random.default_rng(1)
        return draw.random((self.N, self.T, self.F), np.float32), draw.integers(0, CLASSES, self.N)

    def make_weights(self) -> list[NDArray[np.float32]]:
        """weight_ih (4H, F), weight_hh (4H, H), bias (4H,) for each layer, then the head's (K, H) and (K,).

        In torch's gate order i, f, g, o.
        """
        draw, bound = np.random.default_rng(0), self.H**-0.5
        shapes: list[tuple[int, ...]] = []
        for layer in range(self.layers):
            inputs = self.F if layer == 0 else self.H
            shapes += [(4 * self.H, inputs), (4 * self.H, self.H), (4 * self.H,)]
        shapes += [(CLASSES, self.H), (CLASSES,)]
        return [draw.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]


WORKS = (
    Work("rows", "LSTM 128, 28 rows of 28, batch 128", "train", 128, 28, 28, 128),
    Work("rows-1024", "the same, batch 1024", "train", 1024, 28, 28, 128),
    Work("stacked", "3 x LSTM 256, batch 100", "train", 100, 28, 28, 256, layers=3),
    Work("pixels", "LSTM 128, 784 steps of 1, batch 128", "train", 128, 784, 1, 128),
    Work(
        "lengths",
        "LSTM 128, lengths uniform in 1 to 100, 16 features, batch 128",
        "train",
        128,
        100,
        16,
        128,
        lengths=True,
    ),
    Work("inference", "LSTM 128, 10,000 images", "infer", 10_000, 28, 28, 128),
    Work("latency", "LSTM 128, one image", "latency", 1, 28, 28, 128),
)
BATCH_SIZES = (128, 256, 512, 1000, 2500, 10_000)  # among which each contestant finds its best for inference
