"""TensorFlow 1's networks: their numbers are those of the cells as TensorFlow documents them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.errors import ModelError, UsageError
from scanline.interchange.options import ImportOptions
from scanline.interchange.reading import read_network
from scanline.interchange.tf1.read import read_checkpoint
from scanline.model.artifact import Model
from tests.interchange.checkpoints import entry, field, write


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(values, kernel, bias, forget_bias=1.0):
    """Outputs (N, T, units) of BasicLSTMCell, as its docstring and code have it: i, j, f, o."""
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
    """A kernel and a bias; no two gates alike, and none near zero."""
    kernel = rng.normal(size=(inputs + units, gates * units)).astype(np.float32)
    return kernel, rng.normal(size=gates * units).astype(np.float32)


def head(rng, width: int, classes: int) -> dict[str, np.ndarray]:
    return {
        "Variable": rng.normal(size=(width, classes)).astype(np.float32),
        "Variable_1": rng.normal(size=classes).astype(np.float32),
    }


def cell(scope: str, pair, names=("kernel", "bias")) -> dict[str, np.ndarray]:
    return {f"{scope}/{name}": array for name, array in zip(names, pair, strict=True)}


def answers(network, values) -> np.ndarray:
    classifier = network.to_model(Path("somewhere")).network
    with torch.inference_mode():
        return classifier(torch.from_numpy(values.astype(np.float32))).double().numpy()


def close(network, values, features, last) -> None:
    expected = features @ last["Variable"] + last["Variable_1"]
    np.testing.assert_allclose(answers(network, values), expected, rtol=0, atol=2e-5)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 6, 5))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def test_tensorflows_own_checkpoint_gives_its_logits_and_its_accuracy(golden, mnist):
    folder = golden / "tf1_checkpoint_basic_128"
    facts = json.loads((folder / "facts.json").read_text())
    network = read_network(folder / "model.ckpt")
    assert network.architecture.hidden_size == facts["units"]
    made = network.to_model(folder / "model.ckpt", picture=(28, 28), divide_by=255)
    with torch.inference_mode():
        logits = made.network(torch.from_numpy(mnist.test.values)).numpy()
    np.testing.assert_allclose(logits[:256], np.load(folder / "logits_first256.npy"), rtol=0, atol=1e-4)
    assert int((logits.argmax(1) == mnist.test.targets).sum()) == facts["correct"] == 9665


def test_what_was_taken_for_granted_and_left_out_is_told(golden):
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
def test_one_lstm_is_read_whatever_its_cell_was_called(tmp_path, rng, values, scope, names):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell(scope, pair, names) | last))
    assert (network.architecture.cell, network.architecture.bidirectional) == ("lstm", False)
    close(network, values, lstm(values, *pair)[:, -1], last)


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
    close(network, values, rnn(values, *pair)[:, -1], last)


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
    close(network, values, features[:, -1], last)


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
    close(network, values, gru(values, *arrays)[:, -1], last)


def test_stacked_grus_of_both_directions_are_read(tmp_path, rng, values):
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
    close(read_checkpoint(write(tmp_path, stored)), values, states, stored)


def test_a_gru_without_its_candidate_is_refused(tmp_path, rng):
    arrays = cell("rnn/gru_cell", gru_weights(rng, 5, 4), GRU_NAMES)
    del arrays["rnn/gru_cell/candidate/bias"]
    with pytest.raises(ModelError, match="expected kernels and biases of each of 1 layers"):
        read_checkpoint(write(tmp_path, arrays | head(rng, 4, 3)))


def test_a_candidate_of_another_size_than_the_gates_is_refused(tmp_path, rng):
    arrays = (*weights(rng, 5, 4, 2), *weights(rng, 5, 3, 1))
    path = write(tmp_path, cell("rnn/gru_cell", arrays, GRU_NAMES) | head(rng, 4, 3))
    expected = r"a kernel \(inputs \+ units, 1 x units\).*rnn/gru_cell/candidate/kernel \(8, 3\)"
    with pytest.raises(ModelError, match=expected):
        read_checkpoint(path)


@pytest.mark.parametrize("scope", ["enc", "enc=gru"])
def test_a_gru_with_a_name_of_the_users_is_read_by_its_scope(tmp_path, rng, values, scope):
    arrays, last = gru_weights(rng, 5, 4), head(rng, 4, 3)
    path = write(tmp_path, cell("rnn/enc", arrays, GRU_NAMES) | last)
    with pytest.raises(ModelError, match="--cell-scope NAME"):
        read_checkpoint(path)
    network = read_checkpoint(path, options=ImportOptions(cell_scope=scope))
    close(network, values, gru(values, *arrays)[:, -1], last)


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -0.75])
def test_the_forget_bias_is_added_to_the_forget_gate_alone(tmp_path, rng, values, forget_bias):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    prefix = write(tmp_path, cell("rnn/lstm_cell", pair) | last)
    for network in (read_checkpoint(prefix, forget_bias), read_network(prefix, forget_bias)):
        close(network, values, lstm(values, *pair, forget_bias)[:, -1], last)
        assert network.notes[0].startswith(f"forget_bias {forget_bias:g} was added")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_forget_bias_that_is_no_number_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match=f"forget_bias must be a finite number, got {wrong}"):
        read_checkpoint(tmp_path, wrong)


def both(values, forward, backward, run=lstm):
    """Outputs of both directions joined, and their last states joined."""
    there, back = run(values, *forward), run(values[:, ::-1], *backward)
    joined = np.concatenate([there, back[:, ::-1]], 2)
    return joined, np.concatenate([there[:, -1], back[:, -1]], 1)


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
    close(network, values, both(values, *sides, run)[1], last)
    assert any("a network that reads outputs[-1] uses another state" in note for note in network.notes)


@pytest.mark.parametrize(
    "scope", ["cell_{}/bidirectional_rnn/{}", "stack_bidirectional_rnn/cell_{}/bidirectional_rnn/{}"]
)
def test_stacked_directions_that_read_each_other_are_read(tmp_path, rng, values, scope):
    last, features, variables = head(rng, 8, 3), values, {}
    for layer in range(2):
        sides = [weights(rng, features.shape[2], 4) for _ in "fb"]
        for side, pair in zip(("fw", "bw"), sides, strict=True):
            variables |= cell(scope.format(layer, side) + "/lstm_cell", pair)
        features, states = both(features, *sides)
    network = read_checkpoint(write(tmp_path, variables | last))
    close(network, values, states, last)


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
    close(read_checkpoint(write(tmp_path, variables | last)), values, features[:, -1], last)


def test_a_network_is_saved_and_loaded_as_a_model(tmp_path, rng, values):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | last))
    network.to_model(tmp_path / "model.ckpt").save(tmp_path / "model", "0.0.0")
    with torch.inference_mode():
        found = Model.load(tmp_path / "model").network(torch.tensor(values, dtype=torch.float32))
    np.testing.assert_array_equal(found.double().numpy(), answers(network, values))


@pytest.mark.parametrize(
    "names",
    [("w_out", "b_out"), ("weights/out", "biases/out"), ("dense/kernel", "dense/bias"), ("out", "out/b")],
)
def test_the_last_layer_is_known_by_its_shapes(tmp_path, rng, values, names):
    pair, last = weights(rng, 5, 4), head(rng, 4, 3)
    renamed = dict(zip(names, last.values(), strict=True))
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | renamed))
    close(network, values, lstm(values, *pair)[:, -1], last)


def test_what_an_optimiser_and_a_counter_keep_is_left_out_and_named(tmp_path, rng, values):
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
    close(network, values, lstm(values, *pair)[:, -1], last)
    assert network.notes[-2:] == [
        "left out: 29 variables of the optimiser or of averages, beta1_power, global_step, "
        "train/beta2_power_1",
        "left out, as they are not weights of a layer: epochs, learning_rate",
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_widths_are_read_with_a_note(tmp_path, rng, values, dtype):
    pair = [array.astype(dtype) for array in weights(rng, 5, 4)]
    last = {name: array.astype(dtype) for name, array in head(rng, 4, 3).items()}
    network = read_checkpoint(write(tmp_path, cell("rnn/lstm_cell", pair) | last))
    assert {str(array.dtype) for array in network.weights.values()} == {"float32"}
    close(network, values, lstm(values, *(a.astype(float) for a in pair))[:, -1], last)
    assert f"{np.dtype(dtype)} became float32" in network.notes


def good(rng, scope: str = "rnn/lstm_cell") -> dict[str, np.ndarray]:
    return cell(scope, weights(rng, 5, 4)) | head(rng, 4, 3)


def refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


ZEROS = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {f"rnn/lstm_cell/w_{gate}_diag": ZEROS for gate in "fio"},
            r"cannot map rnn/lstm_cell/w_f_diag, rnn/lstm_cell/w_i_diag, rnn/lstm_cell/w_o_diag: peepholes",
        ),
        ({"RNN/LSTMCell/W_F_diag": ZEROS}, "cannot map RNN/LSTMCell/W_F_diag: peepholes"),
        (
            {"rnn/lstm_cell/projection/kernel": np.zeros((4, 2), np.float32)},
            "cannot map rnn/lstm_cell/projection/kernel: a projection",
        ),
        (
            {"lstm/recurrent_kernel": np.zeros((4, 16), np.float32)},
            r"cannot map lstm/recurrent_kernel: Keras's variables.*as \.keras or \.h5",
        ),
        (
            {"layer-0/cell/kernel/.ATTRIBUTES/VARIABLE_VALUE": ZEROS},
            r"cannot map layer-0/cell/kernel/\.ATTRIBUTES/VARIABLE_VALUE: Keras's variables",
        ),
        (
            {"other/lstm_cell/kernel": np.zeros((9, 16), np.float32)},
            "expected the cells of one network, found other/lstm_cell/kernel, rnn/lstm_cell/bias; several",
        ),
        (
            {"rnn/lstm_cell_1/bias": np.zeros(16, np.float32)},
            "expected the cells of one network, found .*rnn/lstm_cell_1/bias; several",
        ),
        (
            {"rnn/cell_1/cell_0/lstm_cell/bias": np.zeros(16, np.float32)},
            "cannot map rnn/cell_1/cell_0/lstm_cell/bias: it is in a stack within a stack",
        ),
        (
            {"embedding": np.zeros((9, 5), np.float32)},
            r"one matrix \(4, classes\) and one vector \(classes,\) that compute the logits, found Variable "
            r"\(4, 3\), Variable_1 \(3,\) and, with no known use, embedding \(9, 5\); only such",
        ),
        (
            {"other": np.zeros((4, 2), np.float32)},
            r"found more than one candidate: Variable \(4, 3\), other \(4, 2\), Variable_1 \(3,\)",
        ),
        (
            {"other": np.zeros(3, np.float32)},
            r"found more than one candidate: Variable \(4, 3\), Variable_1 \(3,\), other \(3,\)",
        ),
        (
            {"rnn/layer_norm_basic_lstm_cell/input/gamma": ZEROS},
            r"with no known use, rnn/layer_norm_basic_lstm_cell/input/gamma \(4,\)",
        ),
    ],
)
def test_what_a_network_has_besides_and_cannot_be_mapped_is_refused_by_name(tmp_path, rng, more, message):
    refused(write(tmp_path, good(rng) | more), message)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["Variable"], r"that compute the logits, found Variable_1 \(3,\);"),
        (["Variable_1"], r"that compute the logits, found Variable \(4, 3\);"),
        (["Variable", "Variable_1"], "that compute the logits, found none;"),
        (
            ["rnn/lstm_cell/bias"],
            "expected kernels and biases of each of 1 layers in 1 direction, found rnn/lstm_cell/kernel",
        ),
        (
            ["rnn/lstm_cell/kernel", "rnn/lstm_cell/bias"],
            r"found no supported cell: expected variables \.\.\./basic_lstm_cell/kernel and bias, .*, "
            "found Variable, Variable_1",
        ),
    ],
)
def test_missing_parts_of_a_network_are_named(tmp_path, rng, gone, message):
    variables = {name: array for name, array in good(rng).items() if name not in gone}
    refused(write(tmp_path, variables), message)


@pytest.mark.parametrize(
    ("changed", "shape", "message"),
    [
        (
            "rnn/lstm_cell/kernel",
            (9,),
            r"expected a kernel \(inputs \+ units, 4 x units\) and a bias of as many",
        ),
        (
            "rnn/lstm_cell/kernel",
            (9, 15),
            r"found rnn/lstm_cell/kernel \(9, 15\) and rnn/lstm_cell/bias \(16,\)",
        ),
        ("rnn/lstm_cell/kernel", (4, 16), r"found rnn/lstm_cell/kernel \(4, 16\)"),
        ("rnn/lstm_cell/kernel", (9, 2), r"found rnn/lstm_cell/kernel \(9, 2\)"),
        ("rnn/lstm_cell/bias", (16, 1), r"rnn/lstm_cell/bias \(16, 1\)"),
        ("rnn/lstm_cell/bias", (), r"rnn/lstm_cell/bias \(\)"),
        ("Variable", (5, 3), r"found Variable \(5, 3\), Variable_1 \(3,\)"),
        ("Variable", (4, 3, 1), r"found Variable \(4, 3, 1\), Variable_1 \(3,\)"),
        ("Variable_1", (1, 3), r"found Variable \(4, 3\), Variable_1 \(1, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tmp_path, rng, changed, shape, message):
    refused(write(tmp_path, good(rng) | {changed: np.ones(shape, np.float32)}), message)


def test_layers_of_different_sizes_are_refused(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 6, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_1/lstm_cell", weights(rng, 4, 6))
    refused(
        write(tmp_path, variables),
        r"expected a kernel \(4 \+ 4, 4 x 4\) and a bias of as many columns, as all layers have the same "
        r"size; found rnn/multi_rnn_cell/cell_1/lstm_cell/kernel \(10, 24\) and",
    )


def test_a_missing_layer_is_named(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 4, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_999999/lstm_cell", weights(rng, 4, 4))
    refused(write(tmp_path, variables), "kernels and biases of each of 1000000 layers in 1 direction, found")


def test_a_missing_direction_is_named(tmp_path, rng):
    variables = cell("bidirectional_rnn/bw/lstm_cell", weights(rng, 5, 4)) | head(rng, 8, 3)
    refused(
        write(tmp_path, variables), "of each of 1 layers in 2 directions, found bidirectional_rnn/bw/lstm"
    )


def test_cells_of_two_kinds_are_refused(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 4, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_1/basic_rnn_cell", weights(rng, 4, 4, gates=1))
    refused(
        write(tmp_path, variables), "expected cells of one kind, found rnn/multi_rnn_cell/cell_0/lstm_cell"
    )


def test_directions_with_stacks_of_their_own_are_refused(tmp_path, rng):
    variables = head(rng, 8, 3)
    for side in ("fw", "bw"):
        for layer in range(2):
            scope = f"bidirectional_rnn/{side}/multi_rnn_cell/cell_{layer}/lstm_cell"
            variables |= cell(scope, weights(rng, 4, 4))
    refused(write(tmp_path, variables), "cannot map .*: each direction has its own stack of")


def test_more_layers_than_a_model_has_are_refused(tmp_path, rng):
    variables = head(rng, 2, 3)
    for layer in range(65):
        variables |= cell(f"rnn/multi_rnn_cell/cell_{layer}/lstm_cell", weights(rng, 2, 2))
    refused(write(tmp_path, variables), "expected 1 to 64 layers, found 65")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_invalid_numbers_are_refused(tmp_path, rng, wrong):
    variables = good(rng)
    variables["rnn/lstm_cell/kernel"][3, 4] = wrong
    refused(
        write(tmp_path, variables), "rnn/lstm_cell/kernel: expected finite numbers .* found 1 of 144 that"
    )


def test_numbers_beyond_float32_are_refused(tmp_path, rng):
    variables = good(rng) | {"Variable_1": np.array([1, 1e39, 2])}
    refused(write(tmp_path, variables), "Variable_1: expected finite numbers .* found 1 of 3 that")


def test_weights_that_are_no_real_numbers_are_refused(tmp_path, rng):
    variables = good(rng) | {"rnn/lstm_cell/bias": np.zeros(16, np.int64)}
    refused(
        write(tmp_path, variables), r"rnn/lstm_cell/bias: expected numbers of float32, .* found int64 \(16,\)"
    )


def test_weights_in_slices_are_refused(tmp_path, rng):
    whole = entry(1, (9, 16), 0, 0, 0, 0, more=field(7, b""))

    def in_slices(items):
        return [(k, whole if k == b"rnn/lstm_cell/kernel" else v) for k, v in items]

    refused(write(tmp_path, good(rng), edit=in_slices), "rnn/lstm_cell/kernel: saved in slices")


def test_damage_in_what_is_left_out_is_refused_too(tmp_path, rng):
    variables = good(rng)
    prefix = write(tmp_path, variables | {"Variable/Adam": variables["Variable"]})
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    whole = bytearray(data.read_bytes())
    place = 4 * (12 + 1)  # names are in order: Variable, Variable/Adam, ...
    whole[place] ^= 1
    data.write_bytes(whole)
    refused(prefix, r"data-00000-of-00001: Variable/Adam, bytes 48 to 96: expected the checksum")


SCOPES = (
    "rnn fw bw multi_rnn_cell MultiRNNCell cell_0 cell_1 Cell0 lstm_cell LSTMCell basic_rnn_cell gru_cell"
)
ENDS = "kernel bias weights W_0 B Adam x"
NAMES = st.lists(st.sampled_from(["", *SCOPES.split(), *ENDS.split()]), min_size=1, max_size=5).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    shapes=st.dictionaries(NAMES.filter(bool), st.lists(st.integers(0, 8), max_size=3), max_size=6),
    add=st.booleans(),
)
def test_any_names_and_shapes_are_mapped_or_refused(tmp_path, shapes, add):
    variables = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    if add:
        variables |= good(np.random.default_rng(0))
    prefix = write(tmp_path, variables)
    try:
        answers(read_checkpoint(prefix), np.ones((1, 2, 5)))
    except ModelError:
        refused(prefix, re.escape(str(prefix)))


def test_outputs_of_the_last_step_are_an_option(tmp_path, rng, values):
    sides, last = [weights(rng, 5, 4, 4) for _ in "fb"], head(rng, 8, 3)
    scope = "bidirectional_rnn/{}/basic_lstm_cell"
    path = write(tmp_path, cell(scope.format("fw"), sides[0]) | cell(scope.format("bw"), sides[1]) | last)
    network = read_checkpoint(path, options=ImportOptions(readout="last-step"))
    close(network, values, both(values, *sides, lstm)[0][:, -1], last)


# --- cells with names of the user's, and projections of the input


@pytest.mark.parametrize(("run", "gates", "kind"), [(lstm, 4, "lstm"), (rnn, 1, "rnn")])
@pytest.mark.parametrize("scope", ["rnn/enc", "enc", "rnn/multi_rnn_cell/cell_0/enc"])
def test_a_cell_with_a_name_of_the_users_is_read_by_its_scope(tmp_path, rng, values, run, gates, kind, scope):
    pair, last = weights(rng, 5, 4, gates), head(rng, 4, 3)
    path = write(tmp_path, cell(scope, pair) | last)
    with pytest.raises(ModelError, match="--cell-scope NAME"):
        read_checkpoint(path)
    for named in ("enc", f"enc={kind}"):
        network = read_checkpoint(path, options=ImportOptions(cell_scope=named))
        assert network.architecture.cell == kind
        close(network, values, run(values, *pair)[:, -1], last)


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
    close(network, values, states, last)


def test_a_projection_whose_shapes_fit_twice_is_refused(tmp_path, rng):
    before = {"w": rng.normal(size=(4, 4)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    path = write(tmp_path, cell("rnn/lstm_cell", weights(rng, 4, 4)) | before | head(rng, 4, 4))
    with pytest.raises(ModelError, match="shapes fit in more than one way"):
        read_checkpoint(path, options=ImportOptions(input_projection="linear"))
