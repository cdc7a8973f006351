"""Numerical equality with TensorFlow 1.15's own runs of the tutorials' networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from scanline import recipe
from scanline.model.network import Architecture, Network
from scanline.tasks.classification import Classification
from scanline.training.step import make_optimizer, train_step


@dataclass(frozen=True)
class Case:
    file: str
    layers: int
    hidden: int
    batch: int
    steps: int
    cell: str

    def variables(self, layer: int) -> str:
        return self.cell.format(layer)


CASES = [
    Case("tf1_basic_lstm_128_static", 1, 128, 128, 20, "rnn/basic_lstm_cell"),
    Case("tf1_basic_lstm_128_dynamic", 1, 128, 100, 20, "rnn/basic_lstm_cell"),
    Case("tf1_stacked_lstm_3x64_masked", 3, 64, 100, 10, "rnn/multi_rnn_cell/cell_{}/basic_lstm_cell"),
]


def gates_in_torchs_order(array):
    """TensorFlow's gates i, j, f, o along the last axis as torch's i, f, g, o; j is the candidate g."""
    i, j, f, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, f, j, o], axis=-1)


def theirs(case: Case, figures, moment: str, forget_bias: float = 1.0) -> dict[str, np.ndarray]:
    """TensorFlow's values of `moment` (init, grad0, after) under our weights' names.

    TensorFlow adds the forget bias when the cell runs; here it is part of the bias.
    """
    result = {"head.weight": figures[f"{moment}/out_w"].T, "head.bias": figures[f"{moment}/out_b"]}
    for layer in range(case.layers):
        kernel = gates_in_torchs_order(figures[f"{moment}/{case.variables(layer)}/kernel"]).T
        bias = gates_in_torchs_order(figures[f"{moment}/{case.variables(layer)}/bias"]).copy()
        bias[case.hidden : 2 * case.hidden] += forget_bias
        inputs = kernel.shape[1] - case.hidden
        result[f"recurrent.weight_ih_l{layer}"] = kernel[:, :inputs]
        result[f"recurrent.weight_hh_l{layer}"] = kernel[:, inputs:]
        result[f"recurrent.bias_ih_l{layer}"] = bias
    return result


def trained_weights(classifier: Network) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in classifier.named_parameters() if weight.requires_grad}


def relative(ours, expected) -> float:
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.file)
def replay(request, golden: Path, mnist):
    """TensorFlow's steps made again; what was found on the way."""
    case = request.param
    figures = np.load(golden / f"{case.file}.npz")
    classifier = Network(
        Architecture("lstm", 28, case.hidden, case.layers, False, 0.0, "between", "last", 10)
    )
    classifier.scale.fill_(255)
    initial = theirs(case, figures, "init")
    assert initial.keys() == trained_weights(classifier).keys()
    with torch.no_grad():
        for name, weight in trained_weights(classifier).items():
            weight.copy_(torch.tensor(initial[name]))
    images = torch.tensor(mnist.test.values[:128])
    masked = "lengths" in figures
    lengths = torch.tensor(figures["lengths"]) if masked else None
    result = {}
    with torch.inference_mode():
        result["hidden"] = classifier.outputs(images, lengths)[:4].numpy()
        result["logits before"] = classifier(images, lengths).numpy()
    settings = recipe.load("tutorial-basic").train
    task = Classification(tuple(range(10)))
    optimizer, losses = make_optimizer(classifier, settings), []
    for step in range(case.steps):
        rows = slice(step * case.batch, (step + 1) * case.batch)
        batch = (
            torch.tensor(mnist.train.values[rows]),
            torch.arange(case.batch) % 28 + 1 if masked else None,
            torch.tensor(mnist.train.targets[rows]),
        )
        losses.append(train_step(classifier, optimizer, task, batch, settings, step))
        if step == 0:
            result["gradients"] = {n: w.grad.numpy().copy() for n, w in trained_weights(classifier).items()}
    result["losses"] = np.array(losses)
    result["weights after"] = {n: w.detach().numpy() for n, w in trained_weights(classifier).items()}
    with torch.inference_mode():
        result["logits after"] = classifier(images, lengths).numpy()
    return case, figures, result


def test_hidden_states_are_tensorflows(replay):
    case, figures, replayed = replay
    if (
        case.layers == 1
    ):  # in the masked file the first four images end before their first ink: all is 0 there
        assert np.abs(figures["test_hidden_before"]).max() > 0.05
    np.testing.assert_allclose(replayed["hidden"], figures["test_hidden_before"], atol=1e-5, rtol=0)


def test_logits_are_tensorflows(replay):
    _, figures, replayed = replay
    np.testing.assert_allclose(replayed["logits before"], figures["test_logits_before"], atol=1e-4, rtol=0)


def test_first_gradients_are_tensorflows(replay):
    case, figures, replayed = replay
    for name, expected in theirs(case, figures, "grad0", forget_bias=0).items():
        assert relative(replayed["gradients"][name], expected) < 1e-4, name


def test_losses_of_the_first_adam_steps_are_tensorflows(replay):
    case, figures, replayed = replay
    assert len(figures["train_losses"]) == case.steps
    np.testing.assert_allclose(replayed["losses"], figures["train_losses"], atol=1e-4, rtol=0)


def test_weights_after_the_steps_are_tensorflows(replay):
    case, figures, replayed = replay
    for name, expected in theirs(case, figures, "after").items():
        np.testing.assert_allclose(replayed["weights after"][name], expected, atol=1e-4, rtol=0, err_msg=name)


def test_logits_after_the_steps_are_tensorflows(replay):
    _, figures, replayed = replay
    np.testing.assert_allclose(replayed["logits after"], figures["test_logits_after"], atol=1e-4, rtol=0)
