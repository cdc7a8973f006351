"""What torch's own tests check of its recurrent modules, checked of both: scanline.nn's and torch.nn's.

Each test runs the same check on a module of either kind and compares what comes out.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn
from torch.utils.checkpoint import checkpoint

import scanline.nn
from scanline.kernels import library

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN",
    "ignore:.*weight_norm.*:FutureWarning",
    "ignore::DeprecationWarning",  # torch deprecates jit
    "ignore::torch.jit.TracerWarning",
)
KINDS = pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))  # (T, N, F)
SORTED = rnn.pack_padded_sequence(X, [5, 4, 2, 1])
UNSORTED = rnn.pack_padded_sequence(X, [2, 5, 1, 4], enforce_sorted=False)


def pair(kind="LSTM", *arguments, **options):
    """Return scanline.nn's and torch.nn's module, each made with the same seed."""
    modules = []
    for source in (scanline.nn, nn):
        torch.manual_seed(0)
        modules.append(getattr(source, kind)(*arguments or (3, 5), **options))
    return modules


def outcome(function, *arguments, **options):
    """Return the result of a call, or the type and message of its error, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*arguments, **options)
        except Exception as error:  # noqa: BLE001  # any error is an outcome
            result = f"{type(error).__name__}: {error}"
    return result, [(warning.category, str(warning.message)) for warning in caught]


def assert_same(check, kind="LSTM", *arguments, atol=2e-6, **options):
    """Assert that `check` returns equal values for both modules, or raises equal errors."""
    (mine, _), (expected, _) = (outcome(check, module) for module in pair(kind, *arguments, **options))
    if isinstance(expected, str) or isinstance(mine, str):
        assert mine == expected
    else:
        torch.testing.assert_close(mine, expected, atol=atol, rtol=1e-5)


def listed(results):
    """Return the tensors of a module's results."""
    output, states = results
    output = output.data if isinstance(output, rnn.PackedSequence) else output
    return [output, *([states] if isinstance(states, torch.Tensor) else states)]


def gradients(module, results=None):
    """Return the gradients by all parameters after a backward pass through the results."""
    sum(result.square().sum() for result in listed(results or module(X))).backward()
    return {name: weight.grad for name, weight in module.named_parameters()}


# --- constructors


@KINDS
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        ((3,), {}),
        ((3, 5.0), {}),
        ((3, "5"), {}),
        ((3.0, 5), {}),
        ((None, 5), {}),
        ((3, 0), {}),
        ((0, 5), {}),
        ((-1, 5), {}),
        ((3, 5, 0), {}),
        ((3, 5, 1.5), {}),
        ((3, 5), {"dropout": 0.5}),  # warns: there is one layer only
        ((3, 5), {"dropout": "a"}),
        ((3, 5), {"dropout": True}),
        ((3, 5, 2), {"dropout": 1.5}),
        ((3, 5), {"proj_size": 5}),
        ((3, 5), {"proj_size": -1}),
        ((3, 5), {"proj_size": 2}),
        ((3, 5), {"nonlinearity": "relu"}),
        ((3, 5), {"nonlinearity": "sigmoid"}),
        ((3, 5, 2, False, True, 0.1, True), {}),
        ((3, 5, 2, False, True, 0.1, True, 2), {}),
        ((3, 5, 2, "relu"), {}),
        ((3, 5), {"mode": "LSTM"}),
        ((3, 5), {"unknown": 1}),
        ((3, 5), {"dtype": torch.float16, "device": "meta"}),
        ((3, 5), {"dtype": torch.int32}),
        ((), {"input_size": 3, "hidden_size": 5, "bias": False}),
    ],
    ids=str,
)
def test_a_constructor_takes_and_refuses_the_same(kind, arguments, options):
    def make(source):
        module = getattr(source, kind)(*arguments, **options)
        sizes = {name: (w.shape, w.dtype, w.device) for name, w in module.state_dict().items()}
        return repr(module), sizes, [len(group) for group in module.all_weights]

    assert outcome(make, scanline.nn) == outcome(make, nn)


@KINDS
def test_reset_parameters_draws_the_same_numbers(kind):
    ours, theirs = pair(kind, 3, 5, 2, bidirectional=True)
    for module in (ours, theirs):
        torch.manual_seed(5)
        module.reset_parameters()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert [[id(w) for w in group] for group in ours.all_weights] == [
        [id(getattr(ours, name)) for name in names] for names in ours._all_weights
    ]


@KINDS
def test_a_module_made_without_memory_computes_when_it_has_some(kind):
    source = pair(kind)[1]
    for module in (getattr(scanline.nn, kind)(3, 5, device="meta"), pair(kind)[0].to("meta")):
        y, _ = module(X.to("meta"))
        assert y.is_meta
        assert y.shape == (5, 4, 5)
        assigned = copy.deepcopy(module)
        assigned.load_state_dict(source.state_dict(), assign=True)
        module.to_empty(device="cpu").load_state_dict(source.state_dict())
        for loaded in (assigned, module):
            torch.testing.assert_close(loaded(X)[0], source(X)[0])


@pytest.mark.skipif(library.load() is None, reason="no native library")
def test_a_backend_is_checked_as_for_the_cpu_on_the_meta_device():
    module = scanline.nn.LSTM(3, 5, backend="native", device="meta").to_empty(device="cpu")
    module.reset_parameters()
    assert module.path() == "native"


@KINDS
def test_skip_init_does_the_same(kind):
    assert_same(lambda module: repr(nn.utils.skip_init(type(module), 3, 5)), kind)


# --- copies and state


@KINDS
@pytest.mark.parametrize(
    "remake",
    [
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: torch.load(_saved(module), weights_only=False),
    ],
    ids=["deepcopy", "pickle", "torch.save"],
)
@pytest.mark.parametrize("computed", [False, True])
def test_a_copy_has_all_settings_and_its_own_weights(kind, remake, computed):
    options = {"dropout": 0.25, "batch_first": True, "bidirectional": True}
    module = getattr(scanline.nn, kind)(3, 5, 2, backend="torch", precision="float32", **options).eval()
    if computed:
        module(X)[0].sum().backward()
    copied = remake(module)
    copied.flatten_parameters()
    assert repr(copied) == repr(module)
    assert (copied.backend, copied.precision, copied.training) == ("torch", "float32", False)
    assert torch.equal(copied(X)[0], module(X)[0])
    with torch.no_grad():
        copied.weight_hh_l0.add_(1.0)
    assert not torch.equal(copied(X)[0], module(X)[0])


def _saved(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return buffer


@KINDS
@pytest.mark.parametrize("change", ["none", "missing", "unexpected", "wrong size", "no tensor"])
@pytest.mark.parametrize("strict", [True, False])
def test_load_state_dict_accepts_and_refuses_the_same(kind, change, strict):
    def load(module):
        state = module.state_dict()
        if change == "missing":
            del state["weight_hh_l0"]
        elif change == "unexpected":
            state["surplus"] = torch.zeros(1)
        elif change == "wrong size":
            state["bias_ih_l0"] = torch.zeros(3)
        elif change == "no tensor":
            state["bias_ih_l0"] = [0.0]
        return str(module.load_state_dict(state, strict=strict))

    assert_same(load, kind)


def test_hooks_of_the_state_are_called():
    def check(module):
        calls = []
        module.register_state_dict_pre_hook(lambda module, prefix, keep: calls.append(("pre", prefix)))
        module.register_state_dict_post_hook(lambda module, state, prefix, meta: state.update(extra=1))
        module.register_load_state_dict_pre_hook(lambda module, state, *rest: state.pop("extra"))
        module.register_load_state_dict_post_hook(lambda module, keys: calls.append(("post", list(keys))))
        state = nn.Sequential(module).state_dict()
        module.load_state_dict(module.state_dict())
        return str((list(state), calls))

    assert_same(check)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_training_and_loading_leave_no_reference_cycles(options):
    ours, theirs = pair("LSTM", **options)

    def step(module):
        module.load_state_dict(copy.deepcopy(module).state_dict())
        module(X)[0].sum().backward()

    for module in (ours, theirs):
        step(module)
        gc.collect()
        step(module)
        assert gc.collect() == 0


# --- dropout


@KINDS
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True}, {"bidirectional": True, "num_layers": 3}, {"bias": False}],
    ids=str,
)
@pytest.mark.parametrize("packed", [None, SORTED, UNSORTED], ids=["padded", "packed", "unsorted"])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
def test_the_same_seed_drops_the_same_units(kind, options, packed, dropout):
    def check(module):
        torch.manual_seed(7)
        results = module(X if packed is None else packed)
        return [*listed(results), gradients(module, results)]

    assert_same(check, kind, 3, 5, atol=1e-5, **{"num_layers": 2, "dropout": dropout} | options)


@KINDS
def test_dropout_is_changed_after_construction(kind):
    def check(module):
        results = []
        for dropout in (0.0, 0.5, 0.0, 0.7, 1.0):
            for training in (True, False):
                module.dropout = dropout
                torch.manual_seed(3)
                results.append(module.train(training)(X)[0].detach())
        return results

    assert_same(check, kind, 3, 5, 2)


# --- inputs that do not fit


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("kind", "projection"), [("LSTM", 0), ("LSTM", 2), ("GRU", 0), ("RNN", 0)])
def test_states_of_a_wrong_size_are_refused_alike(kind, axis, projection):
    for wrong in ("h", "c") if kind == "LSTM" else ("h",):
        shapes = {"h": [2, 4, projection or 5], "c": [2, 4, 5]}
        shapes[wrong][axis] = 7
        h, c = (torch.zeros(shapes[name]) for name in "hc")
        hx = (h, c) if kind == "LSTM" else h
        options = {"proj_size": projection} if projection else {}
        assert_same(lambda module, hx=hx: listed(module(X, hx)), kind, 3, 5, 2, **options)


@KINDS
@pytest.mark.parametrize(
    "call",
    [
        lambda module: module(X.to("meta"))[0],
        lambda module: module.to("meta")(X)[0],
        lambda module: module(X, _states(module, device="meta"))[0],
        lambda module: module(X, _states(module, dtype=torch.float64))[0],
        lambda module: module(X.half())[0],
        lambda module: module(X.long())[0],
        lambda module: module(X + 0j)[0],
        lambda module: module.to(torch.complex64)(X + 0j)[0].detach(),
        lambda module: module(X.tolist())[0],
        lambda module: module(None)[0],
        lambda module: module(X, "ab")[0],
        lambda module: module(X, (None, None))[0],
        lambda module: module(X, torch.zeros(1, 4, 5))[0],
        lambda module: module(X, (torch.zeros(1, 4, 5),))[0],
    ],
    ids=[
        "input elsewhere", "weights elsewhere", "states elsewhere", "states of another dtype", "half",
        "whole numbers", "complex input", "complex", "list", "None", "string as states", "no states",
        "one state", "tuple of one state",
    ],
)  # fmt: skip
def test_unfit_arguments_are_refused_alike(kind, call):
    assert_same(call, kind)


@KINDS
@pytest.mark.parametrize(
    "call",
    [
        lambda module: module(SORTED, _states(module, sequences=1)),
        lambda module: module(rnn.pack_padded_sequence(X[..., 0], [5, 4, 2, 1])),
    ],
    ids=["states of one", "numbers"],
)
def test_unfit_packed_sequences_are_refused(kind, call):
    for module in pair(kind):
        with pytest.raises(RuntimeError):
            call(module)


def _states(module, sequences=4, **options):
    h = torch.zeros(1, sequences, 5, **options)
    return (h, h.clone()) if isinstance(module, nn.LSTM) else h


def test_arguments_are_given_by_name():
    assert_same(lambda module: listed(module(input=X, hx=_states(module))))


@KINDS
def test_an_empty_batch_has_gradients_of_zero(kind):
    def check(module):
        results = module(X[:, :0])
        return [*listed(results), gradients(module, results)]

    assert_same(check, kind)


# --- autograd


def _changed_in_place(which):
    def check(module):
        x = X.clone()
        results = module(x)
        changed = {"input": x, "weight": module.weight_hh_l0, "states": listed(results)[1]}[which]
        with torch.no_grad() if which == "weight" else contextlib.nullcontext():
            changed.mul_(2)
        return gradients(module, results)

    return check


def _twice(module):
    total = module(X)[0].sum()
    total.backward()
    total.backward()


def _retained(module):
    total = module(X)[0].sum()
    for _ in range(2):
        total.backward(retain_graph=True)
    total.backward()
    return module.weight_hh_l0.grad


def _through_time(module):
    """Pass on states that are still in the graph of the last backward pass."""
    y, states = module(X)
    y.sum().backward()
    module(X, states)[0].sum().backward()


def _checkpointed(reentrant):
    def check(module):
        x = X.clone().requires_grad_()
        results = checkpoint(module, x, use_reentrant=reentrant)
        return gradients(module, results) | {"x": x.grad}

    return check


def _saved_on_cpu(module):
    with torch.autograd.graph.save_on_cpu():
        results = module(X)
    return gradients(module, results)


def _frozen(*names):
    def check(module):
        for name in names:
            getattr(module, name).requires_grad_(False)
        x = X.clone().requires_grad_()
        found = gradients(module, module(x)) | {"x": x.grad}
        assert all(found[name] is None for name in names)
        return {name: value for name, value in found.items() if value is not None}

    return check


def _tied(module):
    module.weight_hh_l1 = module.weight_hh_l0
    module.bias_hh_l0 = module.bias_ih_l0
    return gradients(module)


def _strided(module):
    with torch.no_grad():
        module.weight_hh_l0.set_(module.weight_hh_l0.t().contiguous().t())
    return gradients(module)


def _as_one_vector(module):
    vector = nn.utils.parameters_to_vector(module.parameters())
    nn.utils.vector_to_parameters(vector * 0.5, module.parameters())
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    return gradients(module)


@KINDS
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(_changed_in_place("input"), id="changed input"),
        pytest.param(_changed_in_place("weight"), id="changed weight"),
        pytest.param(_changed_in_place("states"), id="changed states"),
        pytest.param(_twice, id="backward twice"),
        pytest.param(_retained, id="retained graph"),
        pytest.param(_through_time, id="states of a freed graph"),
        pytest.param(_checkpointed(True), id="reentrant checkpoint"),
        pytest.param(_checkpointed(False), id="checkpoint"),
        pytest.param(_saved_on_cpu, id="saved on the CPU"),
        pytest.param(_frozen("weight_ih_l0", "weight_hh_l1"), id="frozen weights"),
        pytest.param(_frozen("bias_ih_l0"), id="frozen bias"),
        pytest.param(_tied, id="tied weights"),
        pytest.param(_strided, id="weights of other strides"),
        pytest.param(_as_one_vector, id="parameters as one vector"),
    ],
)
def test_autograd_is_the_same(kind, check):
    (mine, _), (expected, _) = (outcome(check, module) for module in pair(kind, 3, 5, 2))
    if isinstance(expected, str):  # messages of autograd name the operator
        assert mine[:60] == expected[:60]
    else:
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("vectorize", [False, True])
def test_a_hessian_is_torchs(vectorize):
    ours, theirs = pair()

    def total(module):
        return lambda x: module(x)[0].square().sum()

    found, expected = (
        torch.autograd.functional.hessian(total(module), X[:2, :1], vectorize=vectorize and module is ours)
        for module in (ours, theirs)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.func.hessian(total(ours))(X[:2, :1]), expected)


@KINDS
def test_a_training_takes_the_same_steps(kind):
    def train(module):
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        for _ in range(4):
            optimizer.zero_grad()
            module(X)[0].sub(0.5).square().mean().backward()
            optimizer.step()
        return module.state_dict()

    assert_same(train, kind, 3, 5, 2, atol=1e-4)


# --- weights replaced


@KINDS
def test_a_weight_is_deleted_and_set_again(kind):
    def check(module):
        weight = module.weight_hh_l0
        del module.weight_hh_l0
        module.double()  # with only some of the weights
        with pytest.raises((AttributeError, TypeError)):
            module(X.double())
        module.weight_hh_l0 = nn.Parameter(weight.double())
        return listed(module(X.double()))

    assert_same(check, kind)


@KINDS
def test_the_older_weight_norm_is_applied_and_removed(kind):
    def check(module):
        before = listed(module(X))
        normed = nn.utils.weight_norm(module, "weight_hh_l0")
        during, found = listed(normed(X)), gradients(normed)
        return [*before, *during, found, *listed(nn.utils.remove_weight_norm(normed, "weight_hh_l0")(X))]

    assert_same(check, kind, atol=1e-5)


@KINDS
def test_parameters_swapped_on_conversion(kind):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        assert_same(lambda module: listed(module.double()(X.double())), kind)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


# --- packed sequences


@KINDS
@pytest.mark.parametrize("packed", [SORTED, UNSORTED], ids=["sorted", "unsorted"])
def test_the_helpers_of_torch_read_packed_outputs(kind, packed):
    def check(module):
        y, _ = module(packed)
        padded, lengths = rnn.pad_packed_sequence(y, total_length=8, padding_value=-1.0)
        halves = y.to(torch.float64)
        assert y.to(torch.float32) is y
        return [
            padded, lengths, *rnn.unpack_sequence(y), *rnn.unpad_sequence(padded, lengths), halves.data,
            y.batch_sizes, *([] if y.sorted_indices is None else [y.sorted_indices, y.unsorted_indices]),
        ]  # fmt: skip

    assert_same(check, kind)


@KINDS
def test_a_traced_module_reads_packed_sequences_of_other_lengths(kind):
    class Reads(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x, lengths):
            packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            return rnn.pad_packed_sequence(self.module(packed)[0])[0]

    def check(module):
        traced = torch.jit.trace(Reads(module), (X, torch.tensor([5, 4, 2, 1])))
        return traced(torch.cat([X, X]), torch.tensor([1, 10, 3, 4]))

    assert_same(check, kind)


# --- compilers


@KINDS
def test_a_module_is_compiled_in_place(kind):
    def check(module):
        module.compile(backend="eager")
        return gradients(module)

    assert_same(check, kind, atol=1e-5)


@KINDS
def test_an_exported_program_computes_the_same(kind):
    def check(module):
        with torch.no_grad():
            return listed(torch.export.export(module.eval(), (X,), strict=False).module()(X))

    assert_same(check, kind)


@pytest.mark.skipif(library.load() is None, reason="no native library")
@pytest.mark.parametrize("steps", ["input", "lengths"])
def test_no_steps_are_read_where_torch_refuses_them(steps):
    """One of the differences that docs/python.md lists."""
    ours, theirs = pair()
    with pytest.raises(RuntimeError, match=r"[Ll]ength"):
        theirs(X[:0] if steps == "input" else rnn.pack_padded_sequence(X, [5, 2, 1, 0]))
    h = torch.ones(1, 4, 5)
    y, (last, _) = ours(X[:0], (h, h)) if steps == "input" else ours(X, (h, h), torch.zeros(4))
    assert not y.any()
    assert torch.equal(last, h)
