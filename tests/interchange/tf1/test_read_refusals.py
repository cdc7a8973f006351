"""Checkpoints of TensorFlow 1 that cannot be mapped or are damaged are refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.errors import ModelError
from scanline.interchange.tf1.read import read_checkpoint
from tests.interchange.checkpoints import entry, field, write
from tests.interchange.tf1.networks import GRU_NAMES, cell, gru_weights, head, predict_logits, weights


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


def valid_variables(rng, scope: str = "rnn/lstm_cell") -> dict[str, np.ndarray]:
    """Return the variables of a network that can be read."""
    return cell(scope, weights(rng, 5, 4)) | head(rng, 4, 3)


def assert_refused(path: Path, message: str) -> None:
    """Assert that reading raises a one-line error that names the file."""
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
def test_variables_that_cannot_be_mapped_are_refused_by_name(tmp_path, rng, more, message):
    assert_refused(write(tmp_path, valid_variables(rng) | more), message)


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
    variables = {name: array for name, array in valid_variables(rng).items() if name not in gone}
    assert_refused(write(tmp_path, variables), message)


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
    assert_refused(write(tmp_path, valid_variables(rng) | {changed: np.ones(shape, np.float32)}), message)


def test_layers_of_different_sizes_are_refused(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 6, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_1/lstm_cell", weights(rng, 4, 6))
    assert_refused(
        write(tmp_path, variables),
        r"expected a kernel \(4 \+ 4, 4 x 4\) and a bias of as many columns, as all layers have the same "
        r"size; found rnn/multi_rnn_cell/cell_1/lstm_cell/kernel \(10, 24\) and",
    )


def test_a_missing_layer_is_named(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 4, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_999999/lstm_cell", weights(rng, 4, 4))
    assert_refused(
        write(tmp_path, variables), "kernels and biases of each of 1000000 layers in 1 direction, found"
    )


def test_a_missing_direction_is_named(tmp_path, rng):
    variables = cell("bidirectional_rnn/bw/lstm_cell", weights(rng, 5, 4)) | head(rng, 8, 3)
    assert_refused(
        write(tmp_path, variables), "of each of 1 layers in 2 directions, found bidirectional_rnn/bw/lstm"
    )


def test_cells_of_two_kinds_are_refused(tmp_path, rng):
    variables = cell("rnn/multi_rnn_cell/cell_0/lstm_cell", weights(rng, 5, 4)) | head(rng, 4, 3)
    variables |= cell("rnn/multi_rnn_cell/cell_1/basic_rnn_cell", weights(rng, 4, 4, gates=1))
    assert_refused(
        write(tmp_path, variables), "expected cells of one kind, found rnn/multi_rnn_cell/cell_0/lstm_cell"
    )


def test_directions_with_separate_stacks_are_refused(tmp_path, rng):
    variables = head(rng, 8, 3)
    for side in ("fw", "bw"):
        for layer in range(2):
            scope = f"bidirectional_rnn/{side}/multi_rnn_cell/cell_{layer}/lstm_cell"
            variables |= cell(scope, weights(rng, 4, 4))
    assert_refused(write(tmp_path, variables), "cannot map .*: each direction has its own stack of")


def test_too_many_layers_are_refused(tmp_path, rng):
    variables = head(rng, 2, 3)
    for layer in range(65):
        variables |= cell(f"rnn/multi_rnn_cell/cell_{layer}/lstm_cell", weights(rng, 2, 2))
    assert_refused(write(tmp_path, variables), "expected 1 to 64 layers, found 65")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_invalid_numbers_are_refused(tmp_path, rng, wrong):
    variables = valid_variables(rng)
    variables["rnn/lstm_cell/kernel"][3, 4] = wrong
    assert_refused(
        write(tmp_path, variables), "rnn/lstm_cell/kernel: expected finite numbers .* found 1 of 144 that"
    )


def test_numbers_beyond_float32_are_refused(tmp_path, rng):
    variables = valid_variables(rng) | {"Variable_1": np.array([1, 1e39, 2])}
    assert_refused(write(tmp_path, variables), "Variable_1: expected finite numbers .* found 1 of 3 that")


def test_weights_that_are_not_floats_are_refused(tmp_path, rng):
    variables = valid_variables(rng) | {"rnn/lstm_cell/bias": np.zeros(16, np.int64)}
    assert_refused(
        write(tmp_path, variables), r"rnn/lstm_cell/bias: expected numbers of float32, .* found int64 \(16,\)"
    )


def test_weights_in_slices_are_refused(tmp_path, rng):
    whole = entry(1, (9, 16), 0, 0, 0, 0, more=field(7, b""))

    def in_slices(items):
        return [(k, whole if k == b"rnn/lstm_cell/kernel" else v) for k, v in items]

    assert_refused(
        write(tmp_path, valid_variables(rng), edit=in_slices), "rnn/lstm_cell/kernel: saved in slices"
    )


def test_damage_in_ignored_variables_is_refused(tmp_path, rng):
    variables = valid_variables(rng)
    prefix = write(tmp_path, variables | {"Variable/Adam": variables["Variable"]})
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    whole = bytearray(data.read_bytes())
    position = 4 * (12 + 1)  # in Variable/Adam, the second name in order
    whole[position] ^= 1
    data.write_bytes(whole)
    assert_refused(prefix, r"data-00000-of-00001: Variable/Adam, bytes 48 to 96: expected the checksum")


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
        variables |= valid_variables(np.random.default_rng(0))
    prefix = write(tmp_path, variables)
    try:
        predict_logits(read_checkpoint(prefix), np.ones((1, 2, 5)))
    except ModelError:
        assert_refused(prefix, re.escape(str(prefix)))
