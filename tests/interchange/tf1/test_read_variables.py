"""Import options, the head, ignored variables and number types of TensorFlow 1 checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanline.errors import ModelError, UsageError
from scanline.interchange.options import ImportOptions
from scanline.interchange.reading import read_network
from scanline.interchange.tf1.read import read_checkpoint
from scanline.model.artifact import Model
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
    predict_logits,
    rnn,
    weights,
)


def test_assumptions_and_ignored_variables_are_noted(golden):
    network = read_checkpoint(golden / "tf1_checkpoint_basic_128")
    assert network.made == "imported from the TensorFlow 1 checkpoint model.ckpt"
    assert network.notes == [
        "forget_bias 1 was added to the forget gates, as the cells do when they run: it is not part of a "
        "checkpoint, and 1 is TensorFlow's default",
        "activations were assumed to be tanh, without clipping and residual connections, TensorFlow's "
        "default",
        "logits were assumed to be computed from the last output",
        "left out: 8 variables of the optimiser or of averages, beta1_power, beta2_power",
    ]


@pytest.mark.parametrize("scope", ["enc", "enc=gru"])
def test_a_gru_with_a_custom_name_is_read_by_its_scope(tmp_path, rng, values, scope):
    arrays, last = gru_weights(rng, 5, 4), head(rng, 4, 3)
    path = write(tmp_path, cell("rnn/enc", arrays, GRU_NAMES) | last)
    with pytest.raises(ModelError, match="--cell-scope NAME"):
        read_checkpoint(path)
    network = read_checkpoint(path, options=ImportOptions(cell_scope=scope))
    assert_logits_close(network, values, gru(values, *arrays)[:, -1], last)


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -0.75])
def test_the_forget_bias_is_added_to_the_forget_gate_alone(tmp_path, rng, values, forget_bias):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    prefix = write(tmp_path, cell("rnn/lstm_cell", pair) | last)
    for network in (read_checkpoint(prefix, forget_bias), read_network(prefix, forget_bias)):
        assert_logits_close(network, values, lstm(values, *pair, forget_bias)[:, -1], last)
        assert network.notes[0].startswith(f"forget_bias {forget_bias:g} was added")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_forget_bias_that_is_not_finite_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match=f"forget_bias must be a finite number, got {wrong}"):
        read_checkpoint(tmp_path, wrong)


def test_a_network_is_saved_and_loaded_as_a_model(tmp_path, rng, values):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | last))
    network.to_model(tmp_path / "model.ckpt").save(tmp_path / "model", "0.0.0")
    with torch.inference_mode():
        reloaded = Model.load(tmp_path / "model").network(torch.tensor(values, dtype=torch.float32))
    np.testing.assert_array_equal(reloaded.double().numpy(), predict_logits(network, values))


@pytest.mark.parametrize(
    "names",
    [("w_out", "b_out"), ("weights/out", "biases/out"), ("dense/kernel", "dense/bias"), ("out", "out/b")],
)
def test_the_head_is_recognised_by_its_shapes(tmp_path, rng, values, names):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    renamed = dict(zip(names, last.values(), strict=True))
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | renamed))
    assert_logits_close(network, values, lstm(values, *pair)[:, -1], last)


def test_optimiser_slots_and_counters_are_ignored_with_a_note(tmp_path, rng, values):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    variables = cell("rnn/lstm_cell", pair) | last
    slots = ("Adam", "Adam_1", "Momentum", "RMSProp", "RMSProp_1", "ExponentialMovingAverage", "my_optimiser")
    kept = {f"{name}/{slot}": array + 1 for name, array in variables.items() for slot in slots}
    kept["train/Variable/Adagrad"] = last["Variable"]
    kept |= {
        "global_step": np.array(5, np.int64),
        "beta1_power": np.array(0.5, np.float32),
        "train/beta2_power_1": np.array(0.5, np.float32),
        "learning_rate": np.array(0.5, np.float32),
        "epochs": np.arange(3),
    }
    network = read_checkpoint(write(tmp_path, variables | kept))
    assert_logits_close(network, values, lstm(values, *pair)[:, -1], last)
    assert network.notes[-2:] == [
        "left out: 29 variables of the optimiser or of averages, beta1_power, global_step, "
        "train/beta2_power_1",
        "left out, as they are not weights of a layer: epochs, learning_rate",
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_float_types_are_read_with_a_note(tmp_path, rng, values, dtype):
    pair = [array.astype(dtype) for array in weights(rng, 5, 4)]
    last = {name: array.astype(dtype) for name, array in head(rng, 4, 3).items()}
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | last))
    assert {str(array.dtype) for array in network.weights.values()} == {"float32"}
    assert_logits_close(network, values, lstm(values, *(a.astype(float) for a in pair))[:, -1], last)
    assert f"{np.dtype(dtype)} became float32" in network.notes


def test_the_last_step_is_a_readout_option(tmp_path, rng, values):
    sides, last = [weights(rng, 5, 4, 4) for _ in "fb"], head(rng, 8, 3)
    scope = "bidirectional_rnn/{}/basic_lstm_cell"
    path = write(tmp_path, cell(scope.format("fw"), sides[0]) | cell(scope.format("bw"), sides[1]) | last)
    network = read_checkpoint(path, options=ImportOptions(readout="last-step"))
    assert_logits_close(network, values, both(values, *sides, lstm)[0][:, -1], last)


@pytest.mark.parametrize(("run", "gates", "kind"), [(lstm, 4, "lstm"), (rnn, 1, "rnn")])
@pytest.mark.parametrize("scope", ["rnn/enc", "enc", "rnn/multi_rnn_cell/cell_0/enc"])
def test_a_cell_with_a_custom_name_is_read_by_its_scope(tmp_path, rng, values, run, gates, kind, scope):
    pair, last = weights(rng, 5, 4, gates), head(rng, 4, 3)
    path = write(tmp_path, cell(scope, pair) | last)
    with pytest.raises(ModelError, match="--cell-scope NAME"):
        read_checkpoint(path)
    for named in ("enc", f"enc={kind}"):
        network = read_checkpoint(path, options=ImportOptions(cell_scope=named))
        assert network.architecture.cell == kind
        assert_logits_close(network, values, run(values, *pair)[:, -1], last)


@pytest.mark.parametrize("scope", ["", "a/b", "enc=lsmt", "=lstm"])
def test_a_scope_without_a_cell_is_refused(tmp_path, rng, scope):
    path = write(tmp_path, cell("rnn/enc", weights(rng, 5, 4)) | head(rng, 4, 3))
    with pytest.raises(UsageError, match="--cell-scope must be NAME"):
        read_checkpoint(path, options=ImportOptions(cell_scope=scope))


@pytest.mark.parametrize("sides", [1, 2])
def test_a_linear_projection_of_the_input_is_folded(tmp_path, rng, values, sides):
    pairs, last = [weights(rng, 7, 4) for _ in range(sides)], head(rng, 4 * sides, 3)
    scopes = ["bidirectional_rnn/fw/lstm_cell", "bidirectional_rnn/bw/lstm_cell"][:sides]
    before = {
        "in/w": rng.normal(size=(5, 7)).astype(np.float32),
        "in/b": rng.normal(size=7).astype(np.float32),
    }
    cells = {
        name: array
        for scope, pair in zip(scopes, pairs, strict=True)
        for name, array in cell(scope, pair).items()
    }
    path = write(tmp_path, cells | before | last)
    with pytest.raises(ModelError, match=r"multiply the input by in/w, .*ReLU.*--input-projection linear"):
        read_checkpoint(path)
    network = read_checkpoint(path, options=ImportOptions(input_projection="linear"))
    assert network.architecture.input_size == 5
    projected = values @ before["in/w"] + before["in/b"]
    states = both(projected, *pairs)[1] if sides == 2 else lstm(projected, *pairs[0])[:, -1]
    assert_logits_close(network, values, states, last)


def test_a_projection_whose_shapes_fit_twice_is_refused(tmp_path, rng):
    before = {"w": rng.normal(size=(4, 4)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    path = write(tmp_path, cell("rnn/lstm_cell", weights(rng, 4, 4)) | before | head(rng, 4, 4))
    with pytest.raises(ModelError, match="shapes fit in more than one way"):
        read_checkpoint(path, options=ImportOptions(input_projection="linear"))
