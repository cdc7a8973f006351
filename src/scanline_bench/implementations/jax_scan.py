"""Recurrent layers in JAX: a scan over the steps, compiled as a whole, with Adam from Optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scanline_bench.workloads import CLIP_NORM, LEARNING_RATE, LayerWeights, Weights, Workload


def _lstm(inputs: Any, hidden: Any, state: Any) -> Any:
    i, f, g, o = jnp.split(inputs + hidden, 4, axis=1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(inputs: Any, hidden: Any, state: Any) -> Any:
    r, z, n = jnp.split(inputs, 3, axis=1)
    hidden_r, hidden_z, hidden_n = jnp.split(hidden, 3, axis=1)
    r, z = jax.nn.sigmoid(r + hidden_r), jax.nn.sigmoid(z + hidden_z)
    n = jnp.tanh(n + r * hidden_n)
    return ((1 - z) * n + z * state[0],)


def _rnn(inputs: Any, hidden: Any, state: Any) -> Any:
    return (jnp.tanh(inputs + hidden),)


# From the products of a step's inputs and of h, and the states, the new states, h first.
CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


class JaxScan:
    """Weights, optimizer state and one batch on the CPU."""

    def __init__(self, workload: Workload, precision: str) -> None:
        if workload.lengths and workload.bidirectional:
            raise ValueError("both directions over sequences of different lengths are not measured with JAX")
        self.workload, self.batch = workload, workload.N
        values, labels = workload.make_data()
        self.x, self.y = jnp.asarray(values), jnp.asarray(labels)
        self.last = jnp.asarray(workload.make_lengths() - 1)
        self.weights = jax.tree.map(jnp.asarray, workload.make_weights())
        low = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        cell, states = CELLS[workload.cell], 2 if workload.cell == "lstm" else 1

        def product(a: Any, b: Any) -> Any:
            return jnp.matmul(a.astype(low), b.T.astype(low), preferred_element_type=jnp.float32)

        def read(sequence: Any, weights: LayerWeights, reverse: bool) -> Any:
            # The products of all steps in one, outside the scan.
            inputs = product(sequence, weights.weight_ih) + weights.bias_ih  # (T, N, G*H)

            def step(state: Any, row: Any) -> Any:
                hidden = product(state[0], weights.weight_hh)
                if weights.bias_hh is not None:
                    hidden = hidden + weights.bias_hh
                state = cell(row, hidden, state)
                return state, state[0]

            # Sums and states stay float32; only the operands of the products are bfloat16.
            zeros = jnp.zeros((sequence.shape[1], workload.H), jnp.float32)
            return jax.lax.scan(step, (zeros,) * states, inputs, reverse=reverse)[1]

        def logits(weights: Weights, x: Any, last: Any) -> Any:
            sequence = x.transpose(1, 0, 2)  # (T, N, F)
            for directions in weights.layers:
                outputs = [read(sequence, each, reverse=k == 1) for k, each in enumerate(directions)]
                sequence = jnp.concatenate(outputs, axis=2)
            features = outputs[0][last, jnp.arange(x.shape[0])]
            if workload.bidirectional:
                features = jnp.concatenate((features, outputs[1][0]), axis=1)
            return features @ weights.head.T + weights.head_bias

        def loss(weights: Weights, x: Any, y: Any, last: Any) -> Any:
            scores = logits(weights, x, last)
            return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

        optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))
        self.state = optimizer.init(self.weights)

        def update(weights: Weights, state: Any, x: Any, y: Any, last: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(weights, x, y, last)
            changes, state = optimizer.update(gradients, state)
            return optax.apply_updates(weights, changes), state, value

        # Donated buffers are reused for the results, as an update in place would.
        self._update = jax.jit(update, donate_argnums=(0, 1))
        self._logits = jax.jit(logits)

    def step(self) -> None:
        """See `Implementation`."""
        if self.workload.kind == "train":
            self.weights, self.state, loss = self._update(self.weights, self.state, self.x, self.y, self.last)
            self.made = [jax.block_until_ready(loss)]
            return
        parts = [slice(first, first + self.batch) for first in range(0, self.workload.N, self.batch)]
        self.made = [self._logits(self.weights, self.x[part], self.last[part]) for part in parts]
        # JAX returns before it has computed: without waiting, only the dispatch would be timed.
        jax.block_until_ready(self.made)

    def result(self) -> float:
        """See `Implementation`."""
        return float(sum(np.asarray(part).sum() for part in self.made))

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> JaxScan:
    """Return the implementation for `workload`."""
    return JaxScan(workload, precision)
