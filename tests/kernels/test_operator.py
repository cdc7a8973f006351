"""The operator as torch sees it."""

from __future__ import annotations

import itertools

import pytest
import torch

from scanline.kernels.operators import BIDIRECTIONAL, OPERATORS
from tests.kernels.cases import make, names_of, run
from tests.thorough import THOROUGH

LENGTHS = torch.tensor([3, 0, 4])
LSTM = OPERATORS["lstm"]
EVERY = {each.name: each for each in (*OPERATORS.values(), *BIDIRECTIONAL.values())}


# Operators differ in the number of states, weights and directions only; campaigns try all.
USUAL = ("lstm", "lstm_projected", "gru_bidirectional")


@pytest.fixture(
    params=[name if name in USUAL else pytest.param(name, marks=pytest.mark.campaign) for name in EVERY]
)
def operator(request):
    """The operator of each cell, for one direction and for both."""
    return EVERY[request.param]


def forward(operator):
    """The operator as torch knows it."""
    return getattr(torch.ops.scanline, operator.name).default


def options(operator, reverse=False, batch_first=True, precision="float32"):
    """The options in the order of the schema."""
    return (reverse, batch_first, precision) if operator.directions == 1 else (batch_first, precision)


CHOICES = list(
    itertools.product((torch.float32, torch.float64), (None, LENGTHS), (True, False), (True, False))
)
# Contains each pair of values of two choices.
PAIRWISE = [CHOICES[number] for number in (0b1111, 0b1100, 0b1010, 0b0110, 0b0001)]


@pytest.mark.parametrize(
    ("name", "dtype", "lengths", "batch_first", "keep"),
    [
        pytest.param(name, *choice, marks=() if name in USUAL else pytest.mark.campaign)
        for name in EVERY
        for choice in (CHOICES if name in USUAL or THOROUGH else PAIRWISE)
    ],
)
def test_opcheck_passes(name, dtype, lengths, batch_first, keep):
    operator = EVERY[name]
    arguments = [t.detach().to(dtype).requires_grad_(keep) for t in make(operator, 3, 4, 2, 5).values()]
    if not batch_first:
        arguments[0] = arguments[0].detach().transpose(0, 1).contiguous().requires_grad_(keep)
    call = (*arguments, lengths, *options(operator, True, batch_first), keep)
    torch.library.opcheck(forward(operator), call)


@pytest.mark.parametrize("wants", [(True, True, True), (False, False, True), (True, False, False)])
def test_opcheck_passes_for_the_backward_pass(operator, wants):
    arguments = [t.detach() for t in make(operator, 3, 4, 2, 5).values()]
    y, *last, reserve = forward(operator)(*arguments, LENGTHS, *options(operator), True)
    gradients = [torch.randn_like(y), *(torch.randn_like(state) for state in last)]
    gradients[1] = None
    backward = getattr(torch.ops.scanline, f"{operator.name}_backward").default
    call = (*gradients, *arguments, LENGTHS, y, reserve, *options(operator), *wants)
    torch.library.opcheck(backward, call)


def reversals(operator):
    """The directions to try, as keyword arguments."""
    return ({"reverse": False}, {"reverse": True}) if operator.directions == 1 else ({},)


def calling(operator, names, lengths=None, **given):
    """A function of the tensors called `names`."""
    return lambda *tensors: run(operator, dict(zip(names, tensors, strict=True)), lengths, **given)


def test_gradcheck_passes_in_float64(operator):
    arguments = {k: t.detach().double().requires_grad_() for k, t in make(operator, 3, 4, 2, 4).items()}
    for direction in reversals(operator):
        function = calling(operator, arguments, LENGTHS, **direction)
        assert torch.autograd.gradcheck(function, list(arguments.values()))


def test_it_compiles_as_one_call_and_gives_the_same(operator):
    arguments = make(operator, 3, 4, 2, 5)
    call, tensors = calling(operator, tuple(arguments), LENGTHS), list(arguments.values())

    def reads(*tensors):
        y, *last = call(*tensors)
        return (y.sin().sum() + sum(state.square().sum() for state in last),)

    torch._dynamo.reset()  # it compiles a function for a limited number of operators
    (loss,) = torch.compile(reads, fullgraph=True, backend="aot_eager")(*tensors)
    (expected,) = reads(*tensors)
    assert torch.equal(loss, expected)
    for got, want in zip(
        torch.autograd.grad(loss, tensors), torch.autograd.grad(expected, tensors), strict=True
    ):
        assert torch.equal(got, want)


def test_it_exports_with_batch_and_time_left_open(operator):
    class Reads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            arguments = make(operator, 3, 4, 2, 5)
            self.weights = torch.nn.ParameterList(list(arguments.values())[1 + len(operator.cell.states) :])

        def forward(self, x):
            return operator(x, (None,) * len(operator.cell.states), list(self.weights))[0]

    module = Reads().eval()
    N, T = torch.export.Dim("N", max=1000), torch.export.Dim("T", max=1000)
    with torch.no_grad():
        program = torch.export.export(module, (torch.randn(3, 4, 2),), dynamic_shapes=({0: N, 1: T},))
        x = torch.randn(7, 9, 2)
        assert torch.equal(program.module()(x), module(x))
    assert f"scanline.{operator.name}" in program.graph_module.code


def test_without_gradients_nothing_is_kept(operator):
    arguments = make(operator, 3, 4, 2, 5)
    with torch.no_grad():
        assert all(result.grad_fn is None for result in run(operator, arguments))
    tensors = [t.detach() for t in arguments.values()]
    *_, reserve = forward(operator)(*tensors, None, *options(operator), False)
    assert reserve.numel() == 0


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1])], ids=["full", "lengths"])
def test_second_derivatives(operator, lengths):
    arguments = {k: t.detach().double().requires_grad_() for k, t in make(operator, 2, 3, 1, 2).items()}
    for direction in reversals(operator)[-1:] if lengths is not None else reversals(operator)[:1]:
        function = calling(operator, arguments, lengths, **direction)
        # Fast: one random direction of the inputs instead of each element.
        fast = operator.name not in USUAL and not THOROUGH
        torch.autograd.gradgradcheck(function, list(arguments.values()), fast_mode=fast)


def test_second_derivatives_of_a_tensor_given_as_two_states():
    x, h, _, *weights = (t.detach().double() for t in make(LSTM, 2, 3, 1, 2).values())
    torch.autograd.gradgradcheck(lambda state: LSTM(x, (state, state), weights), (h.requires_grad_(),))


def test_a_recorded_backward_pass_has_the_bits_of_a_plain_one(operator):
    arguments = make(operator, 3, 4, 2, 5)
    total = run(operator, arguments)[0].square().sum()
    (plain,) = torch.autograd.grad(total, arguments["x"], retain_graph=True)
    (recorded,) = torch.autograd.grad(total, arguments["x"], create_graph=True)
    assert torch.equal(plain, recorded)
    assert recorded.requires_grad


def test_every_tensor_that_does_not_fit_is_named():
    arguments = make(LSTM, 3, 4, 2, 5)
    bad = arguments | {"h0": torch.zeros(2, 5), "bias_ih": torch.zeros(19), "c0": torch.zeros(3, 5).double()}
    with pytest.raises(
        RuntimeError, match=r"h0 must have shape \(3, 5\), got \(2, 5\); c0 must be torch.float32"
    ):
        run(LSTM, bad)
    with pytest.raises(RuntimeError, match=r"bias_ih must have shape \(20,\), got \(19,\)"):
        run(LSTM, bad)


def test_a_tensor_of_the_other_direction_that_does_not_fit_is_named():
    both = BIDIRECTIONAL["gru"]
    bad = make(both, 3, 4, 2, 5) | {"h0": torch.zeros(3, 5), "weight_hh_reverse": torch.zeros(15, 4)}
    message = r"h0 must have shape \(2, 3, 5\), .* weight_hh_reverse must have shape \(15, 5\), got \(15, 4\)"
    with pytest.raises(RuntimeError, match=message):
        run(both, bad)


@pytest.mark.parametrize("lengths", [[5, 1, 1], [-1, 1, 1]])
def test_lengths_out_of_range_are_refused(operator, lengths):
    with pytest.raises(RuntimeError, match=r"lengths must be in 0\.\.4, got"):
        run(operator, make(operator, 3, 4, 2, 5), torch.tensor(lengths))


def test_lengths_of_another_dtype_or_shape_are_refused():
    with pytest.raises(RuntimeError, match=r"lengths must be int64 of shape \(3,\)"):
        run(LSTM, make(LSTM, 3, 4, 2, 5), torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match=r"lengths must be int64 of shape \(3,\)"):
        run(LSTM, make(LSTM, 3, 4, 2, 5), torch.tensor([1, 2]))


def test_an_unknown_precision_is_refused(operator):
    with pytest.raises(RuntimeError, match="precision must be one of float32, bfloat16, got 'half'"):
        run(operator, make(operator, 3, 4, 2, 5), precision="half")


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2)])
def test_a_batch_of_nothing_gives_nothing(operator, shape):
    arguments = make(operator, 3, 4, 2, 5, states=False) | {"x": torch.zeros(shape)}
    y, *last = run(operator, arguments)
    directions = (2,) if operator.directions == 2 else ()
    width = arguments["weight_hh"].shape[1]  # of h
    assert y.shape == (*shape[:2], width * operator.directions)
    for state, of_state in zip(last, (width, 5), strict=False):
        assert state.shape == (*directions, shape[0], of_state)
        assert not state.any()


def test_results_own_their_memory_after_the_call():
    arguments = make(LSTM, 200, 50, 4, 64)  # large enough for the library's own blocks
    first = run(LSTM, arguments)[0]
    kept = first.detach().clone()
    for seed in range(3):
        run(LSTM, make(LSTM, 200, 50, 4, 64, seed=seed))
    assert torch.equal(first, kept)


def test_names_are_in_the_order_of_the_schema(operator):
    schema = forward(operator)._schema
    names = names_of(operator)
    assert tuple(argument.name for argument in schema.arguments[: len(names)]) == names


def test_a_projection_that_does_not_fit_is_named():
    both = BIDIRECTIONAL["lstm_projected"]
    bad = make(both, 3, 4, 2, 5) | {"weight_hr_reverse": torch.zeros(5, 3), "h0": torch.zeros(2, 3, 5)}
    message = r"h0 must have shape \(2, 3, 3\), .* weight_hr_reverse must have shape \(3, 5\), got \(5, 3\)"
    with pytest.raises(RuntimeError, match=message):
        run(both, bad)
    with pytest.raises(RuntimeError, match=r"expected weight_hr \(P, H\), got \(5,\)"):
        run(both, bad | {"weight_hr": torch.zeros(5)})
