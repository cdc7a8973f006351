"""The steps of the cells against torch's, and their declarations."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from scanline import cells
from scanline.cells import NO_INTERVENTION, FormatLayout, Intervention, Weights, rnn
from scanline.errors import UsageError

F, H = 3, 5
TORCH = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}
NAMES = pytest.mark.parametrize("name", TORCH)


def torch_cell(name, **options):
    torch.manual_seed(0)
    theirs = TORCH[name](F, H, dtype=torch.float64, **options)
    return theirs, Weights(*(weight.detach() for weight in theirs.parameters()))


@NAMES
@pytest.mark.parametrize("shape", [(), (4,)], ids=["one sequence", "a batch"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_step_is_torchs(name, shape, bias):
    cell = cells.get(name)
    theirs, weights = torch_cell(name, bias=bias)
    x, states = torch.randn(*shape, F).double(), [torch.randn(*shape, H).double() for _ in cell.states]
    result = cell.step(weights.from_input(x), tuple(states), weights, NO_INTERVENTION)
    assert tuple(result) == cell.traced
    expected = theirs(x, states[0] if len(states) == 1 else tuple(states))
    for state, want in zip(cell.states, expected if len(states) == 2 else [expected], strict=True):
        torch.testing.assert_close(result[state], want)


def test_the_relu_variant_is_torchs():
    theirs, weights = torch_cell("rnn", nonlinearity="relu")
    x, h = torch.randn(4, F).double(), torch.randn(4, H).double()
    result = rnn.RELU.step(weights.from_input(x), (h,), weights, NO_INTERVENTION)
    torch.testing.assert_close(result["h"], theirs(x, h))


@pytest.mark.parametrize("shape", [(), (4,)], ids=["one sequence", "a batch"])
def test_the_reset_gate_before_the_product_scales_the_state_and_not_the_bias(shape):
    _, weights = torch_cell("gru")
    x, h = torch.randn(*shape, F).double(), torch.randn(*shape, H).double()
    cell = cells.get("gru-reset-before")
    result = cell.step(weights.from_input(x), (h,), weights, NO_INTERVENTION)
    ih, hh = weights.weight_ih.split(H), weights.weight_hh.split(H)
    bias = [one + two for one, two in zip(weights.bias_ih.split(H), weights.bias_hh.split(H), strict=True)]
    r = 1 / (1 + (-(x @ ih[0].T + h @ hh[0].T + bias[0])).exp())
    z = 1 / (1 + (-(x @ ih[1].T + h @ hh[1].T + bias[1])).exp())
    n = torch.tanh(x @ ih[2].T + (r * h) @ hh[2].T + bias[2])
    expected = {"r": r, "z": z, "n": n, "h": n + z * (h - n)}
    assert tuple(result) == cell.traced
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value)


@NAMES
def test_every_clampable_gate_and_the_output_pass_the_intervention(name):
    class Held(Intervention):
        seen = ()

        def gate(self, name, value):
            self.seen += (name,)
            return torch.full_like(value, 0.5)

        def output(self, h):
            return torch.zeros_like(h)

    cell, held = cells.get(name), Held()
    _, weights = torch_cell(name)
    result = cell.step(weights.from_input(torch.ones(F).double()), _zeros(cell), weights, held)
    assert held.seen == cell.clampable
    assert all((result[gate] == 0.5).all() for gate in cell.clampable)
    assert not result["h"].any()


def _zeros(cell):
    return tuple(torch.zeros(H).double() for _ in cell.states)


@NAMES
def test_the_hold_sums_leave_the_states_exactly_as_they_are(name):
    cell = cells.get(name)
    if len(cell.states) == 1:
        assert not cell.hold_sums
        return
    sums = torch.tensor([cell.hold_sums.get(gate, 0.0) for gate in cell.gates]).repeat_interleave(H)
    weights = Weights(torch.zeros(4 * H, F), torch.randn(4 * H, H))
    for c in (torch.randn(H), torch.zeros(H)):
        result = cell.step(sums, (torch.randn(H), c), weights, NO_INTERVENTION)
        assert torch.equal(result["c"], c)


@pytest.mark.parametrize(
    ("name", "target", "order"),
    [
        ("lstm", "torch", (0, 1, 2, 3)),
        ("lstm", "keras", (0, 1, 2, 3)),
        ("lstm", "onnx", (0, 3, 1, 2)),  # i, o, f, c
        ("lstm", "tf1", (0, 2, 1, 3)),  # i, j, f, o
        ("gru", "torch", (0, 1, 2)),
        ("gru", "keras", (1, 0, 2)),  # z, r, h
        ("gru", "onnx", (1, 0, 2)),
        ("rnn", "onnx", (0,)),
    ],
)
def test_gate_orders_are_those_of_the_formats(name, target, order):
    cell = cells.get(name)
    assert cell.gate_order(target) == order
    back = cell.inverse_gate_order(target)
    assert [order[k] for k in back] == list(range(len(order)))


def test_a_format_without_an_equivalent_is_refused_by_name():
    with pytest.raises(UsageError, match="cell 'gru' has no equivalent in TensorFlow 1"):
        cells.get("gru").gate_order("tf1")


def test_a_layer_of_a_format_names_its_cell():
    named = {layer: [cell.name for cell in each] for layer, each in cells.by_layer("keras").items()}
    assert named == {"LSTM": ["lstm"], "GRU": ["gru", "gru-reset-before"], "SimpleRNN": ["rnn"]}
    tf1 = {"basic_lstm_cell", "lstm_cell", "basic_rnn_cell", "gru_cell", "gru_block_cell"}
    assert set(cells.by_layer("tf1")) == tf1


def test_rows_of_a_gate_are_its_block():
    assert cells.get("lstm").rows("f", 10) == slice(10, 20)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"name": "Two words"}, "name must be"),
        ({"gates": ()}, "gates must not be empty"),
        ({"states": ("c", "h")}, "states must start with 'h'"),
        ({"states": ("h", "m")}, "traced must include states"),
        ({"clampable": ("q",)}, "clampable must be traced values"),
        ({"forget_gate": "f"}, "forget_gate must be one of gates"),
        ({"hold_sums": {"f": 1.0}}, "hold_sums must be of gates"),
        ({"layouts": {"jax": FormatLayout(("RNN",), ("h",))}}, "layouts must be of torch, keras, onnx, tf1"),
        ({"layouts": {"onnx": FormatLayout(("RNN",), ("a", "b"))}}, "gates of a layout must be those"),
    ],
)
def test_a_contradictory_declaration_is_refused(changes, fragment):
    with pytest.raises(ValueError, match=fragment):
        dataclasses.replace(cells.get("rnn"), **changes)
