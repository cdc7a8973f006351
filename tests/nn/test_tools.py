"""Modules of scanline.nn under torch's tools behave as those of torch.nn."""

from __future__ import annotations

import copy
import importlib.util
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import scanline.nn

# torch deprecates jit, the older ONNX exporter and torch.ao, which programs still use.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore:TF32 acceleration",
    "ignore:torch.quantize_per_tensor",
)
KINDS = ("LSTM", "GRU", "RNN")


class Reader(nn.Module):
    """A recurrent module with a head, as programs have it."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(5, 2, dtype=torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(x)[0][-1])


def pair(kind="LSTM", **options):
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(4, 5, **options)
    ours = getattr(scanline.nn, kind)(4, 5, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def both(kind="LSTM"):
    ours, theirs = pair(kind)
    torch.manual_seed(1)
    reader = Reader(theirs)
    return Reader(ours).eval(), reader.eval()


@pytest.fixture
def x():
    return torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def default_dtype():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("units", [5, 512])
def test_the_default_dtype_does_not_reach_the_native_library(default_dtype, dtype, units):
    theirs, ours = nn.LSTM(4, units), scanline.nn.LSTM(4, units)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 64, 4)
    default_dtype(dtype)
    (y, (h, c)), (y2, states) = ours(x), theirs(x)
    for mine, expected in zip((y, h, c), (y2, *states), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    y.sum().backward()
    assert ours.weight_hh_l0.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_jit_trace_with_its_check(kind, x):
    ours, _ = both(kind)
    traced = torch.jit.trace(ours, x)
    assert "scanline::" not in str(traced.inlined_graph)  # no operator of Scanline's
    # Seven steps through a graph traced with three.
    other = torch.randn(7, 1, 4)
    torch.testing.assert_close(traced(other), ours(other))


@pytest.mark.parametrize("kind", KINDS)
def test_jit_script(kind, x):
    ours, _ = both(kind)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(ours), buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.jit.load(buffer)(x), ours(x))


@pytest.mark.parametrize("kind", KINDS)
def test_fx_keeps_it_as_one_node(kind, x):
    ours, _ = both(kind)
    graph = torch.fx.symbolic_trace(ours)
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"] == ["recurrent", "head"]
    assert torch.equal(graph(x), ours(x))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_export_needs_nothing_of_scanline(x, dynamo):
    if dynamo and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("onnxscript is not installed")
    onnxruntime = pytest.importorskip("onnxruntime")
    ours, _ = both()
    buffer = io.BytesIO()
    torch.onnx.export(ours, (x,), buffer, dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, ours(x).detach().numpy(), atol=1e-6)


def test_dynamic_quantisation_is_done_on_torchs_module_and_missed_aloud(x):
    ours, _ = pair()
    with pytest.warns(UserWarning, match="scanline.nn.LSTM is not quantised.*to_torch"):
        same = torch.ao.quantization.quantize_dynamic(nn.Sequential(ours), {nn.LSTM})
    assert isinstance(same[0], scanline.nn.LSTM)
    assert not hasattr(same[0], "qconfig")
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(ours.to_torch()), {nn.LSTM})
    assert type(quantised[0]).__module__.startswith("torch.ao.nn.quantized")
    torch.testing.assert_close(quantised(x)[0], ours(x)[0], atol=0.05, rtol=0.0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2, "batch_first": True}),
        ("GRU", {"bias": False, "dropout": 0.2, "num_layers": 2}),
        ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ],
)
def test_to_torch_shares_its_parameters(kind, options):
    ours, theirs = pair(kind, **options)
    converted = ours.to_torch()
    assert type(converted) is type(theirs)
    assert str(converted) == str(theirs)
    assert all(mine is other for mine, other in zip(ours.parameters(), converted.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_per_sample_gradients(kind, x):
    ours, theirs = pair(kind)
    weights = {name: value.detach() for name, value in ours.named_parameters()}

    def loss(weights, sequence):
        return torch.func.functional_call(ours, weights, (sequence[:, None],))[0].pow(2).sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(weights, x)
    for index in range(2):
        theirs.zero_grad()
        theirs(x[:, index : index + 1])[0].pow(2).sum().backward()
        for name, weight in theirs.named_parameters():
            torch.testing.assert_close(found[name][index], weight.grad)


def test_forward_mode_derivatives_with_lengths(x):
    ours, _ = pair()
    precise = copy.deepcopy(ours).double()
    lengths, step = torch.tensor([3, 1]), 1e-6
    ahead, behind = (precise(x.double() + sign * step, None, lengths)[0] for sign in (1, -1))
    _, tangent = torch.func.jvp(lambda values: ours(values, None, lengths)[0], (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, ((ahead - behind) / (2 * step)).float(), atol=1e-5, rtol=1e-4)


def test_gradients_of_a_whole_batch_at_once(x):
    ours, theirs = pair()
    x = x.requires_grad_()
    identity = torch.eye(30).view(30, 3, 2, 5)
    (mine,) = torch.autograd.grad(ours(x)[0], x, identity, is_grads_batched=True)
    one_by_one = [torch.autograd.grad(theirs(x)[0], x, each)[0] for each in identity]
    torch.testing.assert_close(mine, torch.stack(one_by_one))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}])
def test_states_are_detached_and_changed_in_place(x, options):
    ours, _ = pair(**options)
    _, (h, c) = ours(x)
    (h.sum() + c.sum()).backward()
    h.detach_()
    c.detach_()
    h.mul_(2.0)
    y, _ = ours(x, (h, c))
    y.sum().backward()


def test_a_large_output_is_changed_in_place():
    # Above 1 MiB the library's own memory holds the outputs.
    ours = scanline.nn.LSTM(4, 128)
    y, _ = ours(torch.randn(40, 64, 4))
    assert y.numel() * 4 > 1 << 20
    assert not y._is_view()
    with torch.no_grad():
        y, _ = ours(torch.randn(40, 64, 4))
        y.relu_()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda module: copy.deepcopy(module),
        lambda module: module.share_memory(),
        lambda module: parametrizations.weight_norm(module, "weight_hh_l0"),
        lambda module: prune.l1_unstructured(module, "weight_hh_l0", 0.5),
        lambda module: nn.DataParallel(module),
    ],
    ids=["deepcopy", "share_memory", "weight_norm", "prune", "DataParallel"],
)
def test_modules_are_changed_as_torchs_are(kind, change, x):
    ours, theirs = (change(module) for module in pair(kind))
    mine, expected = ours(x)[0], theirs(x)[0]
    torch.testing.assert_close(mine, expected)
    mine.sum().backward()
    expected.sum().backward()
    for (name, weight), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, msg=name)


def test_hooks_see_the_module_called(x):
    ours, _ = pair()
    seen = []
    ours.register_forward_pre_hook(lambda module, arguments: seen.append("before"))
    ours.register_forward_hook(lambda module, arguments, results: seen.append("after"))
    ours.register_full_backward_hook(lambda module, given, received: seen.append("gradient"))
    ours(x.requires_grad_())[0].sum().backward()
    assert seen == ["before", "after", "gradient"]


def test_mixed_precision_with_a_scaler(x):
    ours, _ = pair()
    optimizer = torch.optim.SGD(ours.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    before = ours.weight_hh_l0.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ours(x)[0].pow(2).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(before, ours.weight_hh_l0)


def test_distributed_data_parallel(x, tmp_path):
    ours, theirs = pair()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(ours)
        wrapped(x)[0].sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    theirs(x)[0].sum().backward()
    torch.testing.assert_close(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad)


@pytest.mark.parametrize("view", ["input", "states", "weights"])
def test_negative_views_are_read_with_their_sign(view, x):
    def negative(values):
        return torch.complex(torch.zeros_like(values), -values).conj().imag

    ours, theirs = pair()
    hx = (torch.ones(1, 2, 5), torch.full((1, 2, 5), 0.5))
    expected = theirs(x, hx)[0]
    with torch.no_grad():
        if view == "weights":
            weights = {name: negative(value) for name, value in ours.named_parameters()}
            found = torch.func.functional_call(ours, weights, (x, hx))[0]
        else:
            states = tuple(map(negative, hx)) if view == "states" else hx
            found = ours(negative(x) if view == "input" else x, states)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [3, 5])
def test_packed_sequences_with_other_features_are_refused(kind, dtype, features):
    """torch.nn.LSTM reads beyond their memory."""
    ours, _ = pair(kind)
    packed = nn.utils.rnn.pack_sequence([torch.zeros(2, features, dtype=dtype)])
    with pytest.raises(RuntimeError, match=f"Expected 4, got {features}"):
        ours.to(dtype)(packed)
