"""Checks of torch's own tests, run on both libraries: constructors, copies and replaced weights."""

from __future__ import annotations

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn

import scanline.nn
from scanline.kernels import library
from tests.nn.comparison import KINDS, WARNINGS_OF_TORCH, X, assert_same, gradients, outcome, pair, tensors_of

pytestmark = WARNINGS_OF_TORCH


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
        ((3, 5), {"dropout": 0.5}),  # warns, as there is only one layer
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
def test_a_constructor_accepts_and_refuses_the_same(kind, arguments, options):
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
def test_a_module_made_on_the_meta_device_computes_once_it_has_memory(kind):
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


# --- copies and state_dict


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


def test_state_dict_hooks_are_called():
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
        return tensors_of(module(X.double()))

    assert_same(check, kind)


@KINDS
def test_the_older_weight_norm_is_applied_and_removed(kind):
    def check(module):
        before = tensors_of(module(X))
        normed = nn.utils.weight_norm(module, "weight_hh_l0")
        during, grads = tensors_of(normed(X)), gradients(normed)
        return [*before, *during, grads, *tensors_of(nn.utils.remove_weight_norm(normed, "weight_hh_l0")(X))]

    assert_same(check, kind, atol=1e-5)


@KINDS
def test_parameters_swapped_on_conversion(kind):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        assert_same(lambda module: tensors_of(module.double()(X.double())), kind)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
