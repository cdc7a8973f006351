"""`scanline.nn.LSTM`, `GRU` and `RNN` in the place of torch.nn's."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import scanline.nn
from scanline.errors import UsageError
from scanline.kernels import backends, library

# torch's own path warns once that oneDNN knows no projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

NATIVE = pytest.mark.skipif(library.load() is None, reason=f"no native library: {library.why_absent()}")
SHAPES = [
    {},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"batch_first": True, "bias": False},
    {"proj_size": 2, "num_layers": 2},
    {"proj_size": 4, "num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
]


OTHERS = [("GRU", options) for options in SHAPES if "proj_size" not in options] + [
    ("RNN", options | {"nonlinearity": nonlinearity})
    for options in SHAPES
    if "proj_size" not in options
    for nonlinearity in ("tanh", "relu")
]
EVERY = [("LSTM", options) for options in SHAPES] + OTHERS
EVERY_OPTIONS = pytest.mark.parametrize(("kind", "options"), EVERY, ids=str)


@pytest.fixture(params=["auto", "torch"])
def backend(request):
    return request.param


def pair(backend="auto", kind="LSTM", **options):
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(3, 6, **options)
    ours = getattr(scanline.nn, kind)(3, 6, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def states_for(module, n):
    """Random hx for a batch of n."""
    rows = (2 if module.bidirectional else 1) * module.num_layers
    h0 = torch.randn(rows, n, module.proj_size or module.hidden_size)
    return (h0, torch.randn(rows, n, module.hidden_size)) if isinstance(module, nn.LSTM) else h0


def listed(states):
    """hn or (hn, cn) as a tuple."""
    return (states,) if isinstance(states, torch.Tensor) else tuple(states)


def assert_same_results_and_gradients(ours, theirs, call):
    results, expected = call(ours), call(theirs)
    for got, want in zip(results, expected, strict=True):
        torch.testing.assert_close(got, want, atol=2e-6, rtol=1e-5)
    sum(r.square().sum() for r in results).backward()
    sum(r.square().sum() for r in expected).backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], atol=1e-5, rtol=1e-4)


@EVERY_OPTIONS
@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from states"])
def test_it_is_torchs_module(backend, kind, options, given):
    ours, theirs = pair(backend, kind, **options)
    x = torch.randn(4, 5, 3)
    states = states_for(theirs, x.shape[0] if theirs.batch_first else x.shape[1]) if given else None

    def call(module):
        y, last = module(x, states)
        return y, *listed(last)

    assert_same_results_and_gradients(ours, theirs, call)


@EVERY_OPTIONS
def test_a_single_sequence_needs_no_batch(backend, kind, options):
    ours, theirs = pair(backend, kind, **options)
    own = tuple(state[:, 0] for state in listed(states_for(theirs, 1)))
    for states in (None, own if kind == "LSTM" else own[0]):
        (y, got), (their_y, expected) = ours(torch.ones(5, 3), states), theirs(torch.ones(5, 3), states)
        torch.testing.assert_close((y, *listed(got)), (their_y, *listed(expected)))


@EVERY_OPTIONS
def test_lengths_are_packed_sequences_without_the_packing(backend, kind, options):
    ours, theirs = pair(backend, kind, **options)
    lengths = torch.tensor([4, 1, 6, 3])
    x = torch.randn(4, 6, 3) if theirs.batch_first else torch.randn(6, 4, 3)
    states = states_for(theirs, 4)
    packed = pack_padded_sequence(x, lengths, theirs.batch_first, enforce_sorted=False)

    def call(module):
        if module is theirs:
            y, last = module(packed, states)
            y = pad_packed_sequence(y, theirs.batch_first, total_length=6)[0]
        else:
            y, last = module(x, states, lengths)
        return y, *listed(last)

    assert_same_results_and_gradients(ours, theirs, call)


@EVERY_OPTIONS
def test_with_lengths_every_sequence_is_as_if_it_were_alone(backend, kind, options):
    ours, theirs = pair(backend, kind, **options)
    axis = 0 if ours.batch_first else 1
    lengths = torch.tensor([4, 1, 6, 3])
    x = torch.randn(4, 6, 3) if ours.batch_first else torch.randn(6, 4, 3)
    inside = torch.arange(6) < lengths[:, None]
    padded = x.masked_fill(~(inside if ours.batch_first else inside.T)[:, :, None], torch.nan)
    states = states_for(theirs, 4)
    y, last = ours(padded, states, lengths)
    for n, length in enumerate(lengths.tolist()):
        own = tuple(state[:, n] for state in listed(states))
        expected, final = theirs(x.select(axis, n)[:length], own if kind == "LSTM" else own[0])
        torch.testing.assert_close(y.select(axis, n)[:length], expected, atol=2e-6, rtol=1e-5)
        assert not y.select(axis, n)[length:].any()
        for got, want in zip(listed(last), listed(final), strict=True):
            torch.testing.assert_close(got[:, n], want, atol=2e-6, rtol=1e-5)


@EVERY_OPTIONS
@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences_come_back_packed(backend, kind, options, sort):
    ours, theirs = pair(backend, kind, **options)
    sizes = [6, 4, 4, 1] if sort else [4, 1, 6, 4]
    packed = pack_sequence([torch.randn(size, 3) for size in sizes], enforce_sorted=sort)
    states = states_for(theirs, 4)

    def call(module):
        y, last = module(packed, states)
        assert torch.equal(y.batch_sizes, packed.batch_sizes)
        if not sort:
            assert torch.equal(y.sorted_indices, packed.sorted_indices)
            assert torch.equal(y.unsorted_indices, packed.unsorted_indices)
        return y.data, *listed(last)

    assert_same_results_and_gradients(ours, theirs, call)


KINDS = pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])


@KINDS
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_of_no_steps_keeps_its_states(backend, kind, reverse):
    module, _ = pair(backend, kind, bidirectional=reverse)
    states = states_for(module, 2)
    y, last = module(torch.full((4, 2, 3), torch.nan), states, torch.tensor([0, 0]))
    assert not y.any()
    assert all(map(torch.equal, listed(last), listed(states)))


@KINDS
def test_weights_go_both_ways(kind):
    ours, theirs = pair(kind=kind, num_layers=2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert isinstance(ours, type(theirs))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_it_starts_from_torchs_weights():
    torch.manual_seed(3)
    theirs = nn.LSTM(3, 6)
    torch.manual_seed(3)
    ours = scanline.nn.LSTM(3, 6)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


@KINDS
@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 2, 3, 1])], ids=["full", "lengths"])
def test_dropout_lies_between_layers_and_only_in_training(kind, lengths):
    ours, _ = pair(kind=kind, num_layers=2, dropout=0.5)
    x = torch.randn(5, 4, 3)
    assert not torch.equal(ours(x, lengths=lengths)[0], ours(x, lengths=lengths)[0])
    ours.eval()
    assert torch.equal(ours(x, lengths=lengths)[0], ours(x, lengths=lengths)[0])


def test_a_copy_computes_the_same():
    ours, _ = pair(num_layers=2)
    x = torch.randn(5, 4, 3)
    assert torch.equal(copy.deepcopy(ours)(x)[0], ours(x)[0])


def test_weights_changed_in_any_way_count_at_once():
    ours, theirs = pair()
    x = torch.randn(5, 4, 3)
    with torch.inference_mode():
        ours(x)
    ours.weight_hh_l0.data.mul_(2)
    theirs.weight_hh_l0.data.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])


@NATIVE
def test_under_autocast_the_products_are_bfloat16_and_the_outputs_float32():
    ours, _ = pair()
    exact = ours(torch.ones(5, 4, 3))[0]
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = ours(torch.ones(5, 4, 3, dtype=torch.bfloat16))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, exact, atol=1e-2, rtol=0)
    if library.load().kernel(library.BFLOAT16):
        assert not torch.equal(y, exact)


@NATIVE
def test_weights_in_bfloat16_give_outputs_in_bfloat16():
    ours, _ = pair()
    exact = ours(torch.ones(5, 4, 3))[0]
    ours.bfloat16()
    y, (h, c) = ours(torch.ones(5, 4, 3).bfloat16())
    assert y.dtype == h.dtype == c.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, atol=2e-2, rtol=0)
    y.sum().backward()
    assert ours.weight_hh_l0.grad.dtype == torch.bfloat16


@NATIVE
def test_precision_is_chosen_by_name():
    exact, _ = pair()
    rough = scanline.nn.LSTM(3, 6, precision="bfloat16")
    rough.load_state_dict(exact.state_dict())
    torch.testing.assert_close(
        rough(torch.ones(5, 4, 3))[0], exact(torch.ones(5, 4, 3))[0], atol=1e-2, rtol=0
    )
    kept = scanline.nn.LSTM(3, 6, precision="float32")
    kept.load_state_dict(exact.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = kept(torch.ones(5, 4, 3))
    assert torch.equal(y, exact(torch.ones(5, 4, 3))[0])


def test_float64_runs_on_torchs_path():
    assert pair()[0].double().path() == "torch"
    assert pair(proj_size=2)[0].double().path() == "torch"
    assert pair(backend="torch")[0].path() == "torch"


@NATIVE
@EVERY_OPTIONS
def test_what_can_runs_natively(kind, options):
    assert pair(kind=kind, **options)[0].path() == "native"
    assert pair("native", kind, **options)[0].path() == "native"


def test_native_where_it_cannot_be_had_is_an_error(monkeypatch):
    with pytest.raises(UsageError, match="not possible: the native library computes float32"):
        scanline.nn.LSTM(3, 6, backend="native", dtype=torch.float64)
    monkeypatch.setattr(backends, "_why_absent", lambda: "it was not built")
    with pytest.raises(
        UsageError, match="backend=native is not possible: it was not built; use backend=auto"
    ):
        scanline.nn.LSTM(3, 6, backend="native")
    assert scanline.nn.LSTM(3, 6).path() == "torch"


@EVERY_OPTIONS
@pytest.mark.parametrize("with_lengths", [False, True])
def test_second_derivatives_are_torchs(backend, kind, options, with_lengths):
    """The gradient penalty of a WGAN-GP."""
    ours, theirs = pair(backend, kind, **options)
    x = torch.randn(4, 4, 3).requires_grad_()
    lengths = torch.tensor([4, 4, 4, 4]) if with_lengths else None

    def penalty(module):
        y = module(x, None, lengths)[0] if module is ours else module(x)[0]
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), [x, *module.parameters()], allow_unused=True)

    for mine, expected in zip(penalty(ours), penalty(theirs), strict=True):
        if mine is None or expected is None:  # last biases of a plain relu layer
            assert not (mine if expected is None else expected).any()
            continue
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "fast"}, "backend must be one of auto, native, torch, got 'fast'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16 or None, got 'half'"),
    ],
)
def test_unknown_words_are_refused(options, message):
    with pytest.raises((UsageError, ValueError), match=message):
        scanline.nn.LSTM(3, 6, **options)


def test_shapes_that_do_not_fit_raise_torchs_errors():
    ours, theirs = pair()
    for module in (ours, theirs):
        with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
            module(torch.zeros(5, 4, 2))
        with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size"):
            module(torch.zeros(5, 4, 3), (torch.zeros(1, 3, 6), torch.zeros(1, 4, 6)))
        with pytest.raises(ValueError, match="Expected input to be 2D or 3D, got 1D"):
            module(torch.zeros(3))
        with pytest.raises(RuntimeError, match="hx and cx should also be 2-D"):
            module(torch.zeros(5, 3), (torch.zeros(1, 1, 6), torch.zeros(1, 1, 6)))


def test_lengths_where_they_make_no_sense_are_refused():
    ours, _ = pair()
    with pytest.raises(ValueError, match="left out with a single sequence"):
        ours(torch.zeros(5, 3), None, torch.tensor([5]))
    with pytest.raises(ValueError, match="left out with packed sequences"):
        ours(pack_sequence([torch.zeros(5, 3)]), None, torch.tensor([5]))


def test_it_repeats_the_request():
    assert repr(scanline.nn.LSTM(3, 6)) == "LSTM(3, 6)"
    line = repr(scanline.nn.LSTM(3, 6, precision="bfloat16", backend="torch"))
    assert line == "LSTM(3, 6, precision=bfloat16, backend=torch)"


def test_the_compiler_is_not_imported_before_it_is_used():
    """It takes a second at every start of a program that only predicts."""
    program = "import sys, scanline.nn, scanline.model.artifact; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@NATIVE
@pytest.mark.parametrize("whole", [True, False], ids=["one graph", "as torch does"])
def test_it_compiles(whole):
    """Dynamo breaks the graph at every torch.nn.LSTM, ours too, unless it is told to allow them."""
    ours, _ = pair(num_layers=2, bidirectional=True)
    x, lengths = torch.randn(5, 4, 3), torch.tensor([5, 1, 2, 3])
    with torch._dynamo.config.patch(allow_rnn=whole):
        compiled = torch.compile(ours, fullgraph=whole, backend="aot_eager")
        assert torch.equal(compiled(x, None, lengths)[0], ours(x, None, lengths)[0])
        compiled(x)[0].sum().backward()
    assert ours.weight_ih_l0.grad.isfinite().all()


@pytest.mark.parametrize("projection", [0, 1])
def test_states_of_another_width_are_refused_with_packed_sequences(projection):
    module = scanline.nn.LSTM(3, 4, proj_size=projection)
    packed = pack_sequence([torch.zeros(2, 3), torch.zeros(1, 3)])
    right, wrong = torch.zeros(1, 2, projection or 4), torch.zeros(1, 2, 5)
    for states in ((wrong, torch.zeros(1, 2, 4)), (right, wrong), torch.stack([wrong, wrong])):
        with pytest.raises(RuntimeError, match="Expected hidden"):
            module(packed, states)
    module(packed, (right, torch.zeros(1, 2, 4)))
