"""Variables of TensorFlow 1's networks, and their outputs computed with NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(values, kernel, bias, forget_bias=1.0):
    """Outputs (N, T, units) of BasicLSTMCell, as its docstring and code define it; gate order i, j, f, o."""
    c = h = np.zeros((len(values), len(bias) // 4))
    outputs = []
    for step in range(values.shape[1]):
        i, j, f, o = np.split(np.concatenate([values[:, step], h], 1) @ kernel + bias, 4, axis=1)
        c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        outputs.append(h)
    return np.stack(outputs, 1)


def rnn(values, kernel, bias, forget_bias=None):
    """Outputs (N, T, units) of BasicRNNCell."""
    h, outputs = np.zeros((len(values), len(bias))), []
    for step in range(values.shape[1]):
        h = np.tanh(np.concatenate([values[:, step], h], 1) @ kernel + bias)
        outputs.append(h)
    return np.stack(outputs, 1)


def gru(values, kernel, bias, candidate_kernel, candidate_bias):
    """Outputs (N, T, units) of GRUCell: the reset gate scales the state that the candidate reads."""
    h, outputs = np.zeros((len(values), len(candidate_bias))), []
    for step in range(values.shape[1]):
        x = values[:, step]
        r, u = np.split(sigmoid(np.concatenate([x, h], 1) @ kernel + bias), 2, axis=1)
        c = np.tanh(np.concatenate([x, r * h], 1) @ candidate_kernel + candidate_bias)
        h = u * h + (1 - u) * c
        outputs.append(h)
    return np.stack(outputs, 1)


GRU_NAMES = ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")


def gru_weights(rng, inputs: int, units: int) -> tuple[np.ndarray, ...]:
    """Kernels and biases of both gates and of the candidate."""
    return *weights(rng, inputs, units, 2), *weights(rng, inputs, units, 1)


def weights(rng, inputs: int, units: int, gates: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A random kernel and bias, which differ between gates."""
    kernel = rng.normal(size=(inputs + units, gates * units)).astype(np.float32)
    return kernel, rng.normal(size=gates * units).astype(np.float32)


def head(rng, width: int, classes: int) -> dict[str, np.ndarray]:
    """Return the weight and bias that compute the logits."""
    return {
        "Variable": rng.normal(size=(width, classes)).astype(np.float32),
        "Variable_1": rng.normal(size=classes).astype(np.float32),
    }


def cell(scope: str, pair, names=("kernel", "bias")) -> dict[str, np.ndarray]:
    """Return arrays under the names of a cell."""
    return {f"{scope}/{name}": array for name, array in zip(names, pair, strict=True)}


def predict_logits(network, values) -> np.ndarray:
    """Return the logits of the imported network."""
    classifier = network.to_model(Path("model.ckpt")).network
    with torch.inference_mode():
        return classifier(torch.from_numpy(values.astype(np.float32))).double().numpy()


def assert_logits_close(network, values, features, last) -> None:
    """Assert that the logits are those of the head on `features`, (N, hidden size)."""
    expected = features @ last["Variable"] + last["Variable_1"]
    np.testing.assert_allclose(predict_logits(network, values), expected, rtol=0, atol=2e-5)


def both(values, forward, backward, run=lstm):
    """Outputs of both directions joined, and their last states joined."""
    there, back = run(values, *forward), run(values[:, ::-1], *backward)
    joined = np.concatenate([there, back[:, ::-1]], 2)
    return joined, np.concatenate([there[:, -1], back[:, -1]], 1)
