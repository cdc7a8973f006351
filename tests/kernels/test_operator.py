"""The operator as torch sees it."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.test_lstm import NAMES, lstm, make

OPERATOR = torch.ops.scanline.lstm.default
BACKWARD = torch.ops.scanline.lstm_backward.default
LENGTHS = torch.tensor([3, 0, 4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_opcheck_passes(dtype, lengths, batch_first, keep):
    arguments = [t.detach().to(dtype).requires_grad_(keep) for t in make(3, 4, 2, 5).values()]
    if not batch_first:
        arguments[0] = arguments[0].detach().transpose(0, 1).contiguous().requires_grad_(keep)
    torch.library.opcheck(OPERATOR, (*arguments, lengths, True, batch_first, "float32", keep))


@pytest.mark.parametrize("wants", [(True, True, True), (False, False, True), (True, False, False)])
def test_opcheck_passes_for_the_backward_pass(wants):
    arguments = [t.detach() for t in make(3, 4, 2, 5).values()]
    y, _, _, reserve = OPERATOR(*arguments, LENGTHS, False, True, "float32", True)
    gradients = (torch.randn(3, 4, 5), None, torch.randn(3, 5))
    call = (*gradients, *arguments, LENGTHS, y, reserve, False, True, "float32", *wants)
    torch.library.opcheck(BACKWARD, call)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck_passes_in_float64(reverse):
    arguments = [t.detach().double().requires_grad_() for t in make(3, 4, 2, 5).values()]
    assert torch.autograd.gradcheck(lambda *a: lstm(*a, LENGTHS, reverse=reverse), arguments)


def test_it_compiles_as_one_call_and_gives_the_same():
    arguments = list(make(3, 4, 2, 5).values())

    def reads(*arguments):
        y, hn, cn = lstm(*arguments, LENGTHS)
        return (y.sin().sum() + hn.sum() * cn.sum(),)

    (loss,) = torch.compile(reads, fullgraph=True, backend="aot_eager")(*arguments)
    (expected,) = reads(*arguments)
    assert torch.equal(loss, expected)
    for got, want in zip(
        torch.autograd.grad(loss, arguments), torch.autograd.grad(expected, arguments), strict=True
    ):
        assert torch.equal(got, want)


def test_it_exports_with_batch_and_time_left_open():
    class Reads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = torch.nn.ParameterList(list(make(3, 4, 2, 5).values())[3:])

        def forward(self, x):
            return lstm(x, None, None, *self.weights)[0]

    module = Reads().eval()
    N, T = torch.export.Dim("N", max=1000), torch.export.Dim("T", max=1000)
    with torch.no_grad():
        program = torch.export.export(module, (torch.randn(3, 4, 2),), dynamic_shapes=({0: N, 1: T},))
        x = torch.randn(7, 9, 2)
        assert torch.equal(program.module()(x), module(x))
    assert "scanline.lstm" in program.graph_module.code


def test_without_gradients_nothing_is_kept():
    arguments = list(make(3, 4, 2, 5).values())
    with torch.no_grad():
        assert all(result.grad_fn is None for result in lstm(*arguments))
    *_, reserve = OPERATOR(*[t.detach() for t in arguments], None, False, True, "float32", False)
    assert reserve.numel() == 0


@pytest.mark.parametrize(
    ("lengths", "reverse"), [(None, False), (torch.tensor([3, 1]), True)], ids=["full", "lengths, reversed"]
)
def test_second_derivatives(lengths, reverse):
    arguments = [t.detach().double().requires_grad_() for t in make(2, 3, 1, 2).values()]
    torch.autograd.gradgradcheck(lambda *tensors: lstm(*tensors, lengths, reverse=reverse), arguments)


def test_second_derivatives_of_a_tensor_given_as_two_states():
    x, h, _, *weights = (t.detach().double() for t in make(2, 3, 1, 2).values())
    torch.autograd.gradgradcheck(lambda state: lstm(x, state, state, *weights), (h.requires_grad_(),))


def test_a_recorded_backward_pass_has_the_bits_of_a_plain_one():
    x, *others = make(3, 4, 2, 5).values()
    total = lstm(x, *others)[0].square().sum()
    (plain,) = torch.autograd.grad(total, x, retain_graph=True)
    (recorded,) = torch.autograd.grad(total, x, create_graph=True)
    assert torch.equal(plain, recorded)
    assert recorded.requires_grad


def test_every_tensor_that_does_not_fit_is_named():
    arguments = make(3, 4, 2, 5)
    bad = dict(arguments, h0=torch.zeros(2, 5), bias_ih=torch.zeros(19), c0=torch.zeros(3, 5).double())
    with pytest.raises(
        RuntimeError, match=r"h0 must have shape \(3, 5\), got \(2, 5\); c0 must be torch.float32"
    ):
        lstm(*bad.values())
    with pytest.raises(RuntimeError, match=r"bias_ih must have shape \(20,\), got \(19,\)"):
        lstm(*bad.values())


@pytest.mark.parametrize("lengths", [[5, 1, 1], [-1, 1, 1]])
def test_lengths_out_of_range_are_refused(lengths):
    with pytest.raises(RuntimeError, match=r"lengths must be in 0\.\.4, got"):
        lstm(*make(3, 4, 2, 5).values(), torch.tensor(lengths))


def test_lengths_of_another_dtype_or_shape_are_refused():
    with pytest.raises(RuntimeError, match=r"lengths must be int64 of shape \(3,\)"):
        lstm(*make(3, 4, 2, 5).values(), torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match=r"lengths must be int64 of shape \(3,\)"):
        lstm(*make(3, 4, 2, 5).values(), torch.tensor([1, 2]))


def test_an_unknown_precision_is_refused():
    with pytest.raises(RuntimeError, match="precision must be one of float32, bfloat16, got 'half'"):
        lstm(*make(3, 4, 2, 5).values(), precision="half")


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2)])
def test_a_batch_of_nothing_gives_nothing(shape):
    arguments = make(3, 4, 2, 5, states=False)
    y, hn, cn = lstm(torch.zeros(shape), *list(arguments.values())[1:])
    assert y.shape == (*shape[:2], 5)
    assert hn.shape == cn.shape == (shape[0], 5)
    assert not hn.any()


def test_results_own_their_memory_after_the_call():
    arguments = make(200, 50, 4, 64)  # large enough for the library's own blocks
    first = lstm(*arguments.values())[0]
    kept = first.detach().clone()
    for seed in range(3):
        lstm(*make(200, 50, 4, 64, seed=seed).values())
    assert torch.equal(first, kept)


def test_names_are_in_the_order_of_the_schema():
    schema = torch.ops.scanline.lstm.default._schema
    assert tuple(argument.name for argument in schema.arguments[:7]) == NAMES
