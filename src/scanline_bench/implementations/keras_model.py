"""Keras 3 on TensorFlow or JAX; the environment selects the backend before Keras is imported."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from scanline_bench.workloads import CLASSES, CLIP_NORM, LEARNING_RATE, LayerWeights, Workload

# Places of Keras's gates among torch's: of the GRU r, z, n they are z, r, n; the others are equal.
GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}


def _layer(workload: Workload, layer: int) -> Any:
    options: dict[str, Any] = {"return_sequences": layer < workload.layers - 1}
    if workload.cell == "gru":
        recurrent = keras.layers.GRU(workload.H, reset_after=True, **options)
    else:
        recurrent = {"lstm": keras.layers.LSTM, "rnn": keras.layers.SimpleRNN}[workload.cell](
            workload.H, **options
        )
    return keras.layers.Bidirectional(recurrent) if workload.bidirectional else recurrent


def _arrays(workload: Workload, weights: LayerWeights) -> list[Any]:
    """Return the kernels (F, G*H) and (H, G*H) and the bias (G*H,), of a GRU (2, G*H), of Keras."""
    order = GATES[workload.cell]
    arrays: list[Any] = []
    for value in weights:
        if value is not None:
            gates = np.split(value, len(order))
            arrays.append(np.concatenate([gates[k] for k in order]).T)
    return [*arrays[:2], np.stack(arrays[2:])] if len(arrays) == 4 else arrays


class KerasModel:
    """A compiled model and one batch."""

    def __init__(self, workload: Workload, precision: str) -> None:
        if workload.lengths:
            raise ValueError("sequences of different lengths are not measured with Keras")
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        self.workload, self.batch = workload, workload.N
        self.x, self.y = workload.make_data()
        layers = [_layer(workload, layer) for layer in range(workload.layers)]
        head = keras.layers.Dense(CLASSES, dtype="float32")
        self.model = keras.Sequential([keras.Input((workload.T, workload.F)), *layers, head])
        weights = workload.make_weights()
        arrays = [_arrays(workload, each) for directions in weights.layers for each in directions]
        self.model.set_weights(
            [*(array for each in arrays for array in each), weights.head.T, weights.head_bias]
        )
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8, global_clipnorm=CLIP_NORM),
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
