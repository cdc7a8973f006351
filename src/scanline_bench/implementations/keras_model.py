"""Keras 3 on TensorFlow or JAX; the environment selects the backend before Keras is imported."""

from __future__ import annotations

import keras
import numpy as np

from scanline_bench.workloads import CLASSES, Workload


class KerasModel:
    """A compiled model and one batch."""

    def __init__(self, workload: Workload, precision: str) -> None:
        if workload.lengths:
            raise ValueError("sequences of different lengths are not measured with Keras")
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        self.workload, self.batch = workload, workload.N
        self.x, self.y = workload.make_data()
        last = workload.layers - 1
        layers = [
            keras.layers.LSTM(workload.H, return_sequences=layer < last) for layer in range(workload.layers)
        ]
        head = keras.layers.Dense(CLASSES, dtype="float32")
        self.model = keras.Sequential([keras.Input((workload.T, workload.F)), *layers, head])
        weights = workload.make_weights()
        for layer in range(workload.layers):  # Keras: (F, 4H), gates i, f, c, o, which are torch's i, f, g, o
            weights[3 * layer] = weights[3 * layer].T
            weights[3 * layer + 1] = weights[3 * layer + 1].T
        weights[-2] = weights[-2].T
        self.model.set_weights(weights)
        self.model.compile(
            keras.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def step(self) -> None:
        """See `Implementation`."""
        if self.workload.kind == "train":
            self.made = self.model.train_on_batch(self.x, self.y)
        elif self.workload.kind == "latency":
            # `predict` has a large overhead for each call, which would hide the time of one sequence.
            self.made = np.asarray(self.model(self.x, training=False))
        else:
            self.made = self.model.predict(self.x, batch_size=self.batch, verbose=0)

    def result(self) -> float:
        """See `Implementation`."""
        return float(np.sum(self.made))

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> KerasModel:
    """Return the implementation for `workload`."""
    return KerasModel(workload, precision)
