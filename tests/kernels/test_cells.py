"""Every kernel and cell against the reference in float64, on shapes that are multiples of nothing."""

from __future__ import annotations

import functools
import math
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.kernels.operators import BIDIRECTIONAL, OPERATORS
from tests.kernels.cases import check, compute, make, names_of, run, weighted


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
def test_results_and_gradients_equal_the_references(precision, operator, N, T, F, H, reverse):
    check(precision, operator, make(operator, N, T, F, H), reverse=reverse)


# The same 25 examples at every run; SCANLINE_TEST_EXAMPLES=200 looks at so many new ones.
EXAMPLES = int(os.environ.get("SCANLINE_TEST_EXAMPLES", "25"))
ANEW = "SCANLINE_TEST_EXAMPLES" in os.environ
# Multiply-adds of a forward pass: what would be more gets fewer sequences and steps.
MOST_PRODUCTS = float(os.environ.get("SCANLINE_TEST_PRODUCTS", "3e7"))


def test_random_shapes_lengths_and_directions_equal_the_references(precision, operator):
    settled = settings(
        # The cells share the driver, of which the LSTM's examples try most.
        max_examples=EXAMPLES if operator.name == "lstm" else max(1, EXAMPLES // 2),
        derandomize=not ANEW,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )

    @settled
    @given(data=st.data())
    def compare(data):
        F, H = data.draw(st.integers(1, 300), "F"), data.draw(st.integers(1, 300), "H")
        steps = max(1, int(MOST_PRODUCTS / (len(operator.cell.gates) * H * (F + H))))
        N = data.draw(st.integers(1, min(300, steps)), "N")
        T = data.draw(st.integers(1, min(100, max(1, steps // N))), "T")
        lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N), "lengths")
        states, biases = data.draw(st.booleans(), "states"), data.draw(st.booleans(), "biases")
        arguments = make(operator, N, T, F, H, data.draw(st.integers(0, 99), "seed"), states, biases)
        lengths = None if lengths is None else torch.tensor(lengths)
        if lengths is not None and not lengths.any():
            lengths[0] = 1
        reverse = data.draw(st.booleans(), "reverse")
        check(precision, operator, arguments, lengths=lengths, reverse=reverse)

    compare()


def test_more_sequences_than_a_group_holds_and_more_steps_than_are_collected(precision, operator):
    check(precision, operator, make(operator, 300, 100, 3, 20), lengths=torch.arange(300) % 101)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_only_roundings(precision, operator, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        check(precision, operator, make(operator, 37, 5, 6, 24), lengths=torch.arange(37) % 6)
    finally:
        torch.set_num_threads(before)


def test_equal_calls_give_equal_bits(precision, operator):
    arguments = make(operator, 150, 12, 9, 40)
    lengths = torch.arange(150) % 13
    first, first_gradients = compute(run, operator, arguments, lengths=lengths, precision=precision)
    for _ in range(5):
        again, again_gradients = compute(run, operator, arguments, lengths=lengths, precision=precision)
        assert all(map(torch.equal, first, again))
        assert all(torch.equal(first_gradients[name], again_gradients[name]) for name in first_gradients)


def test_a_sequence_gets_the_same_answer_alone_and_in_a_batch(precision, operator):
    arguments = make(operator, 20, 9, 5, 17)
    lengths = torch.arange(20) % 9 + 1
    together = run(operator, arguments, lengths, precision=precision)[0]
    for n in (0, 7, 19):
        alone = {name: t[n : n + 1] if name in ("x", "h0", "c0") else t for name, t in arguments.items()}
        own = run(operator, alone, lengths[n : n + 1], precision=precision)[0][0]
        assert torch.equal(own, together[n])


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_what_stands_in_the_padding_is_never_read(precision, operator, reverse):
    arguments = make(operator, 5, 6, 3, 8)
    lengths = torch.tensor([6, 1, 0, 3, 4])
    padding = torch.arange(6) >= lengths[:, None]
    poisoned = dict(arguments, x=arguments["x"].detach().masked_fill(padding[:, :, None], math.nan))
    options = {"lengths": lengths, "reverse": reverse, "precision": precision}
    expected, gradients = compute(run, operator, arguments, **options)
    results, poisoned_gradients = compute(run, operator, poisoned, **options)
    assert all(map(torch.equal, results, expected))
    assert all(torch.equal(poisoned_gradients[name], gradients[name]) for name in gradients)
    assert not results[0][padding].any()
    assert not poisoned_gradients["x"][padding].any()


def test_states_stand_still_past_a_sequences_end(precision, operator):
    arguments = make(operator, 3, 4, 2, 5)
    y, hn, *others = run(operator, arguments, torch.tensor([0, 2, 4]), precision=precision)
    assert torch.equal(hn[0], arguments["h0"][0])
    assert all(torch.equal(cn[0], arguments["c0"][0]) for cn in others)
    assert torch.equal(hn[1], y[1, 1])
    assert torch.equal(hn[2], y[2, 3])


def test_strides_of_inputs_and_gradients_are_minded(precision, operator):
    arguments = make(operator, 6, 5, 4, 10)
    plain, plain_gradients = compute(run, operator, arguments, precision=precision)
    wide = torch.randn(5, 6, 9)
    wide[:, :, 2:6] = arguments["x"].detach().transpose(0, 1)
    view = wide[:, :, 2:6].transpose(0, 1).requires_grad_()  # (N, T, F), of which nothing is contiguous
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()} | {"x": view}
    results = run(operator, leaves, precision=precision)
    assert all(map(torch.equal, results, plain))
    weights = [torch.randn(r.shape, generator=g) for g in [torch.Generator().manual_seed(1)] for r in results]
    turned = weights[0].transpose(0, 1).contiguous().transpose(0, 1)
    gradients = torch.autograd.grad(results, list(leaves.values()), [turned, *weights[1:]])
    assert all(torch.equal(g, plain_gradients[name]) for g, name in zip(gradients, leaves, strict=True))


def test_inputs_whose_features_are_not_contiguous(precision, operator):
    arguments = make(operator, 6, 5, 4, 10)
    x = arguments["x"].detach().transpose(1, 2).contiguous().transpose(1, 2)
    expected = run(operator, arguments, precision=precision)[0]
    assert torch.equal(run(operator, arguments | {"x": x}, precision=precision)[0], expected)


def test_steps_first_is_the_same_turned(precision, operator):
    arguments = make(operator, 6, 5, 4, 10)
    turned = dict(arguments, x=arguments["x"].detach().transpose(0, 1).contiguous())
    expected, expected_gradients = compute(run, operator, arguments, precision=precision)
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in turned.items()}
    y, *last = run(operator, leaves, precision=precision, batch_first=False)
    assert y.shape == (5, 6, *expected[0].shape[2:])
    assert y.is_contiguous()
    assert torch.equal(y.transpose(0, 1), expected[0])
    weighted((y.transpose(0, 1), *last)).backward()
    assert torch.equal(leaves["x"].grad.transpose(0, 1), expected_gradients["x"])
    assert torch.equal(leaves["weight_hh"].grad, expected_gradients["weight_hh"])


MODULES = {
    "lstm": torch.nn.LSTM,
    "lstm_projected": functools.partial(torch.nn.LSTM, proj_size=9),
    "gru": torch.nn.GRU,
    "rnn_tanh": torch.nn.RNN,
    "rnn_relu": functools.partial(torch.nn.RNN, nonlinearity="relu"),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_spread_as_in_torch_and_no_further(precision, operator, value):
    torch.manual_seed(0)
    theirs = MODULES[operator.name](4, 21, batch_first=True)
    x = torch.randn(14, 5, 4)
    x[3, 2, 1] = value
    weights = [p.detach().requires_grad_() for p in theirs.parameters()]
    mine, yours = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, *last = operator(mine, (None,) * len(operator.cell.states), weights, precision=precision)
    their_y, their_last = theirs(yours)
    their_last = (their_last,) if isinstance(their_last, torch.Tensor) else their_last
    for got, expected in zip((y, *last), (their_y, *(state[0] for state in their_last)), strict=True):
        assert torch.equal(got.isnan(), expected.isnan())
    y.sum().backward()
    their_y.sum().backward()
    assert torch.equal(mine.grad.isnan(), yours.grad.isnan())
    for ours, weight in zip(weights, theirs.parameters(), strict=True):
        assert torch.equal(ours.grad.isnan(), weight.grad.isnan())


def test_only_what_is_wanted_is_differentiated(precision, operator):
    arguments = make(operator, 4, 3, 2, 6)
    for wanted in names_of(operator):
        leaves = {name: tensor.detach().requires_grad_(name == wanted) for name, tensor in arguments.items()}
        weighted(run(operator, leaves, precision=precision)).backward()
        _, every = compute(run, operator, arguments, precision=precision)
        assert torch.equal(leaves[wanted].grad, every[wanted])


def test_a_result_without_gradient_counts_as_zeros(precision, operator):
    arguments = make(operator, 4, 3, 2, 6)
    whole = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
    run(operator, whole, precision=precision)[1].square().sum().backward()
    again = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
    run(operator, again, precision=precision)[0][:, -1].square().sum().backward()
    for name in arguments:
        torch.testing.assert_close(again[name].grad, whole[name].grad, rtol=1e-5, atol=1e-7)


def test_a_graph_can_be_walked_twice(precision, operator):
    arguments = make(operator, 4, 3, 2, 6)
    loss = weighted(run(operator, arguments, precision=precision))
    first = torch.autograd.grad(loss, arguments["x"], retain_graph=True)[0]
    run(operator, make(operator, 4, 3, 2, 6, seed=5), precision=precision)
    assert torch.equal(torch.autograd.grad(loss, arguments["x"])[0], first)


@pytest.mark.parametrize("lengths", [None, 7])
def test_one_sequence_shared_by_threads_equals_one_thread_to_the_bit(precision, operator, lengths):
    arguments = make(operator, 1, 20, 40, 150)  # large enough to be shared
    lengths = None if lengths is None else torch.tensor([lengths])
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            results.append(compute(run, operator, arguments, lengths=lengths, precision=precision))
    finally:
        torch.set_num_threads(before)
    for forward, gradients in results[1:]:
        assert all(map(torch.equal, forward, results[0][0]))
        assert all(torch.equal(gradients[name], results[0][1][name]) for name in gradients)


def test_another_number_of_threads_for_the_backward_pass_changes_nothing(precision, operator):
    """The reserve was once read in the order of the other number's groups."""
    arguments = make(operator, 5, 6, 3, 9)
    lengths = torch.tensor([1, 6, 2, 5, 3])
    before = torch.get_num_threads()
    gradients = []
    try:
        for threads in (2, 1, 3):
            torch.set_num_threads(2)
            total = weighted(run(operator, arguments, lengths, precision=precision))
            torch.set_num_threads(threads)
            gradients.append(torch.autograd.grad(total, list(arguments.values())))
    finally:
        torch.set_num_threads(before)
    assert all(all(map(torch.equal, gradients[0], others)) for others in gradients[1:])


def test_large_candidates_of_a_gru_have_finite_gradients(precision):
    """Kept values have half precision in bfloat16, whose largest number is 65504."""
    operator = OPERATORS["gru"]
    arguments = make(operator, 2, 3, 2, 5)
    arguments["bias_hh"] = torch.full((15,), 1e6).requires_grad_()
    _, gradients = compute(run, operator, arguments, precision=precision)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(13, 6, 5, 19), (1, 9, 40, 150)], ids=["batch", "one sequence"])
def test_both_directions_have_the_results_of_each_alone(precision, operator, threads, shape):
    both, N = BIDIRECTIONAL[operator.name], shape[0]
    arguments = make(both, *shape)
    lengths = torch.arange(N) % 6 + 1
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        results, gradients = compute(run, both, arguments, lengths=lengths, precision=precision)
        y, *last = results
        dx = torch.zeros(shape[:3])
        for k, suffix in enumerate(("", "_reverse")):
            own = {
                name: arguments[name][k] if name in ("h0", "c0") else arguments[name + suffix * (name != "x")]
                for name in names_of(operator)
            }
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
            one = run(operator, leaves, lengths, reverse=k == 1, precision=precision)
            width = y.shape[2] // 2
            half = slice(k * width, (k + 1) * width)
            for got, expected in zip((y[:, :, half], *(s[k] for s in last)), one, strict=True):
                assert torch.equal(got, expected)
            generator = torch.Generator().manual_seed(1)
            weights = [torch.randn(r.shape, generator=generator) for r in results]
            own_weights = [weights[0][:, :, half], *(w[k] for w in weights[1:])]
            torch.autograd.backward(one, [w.contiguous() for w in own_weights])
            dx += leaves["x"].grad
            for name in names_of(operator)[1:]:
                got = gradients[name][k] if name in ("h0", "c0") else gradients[name + suffix]
                torch.testing.assert_close(got, leaves[name].grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradients["x"], dx, rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)
