"""The LSTM in JAX: a scan over the steps, compiled as a whole, with Adam from Optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scanline_bench.workloads import Workload


class JaxScan:
    """Weights, optimizer state and one batch on the CPU."""

    def __init__(self, workload: Workload, precision: str) -> None:
        self.workload, self.batch = workload, workload.N
        values, labels = workload.make_data()
        self.x, self.y = jnp.asarray(values), jnp.asarray(labels)
        self.last = jnp.asarray(workload.make_lengths() - 1)
        self.weights = [jnp.asarray(weight) for weight in workload.make_weights()]
        low = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        layers, hidden = workload.layers, workload.H

        def product(a: Any, b: Any) -> Any:
            return jnp.matmul(a.astype(low), b.T.astype(low), preferred_element_type=jnp.float32)

        def logits(weights: Any, x: Any, last: Any) -> Any:
            sequence = x.transpose(1, 0, 2)  # (T, N, F)
            for layer in range(layers):
                weight_ih, weight_hh, bias = weights[3 * layer : 3 * layer + 3]
                # The products of all steps in one, outside the scan.
                inputs = product(sequence, weight_ih) + bias  # (T, N, 4H)

                def step(state: Any, row: Any, weight_hh: Any = weight_hh) -> Any:
                    h, c = state
                    i, f, g, o = jnp.split(row + product(h, weight_hh), 4, axis=1)
                    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                    h = jax.nn.sigmoid(o) * jnp.tanh(c)
                    return (h, c), h

                # Sums and states stay float32; only the operands of the products are bfloat16.
                zeros = jnp.zeros((x.shape[0], hidden), jnp.float32)
                _, sequence = jax.lax.scan(step, (zeros, zeros), inputs)
            features = sequence[last, jnp.arange(x.shape[0])]
            return features @ weights[-2].T + weights[-1]

        def loss(weights: Any, x: Any, y: Any, last: Any) -> Any:
            scores = logits(weights, x, last)
            return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
        self.state = optimizer.init(self.weights)

        def update(weights: Any, state: Any, x: Any, y: Any, last: Any) -> Any:
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
