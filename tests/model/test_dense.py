"""Dense layers between pooling and head, through everything that a model is used for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scanline.data.preprocessing import Preprocessing
from scanline.errors import ModelError
from scanline.explanation.trace import trace
from scanline.explanation.what_if import Silence, WhatIf
from scanline.interchange.onnx.write import export_onnx, export_step_graph
from scanline.model.artifact import Model
from scanline.model.dense import ACTIVATIONS, DenseLayer
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.storage.json_files import read_sealed_json, write_sealed_json
from scanline.tasks.classification import Classification

F, H, K = 3, 5, 4
BY_HAND = {
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": math.tanh,
}


def made(*activations, readout="last", both=False, cell="lstm") -> Model:
    dense = tuple(DenseLayer(6 + index, name) for index, name in enumerate(activations))
    network = Network(Architecture(cell, F, H, 1, both, 0.0, "between", readout, K, dense)).eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.uniform_(-0.9, 0.9, generator=draw)
    form = Preprocessing(None, "rows", 0, F, F, "error", (), DEFAULT_DATA)
    return Model(network, Classification(tuple("abcd")), form, "random steps")


def traced(model, sequence, what_if=None) -> np.ndarray:
    return trace(model.network, sequence, model.task, what_if=what_if).probabilities


def steps(n=1, T=7) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n, T, F)).astype(np.float32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_layer_gives_the_values_computed_by_hand(activation):
    network = made(activation).network
    pooled = torch.randn(2, H, generator=torch.Generator().manual_seed(0))
    linear = network.dense.linears[0]
    weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    sums = pooled.double().numpy() @ weight.T + bias
    hidden = np.vectorize(BY_HAND[activation])(sums)
    expected = hidden @ network.head.weight.detach().double().numpy().T + network.head.bias.detach().numpy()
    with torch.inference_mode():
        np.testing.assert_allclose(network.project(pooled).numpy(), expected, rtol=0, atol=1e-6)


def test_it_is_saved_and_loaded_and_described(tmp_path):
    model = made("relu", "tanh")
    model.save(tmp_path / "m", "0")
    again = load(tmp_path / "m")
    assert again.network.architecture == model.network.architecture
    np.testing.assert_array_equal(again.predict_proba(steps(4)), model.predict_proba(steps(4)))
    assert "dense 6 relu, dense 7 tanh, " in str(again)
    assert "dense 6 relu, dense 7 tanh, " in (tmp_path / "m" / "README.md").read_text()


def test_an_unknown_activation_in_a_model_is_refused(tmp_path):
    made("relu").save(tmp_path / "m", "0")
    tree = read_sealed_json(tmp_path / "m" / "model.json")
    tree["architecture"]["dense"][0]["activation"] = "cube"
    write_sealed_json(tmp_path / "m" / "model.json", tree)
    with pytest.raises(ModelError, match="is damaged: architecture: dense: 0: activation"):
        load(tmp_path / "m")


@pytest.mark.parametrize(("cell", "readout"), [("lstm", "last"), ("lstm", "mean"), ("gru", "last")])
def test_a_stream_predicts_as_whole_sequences_do(cell, readout):
    model, sequence = made("relu", "gelu", readout=readout, cell=cell), steps()[0]
    expected = np.concatenate([model.predict_proba(sequence[None, :end]) for end in range(1, 8)])
    single, block = model.stream(), model.stream()
    streamed = np.stack([single.feed(step) for step in sequence])
    np.testing.assert_allclose(streamed, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(block.feed(sequence), expected, rtol=0, atol=1e-6)


def test_a_saved_session_belongs_to_the_activations_of_its_model():
    session = made("relu").stream()
    session.feed(steps()[0])
    made("relu").resume(session.to_bytes())
    with pytest.raises(ModelError):
        made("tanh").resume(session.to_bytes())


@pytest.mark.parametrize("both", [False, True])
def test_a_trace_ends_in_the_prediction_with_and_without_a_change(both):
    model, sequence = made("tanh", "silu", both=both), steps()[0]
    plain = traced(model, sequence)
    np.testing.assert_allclose(plain[-1:], model.predict_proba(sequence[None]), rtol=0, atol=1e-6)
    # A silenced unit changes the probabilities as a pooled output of 0 does.
    silenced = traced(model, sequence, WhatIf(silence=(Silence(2),)))
    edited = made("tanh", "silu", both=both)
    with torch.no_grad():
        for name, weight in edited.network.recurrent.named_parameters():
            if name.startswith("weight_hh"):
                weight[:, 2] = 0
        edited.network.dense.linears[0].weight[:, [2, 2 + H] if both else [2]] = 0
    np.testing.assert_allclose(silenced[-1:], edited.predict_proba(sequence[None]), rtol=0, atol=1e-6)


def test_the_graphs_of_onnx_have_every_activation(tmp_path):
    model = made(*ACTIVATIONS)
    for export in (export_onnx, export_step_graph):
        for opset in (11, 17):
            assert export(model, tmp_path / "m.onnx", opset=opset).verification.difference < 1e-5


def test_gradients_reach_the_dense_layers():
    network = made("relu").network.train()
    network(torch.from_numpy(steps(4))).logsumexp(1).sum().backward()
    assert all(linear.weight.grad.abs().sum() > 0 for linear in network.dense.linears)
