"""Cells of TensorFlow 1 give the outputs that its documentation defines, in any stack and direction."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.interchange.reading import read_network
from scanline.interchange.tf1.read import read_checkpoint
from tests.interchange.checkpoints import write
from tests.interchange.tf1.networks import (
    GRU_NAMES,
    assert_logits_close,
    both,
    cell,
    gru,
    gru_weights,
    head,
    lstm,
    rnn,
    weights,
)


def test_a_checkpoint_of_tensorflow_gives_its_logits_and_accuracy(golden, mnist):
    folder = golden / "tf1_checkpoint_basic_128"
    facts = json.loads((folder / "facts.json").read_text())
    network = read_network(folder / "model.ckpt")
    assert network.architecture.hidden_size == facts["units"]
    model = network.to_model(folder / "model.ckpt", picture=(28, 28), divide_by=255)
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(mnist.test.values)).numpy()
    np.testing.assert_allclose(logits[:256], np.load(folder / "logits_first256.npy"), rtol=0, atol=1e-4)
    assert int((logits.argmax(1) == mnist.test.targets).sum()) == facts["correct"] == 9665


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("rnn/basic_lstm_cell", ("kernel", "bias")),
        ("rnn/lstm_cell", ("kernel", "bias")),
        ("basic_lstm_cell", ("kernel", "bias")),
        ("model/rnn/basic_lstm_cell_1", ("kernel", "bias")),
        ("RNN/basic_lstm_cell", ("weights", "biases")),
        ("rnn/lstm_cell", ("weights", "biases")),
        ("RNN/BasicLSTMCell/Linear", ("Matrix", "Bias")),
        ("RNN/LSTMCell", ("W_0", "B")),
        ("rnn/multi_rnn_cell/cell_0/lstm_cell", ("kernel", "bias")),
        ("bidirectional/fw_only/lstm_cell", ("kernel", "bias")),
    ],
)
def test_an_lstm_is_read_under_each_name_of_its_cell(tmp_path, rng, values, scope, names):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell(scope, pair, names) | last))
    assert (network.architecture.cell, network.architecture.bidirectional) == ("lstm", False)
    assert_logits_close(network, values, lstm(values, *pair)[:, -1], last)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("rnn/basic_rnn_cell", ("kernel", "bias")),
        ("rnn/basic_rnn_cell", ("weights", "biases")),
        ("RNN/BasicRNNCell/Linear", ("Matrix", "Bias")),
    ],
)
def test_a_plain_rnn_is_read(tmp_path, rng, values, scope, names):
    pair, last = weights(rng, 5, 4, gates=1), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell(scope, pair, names) | last))
    assert network.architecture.cell == "rnn"
    assert not any("forget_bias" in note for note in network.notes)
    assert_logits_close(network, values, rnn(values, *pair)[:, -1], last)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("rnn/multi_rnn_cell/cell_{}/basic_lstm_cell", ("kernel", "bias")),
        ("rnn/multi_rnn_cell/cell_{}/lstm_cell", ("weights", "biases")),
        ("RNN/MultiRNNCell/Cell{}/BasicLSTMCell/Linear", ("Matrix", "Bias")),
    ],
)
@pytest.mark.parametrize("layers", [2, 12])
def test_stacked_lstms_are_read_in_the_order_of_their_numbers(tmp_path, rng, values, scope, names, layers):
    pairs = [weights(rng, 5 if layer == 0 else 4, 4) for layer in range(layers)]
    last, features, variables = head(rng, 4, 3), values, {}
    for layer, pair in enumerate(pairs):
        variables |= cell(scope.format(layer), pair, names)
        features = lstm(features, *pair)
    network = read_checkpoint(write(tmp_path, variables | last, shards=3, block_bytes=200))
    assert network.architecture.layers == layers
    assert_logits_close(network, values, features[:, -1], last)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("rnn/gru_cell", GRU_NAMES),
        ("gru_cell_1", GRU_NAMES),
        ("RNN/gru_cell", ("gates/weights", "gates/biases", "candidate/weights", "candidate/biases")),
        (
            "RNN/GRUCell",
            (
                "Gates/Linear/Matrix",
                "Gates/Linear/Bias",
                "Candidate/Linear/Matrix",
                "Candidate/Linear/Bias",
            ),
        ),
        ("rnn/gru_block_cell", ("w_ru", "b_ru", "w_c", "b_c")),
    ],
)
def test_a_gru_is_read_with_the_reset_gate_before_the_product(tmp_path, rng, values, scope, names):
    arrays, last = gru_weights(rng, 5, 4), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell(scope, arrays, names) | last))
    assert network.architecture.cell == "gru-reset-before"
    assert_logits_close(network, values, gru(values, *arrays)[:, -1], last)


def test_stacked_bidirectional_grus_are_read(tmp_path, rng, values):
    one, two = [[gru_weights(rng, width, 4) for _ in range(2)] for width in (5, 8)]
    stored, read = head(rng, 8, 3), values
    for layer, pair in enumerate((one, two)):
        outputs = []
        for side, arrays in zip(("fw", "bw"), pair, strict=True):
            stored |= cell(f"stack/cell_{layer}/bidirectional_rnn/{side}/gru_cell", arrays, GRU_NAMES)
            steps = read[:, ::-1] if side == "bw" else read
            outputs.append(gru(steps, *arrays))
        states = np.concatenate([each[:, -1] for each in outputs], 1)
        read = np.concatenate([outputs[0], outputs[1][:, ::-1]], 2)
    assert_logits_close(read_checkpoint(write(tmp_path, stored)), values, states, stored)


@pytest.mark.parametrize(
    ("scope", "run", "gates"),
    [
        ("bidirectional_rnn/{}/lstm_cell", lstm, 4),
        ("bidirectional_rnn/{}/basic_rnn_cell", rnn, 1),
        ("bidirectional_rnn/{}/multi_rnn_cell/cell_0/basic_lstm_cell", lstm, 4),
    ],
)
def test_both_directions_are_read(tmp_path, rng, values, scope, run, gates):
    sides, last = [weights(rng, 5, 4, gates) for _ in "fb"], head(rng, 8, 3)
    variables = cell(scope.format("fw"), sides[0]) | cell(scope.format("bw"), sides[1])
    network = read_checkpoint(write(tmp_path, variables | last))
    assert network.architecture.bidirectional
    assert_logits_close(network, values, both(values, *sides, run)[1], last)
    assert any("a network that reads outputs[-1] uses another state" in note for note in network.notes)


@pytest.mark.parametrize(
    "scope", ["cell_{}/bidirectional_rnn/{}", "stack_bidirectional_rnn/cell_{}/bidirectional_rnn/{}"]
)
def test_stacked_bidirectional_layers_are_read(tmp_path, rng, values, scope):
    last, features, variables = head(rng, 8, 3), values, {}
    for layer in range(2):
        sides = [weights(rng, features.shape[2], 4) for _ in "fb"]
        for side, pair in zip(("fw", "bw"), sides, strict=True):
            variables |= cell(scope.format(layer, side) + "/lstm_cell", pair)
        features, states = both(features, *sides)
    network = read_checkpoint(write(tmp_path, variables | last))
    assert_logits_close(network, values, states, last)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    inputs=st.integers(1, 6),
    units=st.integers(1, 7),
    classes=st.integers(2, 5),
    layers=st.integers(1, 3),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_any_sizes_are_read(tmp_path, inputs, units, classes, layers, steps, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, steps, inputs))
    last, features, variables = head(rng, units, classes), values, {}
    for layer in range(layers):
        pair = weights(rng, features.shape[2], units)
        variables |= cell(f"rnn/multi_rnn_cell/cell_{layer}/lstm_cell", pair)
        features = lstm(features, *pair)
    assert_logits_close(read_checkpoint(write(tmp_path, variables | last)), values, features[:, -1], last)
