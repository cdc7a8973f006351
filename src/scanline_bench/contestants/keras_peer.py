"""Keras 3 on TensorFlow or JAX: the backend is in the environment before Keras is imported."""

from __future__ import annotations

import keras
import numpy as np

from scanline_bench.works import CLASSES, Work


class KerasContestant:
    """A compiled model and a batch."""

    def __init__(self, work: Work, precision: str) -> None:
        if work.lengths:
            raise ValueError("left to the peers that know lengths")
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        self.work, self.batch = work, work.N
        self.x, self.y = work.make_data()
        last = work.layers - 1
        layers = [keras.layers.LSTM(work.H, return_sequences=layer < last) for layer in range(work.layers)]
        head = keras.layers.Dense(CLASSES, dtype="float32")
        self.model = keras.Sequential([keras.Input((work.T, work.F)), *layers, head])
        weights = work.make_weights()
        for layer in range(work.layers):  # Keras: (F, 4H), gates i, f, c, o, which are torch's i, f, g, o
            weights[3 * layer] = weights[3 * layer].T
            weights[3 * layer + 1] = weights[3 * layer + 1].T
        weights[-2] = weights[-2].T
        self.model.set_weights(weights)
        self.model.compile(
            keras.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def step(self) -> None:
        """As the contestant's protocol has it."""
        if self.work.kind == "train":
            self.made = self.model.train_on_batch(self.x, self.y)
        elif self.work.kind == "latency":
            self.made = np.asarray(self.model(self.x, training=False))
        else:
            self.made = self.model.predict(self.x, batch_size=self.batch, verbose=0)

    def result(self) -> float:
        """As the contestant's protocol has it."""
        return float(np.sum(self.made))

    def use_batch(self, size: int) -> None:
        """As the contestant's protocol has it."""
        self.batch = size


def make(work: Work, precision: str, variant: str) -> KerasContestant:
    """Set up."""
    return KerasContestant(work, precision)
