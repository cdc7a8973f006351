"""The loss and its gradients: with the bits of autograd, for every cell and pooling."""

import itertools

import pytest
import torch

from scanline.kernels.library import load
from scanline.model.gradients import loss_and_gradients
from scanline.model.network import Architecture, Network
from scanline.tasks.base import Task
from scanline.tasks.classification import Classification

TASK = Classification(("a", "b", "c"))
CELLS = ("lstm", "gru", "rnn")
READOUTS = ("last", "last-step", "mean", "max")


def _network(cell="lstm", readout="last", layers=1, bidirectional=False, dropout=0.0):
    torch.manual_seed(4)
    architecture = Architecture(cell, 3, 9, layers, bidirectional, dropout, "between", readout, 3)
    return Network(architecture).train()


def _batch(has_lengths, n=7):
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(n, 5, 3, generator=draw)
    lengths = torch.randint(1, 6, (n,), generator=draw) if has_lengths else None
    return values, lengths, torch.randint(0, 3, (n,), generator=draw)


def _by_autograd(network, batch, weights, share):
    network.zero_grad()
    values, lengths, targets = batch
    loss = TASK.loss(network(values, lengths), targets, weights) * share
    loss.backward()
    return loss, {weight: weight.grad for weight in network.parameters() if weight.grad is not None}


@pytest.mark.skipif(load() is None, reason="without the native library autograd computes")
@pytest.mark.parametrize(
    ("cell", "readout", "layers", "bidirectional"),
    list(itertools.product(CELLS, READOUTS, (1, 2), (False, True))),
)
def test_the_bits_are_those_of_autograd(cell, readout, layers, bidirectional, monkeypatch):
    network = _network(cell, readout, layers, bidirectional)
    # The recurrent layers must not be read by the way that records a graph.
    calls = []
    read = network.recurrent.read
    monkeypatch.setattr(network.recurrent, "read", lambda *given: calls.append(1) or read(*given))
    for has_lengths, weights, share in ((False, None, 1.0), (True, torch.rand(7) + 0.5, 0.25)):
        batch = _batch(has_lengths)
        loss, found = loss_and_gradients(network, TASK, batch, weights, share=share)
        assert not calls
        expected_loss, expected = _by_autograd(network, batch, weights, share)
        calls.clear()
        assert torch.equal(loss, expected_loss)
        assert found.keys() == expected.keys()
        for weight, gradient in expected.items():
            assert torch.equal(found[weight], gradient)


def test_dropout_and_frozen_weights_are_respected():
    network = _network(layers=2, dropout=0.5)
    network.recurrent.weights(0, 0)[0].requires_grad_(False)
    batch = _batch(False)
    first, found = loss_and_gradients(network, TASK, batch, draws=torch.Generator().manual_seed(1), share=0.5)
    second, _ = loss_and_gradients(network, TASK, batch, draws=torch.Generator().manual_seed(1))
    assert first == second * 0.5
    assert set(found) == {weight for weight in network.parameters() if weight.requires_grad}


def test_a_frozen_weight_has_no_gradient():
    network = _network(layers=2)
    network.recurrent.weights(1, 0)[1].requires_grad_(False)
    _, found = loss_and_gradients(network, TASK, _batch(True))
    assert set(found) == {weight for weight in network.parameters() if weight.requires_grad}


def test_raw_values_are_standardised():
    network = _network()
    network.shift.fill_(2.0)
    network.scale.fill_(4.0)
    values, lengths, targets = _batch(False)
    raw, _ = loss_and_gradients(network, TASK, (values * 4 + 2, lengths, targets))
    standardized, _ = loss_and_gradients(network, TASK, (values, lengths, targets), standardized=True)
    torch.testing.assert_close(raw, standardized)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1])])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_gradient_of_cross_entropy_is_that_of_autograd(weights, share):
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss, gradient = TASK.loss_gradient(outputs, targets, weights, share)
    expected_loss, expected = Task.loss_gradient(TASK, outputs, targets, weights, share)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(gradient, expected)
    assert not outputs.requires_grad
