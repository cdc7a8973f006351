"""Every kernel against the reference in float64, on shapes that are multiples of nothing."""

from __future__ import annotations

import math
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.cells import Weights
from scanline.cells.lstm import CELL
from scanline.kernels import reference
from scanline.kernels.operators import OPERATORS

BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2}  # of the largest value of each result
NAMES = ("x", "h0", "c0", "weight_ih", "weight_hh", "bias_ih", "bias_hh")


def lstm(x, h0, c0, weight_ih, weight_hh, bias_ih=None, bias_hh=None, lengths=None, **options):
    """The operator with positional arguments."""
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    return OPERATORS["lstm"](x, (h0, c0), weights, lengths, **options)


def make(N, T, F, H, seed=0, states=True, biases=True):
    """Random arguments by name, as leaves."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return torch.randn(shape, generator=generator).mul_(scale).requires_grad_()

    small = 1 / math.sqrt(H)
    return {
        "x": normal(N, T, F),
        "h0": normal(N, H, scale=0.5) if states else None,
        "c0": normal(N, H) if states else None,
        "weight_ih": normal(4 * H, F, scale=1 / math.sqrt(F)),
        "weight_hh": normal(4 * H, H, scale=small),
        "bias_ih": normal(4 * H, scale=small) if biases else None,
        "bias_hh": normal(4 * H, scale=small) if biases else None,
    }


def scan(x, h0, c0, weight_ih, weight_hh, bias_ih=None, bias_hh=None, lengths=None, reverse=False):
    """The reference with the operator's arguments: y, hn, cn."""
    zeros = x.new_zeros(len(x), weight_hh.shape[1])
    states = (zeros if h0 is None else h0, zeros if c0 is None else c0)
    y, last = reference.scan(
        CELL, x, states, Weights(weight_ih, weight_hh, bias_ih, bias_hh), lengths, reverse
    )
    return y, *last


def weighted(results, seed=1):
    """A scalar in which every number of the results counts, differently."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(r.shape, generator=generator).to(r.dtype) for r in results]
    return sum((r * w).sum() for r, w in zip(results, weights, strict=True))


def compute(function, arguments, **options):
    """(results, gradients by name) of `function`."""
    leaves = {
        name: tensor.detach().clone().requires_grad_()
        for name, tensor in arguments.items()
        if tensor is not None
    }
    results = function(*(leaves.get(name) for name in NAMES), **options)
    weighted(results).backward()
    return [r.detach() for r in results], {name: leaf.grad for name, leaf in leaves.items()}


def assert_near(got, expected, bound, name, least=1e-30):
    largest = max(expected.abs().max().item(), least)
    worst = (got.double() - expected).abs().max().item()
    assert worst <= bound * largest, f"{name}: {worst:.3g} off where the largest is {largest:.3g}"


def check(precision, arguments, **options):
    """Against the float64 reference; the bound is relative to the largest value of each tensor.

    In layers of fewer than 8 units, and for bfloat16 in batches of a handful of numbers, even the largest may
    be a small difference of large sums: there it is relative to a tenth of the largest of all gradients, if
    that is more. And one rounded weight is all that a few units' many steps and sequences see, so that
    bfloat16's error does not average out: there its bound is 5e-2.
    """
    exact = {name: None if tensor is None else tensor.double() for name, tensor in arguments.items()}
    expected, expected_gradients = compute(scan, exact, **options)
    results, gradients = compute(lstm, arguments, precision=precision, **options)
    rough, bound = precision == "bfloat16", BOUNDS[precision]
    narrow = results[0].shape[2] < 8
    if rough and narrow:
        bound = 5e-2
    for name, got, want in zip(("y", "hn", "cn"), results, expected, strict=True):
        assert_near(got, want, bound, name)
    few = narrow or (rough and results[1].numel() < 50)
    least = 0.1 * max(g.abs().max().item() for g in expected_gradients.values()) if few else 1e-30
    for name, want in expected_gradients.items():
        assert_near(gradients[name], want, bound, f"gradient of {name}", least)


@pytest.mark.parametrize(
    ("N", "T", "F", "H"),
    [
        (1, 1, 1, 1),
        (2, 3, 1, 5),
        (7, 5, 28, 16),
        (13, 4, 3, 33),
        (128, 6, 28, 128),
        (131, 3, 17, 70),
        (5, 2, 65, 300),
    ],
)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_results_and_gradients_equal_the_references(precision, N, T, F, H, reverse):
    check(precision, make(N, T, F, H), reverse=reverse)


# The same 25 examples at every run; SCANLINE_TEST_EXAMPLES=200 looks at so many new ones.
EXAMPLES = int(os.environ.get("SCANLINE_TEST_EXAMPLES", "25"))
ANEW = "SCANLINE_TEST_EXAMPLES" in os.environ
# Multiply-adds of a forward pass: what would be more gets fewer sequences and steps.
MOST_PRODUCTS = float(os.environ.get("SCANLINE_TEST_PRODUCTS", "3e7"))


@settings(max_examples=EXAMPLES, derandomize=not ANEW, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_shapes_lengths_and_directions_equal_the_references(precision, data):
    F, H = data.draw(st.integers(1, 300), "F"), data.draw(st.integers(1, 300), "H")
    steps = max(1, int(MOST_PRODUCTS / (4 * H * (F + H))))
    N = data.draw(st.integers(1, min(300, steps)), "N")
    T = data.draw(st.integers(1, min(100, max(1, steps // N))), "T")
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N), "lengths")
    states, biases = data.draw(st.booleans(), "states"), data.draw(st.booleans(), "biases")
    arguments = make(N, T, F, H, data.draw(st.integers(0, 99), "seed"), states, biases)
    lengths = None if lengths is None else torch.tensor(lengths)
    if lengths is not None and not lengths.any():
        lengths[0] = 1
    check(precision, arguments, lengths=lengths, reverse=data.draw(st.booleans(), "reverse"))


def test_more_sequences_than_a_group_holds_and_more_steps_than_are_collected(precision):
    check(precision, make(300, 100, 3, 20), lengths=torch.arange(300) % 101)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_only_roundings(precision, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        check(precision, make(37, 5, 6, 24), lengths=torch.arange(37) % 6)
    finally:
        torch.set_num_threads(before)


def test_equal_calls_give_equal_bits(precision):
    arguments = make(150, 12, 9, 40)
    lengths = torch.arange(150) % 13
    first, first_gradients = compute(lstm, arguments, lengths=lengths, precision=precision)
    for _ in range(5):
        again, again_gradients = compute(lstm, arguments, lengths=lengths, precision=precision)
        assert all(map(torch.equal, first, again))
        assert all(torch.equal(first_gradients[name], again_gradients[name]) for name in first_gradients)


def test_a_sequence_gets_the_same_answer_alone_and_in_a_batch(precision):
    arguments = make(20, 9, 5, 17)
    lengths = torch.arange(20) % 9 + 1
    together = lstm(*arguments.values(), lengths, precision=precision)[0]
    for n in (0, 7, 19):
        alone = {name: t[n : n + 1] if name in ("x", "h0", "c0") else t for name, t in arguments.items()}
        assert torch.equal(lstm(*alone.values(), lengths[n : n + 1], precision=precision)[0][0], together[n])


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_what_stands_in_the_padding_is_never_read(precision, reverse):
    arguments = make(5, 6, 3, 8)
    lengths = torch.tensor([6, 1, 0, 3, 4])
    padding = torch.arange(6) >= lengths[:, None]
    poisoned = dict(arguments, x=arguments["x"].detach().masked_fill(padding[:, :, None], math.nan))
    options = {"lengths": lengths, "reverse": reverse, "precision": precision}
    expected, gradients = compute(lstm, arguments, **options)
    results, poisoned_gradients = compute(lstm, poisoned, **options)
    assert all(map(torch.equal, results, expected))
    assert all(torch.equal(poisoned_gradients[name], gradients[name]) for name in gradients)
    assert not results[0][padding].any()
    assert not poisoned_gradients["x"][padding].any()


def test_states_stand_still_past_a_sequences_end(precision):
    arguments = make(3, 4, 2, 5)
    y, hn, cn = lstm(*arguments.values(), torch.tensor([0, 2, 4]), precision=precision)
    assert torch.equal(hn[0], arguments["h0"][0])
    assert torch.equal(cn[0], arguments["c0"][0])
    assert torch.equal(hn[1], y[1, 1])
    assert torch.equal(hn[2], y[2, 3])


def test_strides_of_inputs_and_gradients_are_minded(precision):
    arguments = make(6, 5, 4, 10)
    plain, plain_gradients = compute(lstm, arguments, precision=precision)
    wide = torch.randn(5, 6, 9)
    wide[:, :, 2:6] = arguments["x"].detach().transpose(0, 1)
    view = wide[:, :, 2:6].transpose(0, 1).requires_grad_()  # (N, T, F), of which nothing is contiguous
    others = [arguments[name].detach().requires_grad_() for name in NAMES[1:]]
    results = lstm(view, *others, precision=precision)
    assert all(map(torch.equal, results, plain))
    weights = [torch.randn(r.shape, generator=g) for g in [torch.Generator().manual_seed(1)] for r in results]
    turned = weights[0].transpose(0, 1).contiguous().transpose(0, 1)
    gradients = torch.autograd.grad(results, [view, *others], [turned, *weights[1:]])
    assert all(torch.equal(g, plain_gradients[name]) for g, name in zip(gradients, NAMES, strict=True))


def test_inputs_whose_features_are_not_contiguous(precision):
    arguments = make(6, 5, 4, 10)
    x = arguments["x"].detach().transpose(1, 2).contiguous().transpose(1, 2)
    others = [arguments[name] for name in NAMES[1:]]
    assert torch.equal(
        lstm(x, *others, precision=precision)[0], lstm(*arguments.values(), precision=precision)[0]
    )


def test_steps_first_is_the_same_turned(precision):
    arguments = make(6, 5, 4, 10)
    turned = dict(arguments, x=arguments["x"].detach().transpose(0, 1).contiguous())
    expected, expected_gradients = compute(lstm, arguments, precision=precision)
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in turned.items()}
    y, hn, cn = lstm(*leaves.values(), precision=precision, batch_first=False)
    assert y.shape == (5, 6, 10)
    assert y.is_contiguous()
    assert torch.equal(y.transpose(0, 1), expected[0])
    weighted((y.transpose(0, 1), hn, cn)).backward()
    assert torch.equal(leaves["x"].grad.transpose(0, 1), expected_gradients["x"])
    assert torch.equal(leaves["weight_hh"].grad, expected_gradients["weight_hh"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_spread_as_in_torch_and_no_further(precision, value):
    theirs = torch.nn.LSTM(4, 21, batch_first=True)
    x = torch.randn(14, 5, 4, generator=torch.Generator().manual_seed(0))
    x[3, 2, 1] = value
    weights = [p.detach().requires_grad_() for p in theirs.parameters()]
    mine, yours = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, _, cn = lstm(mine, None, None, *weights, precision=precision)
    their_y, (_, their_cn) = theirs(yours)
    assert torch.equal(y.isnan(), their_y.isnan())
    assert torch.equal(cn.isnan(), their_cn[0].isnan())
    y.sum().backward()
    their_y.sum().backward()
    assert torch.equal(mine.grad.isnan(), yours.grad.isnan())
    for ours, weight in zip(weights, theirs.parameters(), strict=True):
        assert torch.equal(ours.grad.isnan(), weight.grad.isnan())


def test_only_what_is_wanted_is_differentiated(precision):
    arguments = make(4, 3, 2, 6)
    for wanted in NAMES:
        leaves = {name: tensor.detach().requires_grad_(name == wanted) for name, tensor in arguments.items()}
        weighted(lstm(*leaves.values(), precision=precision)).backward()
        _, every = compute(lstm, arguments, precision=precision)
        assert torch.equal(leaves[wanted].grad, every[wanted])


def test_a_result_without_gradient_counts_as_zeros(precision):
    arguments = make(4, 3, 2, 6)
    whole = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
    lstm(*whole.values(), precision=precision)[1].square().sum().backward()
    y, _, _ = lstm(
        *(again := {k: v.detach().requires_grad_() for k, v in arguments.items()}).values(),
        precision=precision,
    )
    y[:, -1].square().sum().backward()
    for name in NAMES:
        torch.testing.assert_close(again[name].grad, whole[name].grad, rtol=1e-5, atol=1e-7)


def test_a_graph_can_be_walked_twice(precision):
    arguments = make(4, 3, 2, 6)
    loss = weighted(lstm(*arguments.values(), precision=precision))
    first = torch.autograd.grad(loss, arguments["x"], retain_graph=True)[0]
    lstm(*make(4, 3, 2, 6, seed=5).values(), precision=precision)
    assert torch.equal(torch.autograd.grad(loss, arguments["x"])[0], first)


@pytest.mark.parametrize("lengths", [None, 7])
def test_one_sequence_shared_by_threads_equals_one_thread_to_the_bit(precision, lengths):
    arguments = make(1, 20, 40, 150)  # large enough to be shared
    lengths = None if lengths is None else torch.tensor([lengths])
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            results.append(compute(lstm, arguments, lengths=lengths, precision=precision))
    finally:
        torch.set_num_threads(before)
    for forward, gradients in results[1:]:
        assert all(map(torch.equal, forward, results[0][0]))
        assert all(torch.equal(gradients[name], results[0][1][name]) for name in gradients)
