"""scanline.nn against torch.nn: any module, input, states and context give equal results or equal errors."""

from __future__ import annotations

import contextlib
import copy
import os
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import scanline.nn

# Warnings of torch's own modules and of their settings.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Tolerances by the dtype of a module; bfloat16 operands are rounded at different places.
TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-9, torch.bfloat16: 6e-2}
VIEWS = ("contiguous", "transposed", "sliced", "expanded", "negative", "offset")
CONTEXTS = ("plain", "grad", "no_grad", "inference", "jvp", "vjp", "vmap", "functional_call", "batched_grad")
FAULTS = (
    "none", "none", "none", "none", "surplus state", "stacked states", "one state", "wrong batch",
    "wrong width", "wrong features", "wrong dtype", "wrong axes",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One comparison."""

    kind: str
    features: int
    units: int
    layers: int
    bias: bool
    bidirectional: bool
    projection: int
    nonlinearity: str
    batch_first: bool
    dtype: torch.dtype
    default_dtype: torch.dtype
    default_device: str
    sequences: int
    steps: int
    single: bool
    packed: bool
    states: bool
    view: str
    state_view: str
    context: str
    fault: str
    seed: int  # of the weights, so that a failure can be repeated

    @property
    def smooth(self) -> bool:
        """Whether a small difference of sums makes a small difference of derivatives.

        That of relu jumps from 0 to 1 where a sum rounds to the other side of 0. In bfloat16 that happens to
        both modules about equally often: each is up to a quarter off the derivative in float64.
        """
        return not (self.kind == "RNN" and self.nonlinearity == "relu" and self.dtype is torch.bfloat16)

    @property
    def undifferentiated(self) -> int:
        """How many of the results of `compute` come before the derivatives."""
        if self.context in ("jvp", "vjp", "vmap") and (self.single or not self.packed):
            return 1
        return 1 + 2 * (2 if self.kind == "LSTM" else 1)

    @property
    def corrupts_memory_in_torch(self) -> bool:
        """Whether torch's LSTM does not check the width of states for packed sequences."""
        wrong = self.fault == "wrong width" or (self.fault == "stacked states" and self.projection > 0)
        return self.kind == "LSTM" and self.packed and not self.single and self.states and wrong

    def build(self, source: Any) -> nn.RNNBase:
        """Return the module of `source`, torch.nn or scanline.nn."""
        options: dict[str, Any] = {
            "bias": self.bias, "bidirectional": self.bidirectional, "batch_first": self.batch_first,
        }  # fmt: skip
        if self.kind == "LSTM":
            options["proj_size"] = self.projection
        if self.kind == "RNN":
            options["nonlinearity"] = self.nonlinearity
        module: nn.RNNBase = getattr(source, self.kind)(self.features, self.units, self.layers, **options)
        return module.to(self.dtype)

    def shape(self) -> tuple[int, ...]:
        """Return the shape of the input."""
        features = self.features + (self.fault == "wrong features")
        if self.single:
            return self.steps, features
        first, second = self.steps, self.sequences
        return (second, first, features) if self.batch_first else (first, second, features)


cases = st.builds(
    Case,
    kind=st.sampled_from(("LSTM", "LSTM", "GRU", "RNN")),
    features=st.integers(1, 5),
    units=st.integers(2, 19),
    layers=st.integers(1, 2),
    bias=st.booleans(),
    bidirectional=st.booleans(),
    projection=st.sampled_from((0, 0, 0, 1)),
    nonlinearity=st.sampled_from(("tanh", "relu")),
    batch_first=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float32, torch.float64, torch.bfloat16)),
    default_dtype=st.sampled_from((torch.float32, torch.float64, torch.bfloat16, torch.float16)),
    default_device=st.sampled_from(("cpu", "meta")),
    sequences=st.integers(1, 4),
    steps=st.integers(1, 6),
    single=st.booleans(),
    packed=st.booleans(),
    states=st.booleans(),
    view=st.sampled_from(VIEWS),
    state_view=st.sampled_from(VIEWS),
    context=st.sampled_from(CONTEXTS),
    fault=st.sampled_from(FAULTS),
    seed=st.integers(0, 1 << 16),
)


def as_view(values: Tensor, view: str) -> Tensor:
    """Return the values in another layout of memory."""
    if view == "transposed":
        return values.transpose(0, 1).contiguous().transpose(0, 1)
    if view == "sliced":
        return torch.stack([values, values + 1], dim=-1)[..., 0]
    if view == "expanded":
        return values[:1].expand_as(values)
    if view == "negative":
        if values.dtype == torch.bfloat16:  # there are no complex numbers of it
            return values
        return torch.complex(torch.zeros_like(values), -values).conj().imag
    if view == "offset":
        return torch.cat([values[:1], values])[1:]
    return values


def inputs_of(case: Case) -> tuple[Any, Any]:
    """Return (input, hx) of a case."""
    generator = torch.Generator().manual_seed(case.units * 100 + case.steps)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        return values.to(case.dtype)

    x: Any = as_view(draw(*case.shape()), case.view)
    if case.fault == "wrong axes":
        x = x[..., None]
    if case.packed and not case.single and x.dim() == 3:
        lengths = [1 + (7 * n) % case.steps for n in range(case.sequences)]
        x = pack_padded_sequence(x, torch.tensor(lengths), case.batch_first, enforce_sorted=False)
    if not case.states:
        return x, None
    width = case.projection if case.kind == "LSTM" and case.projection else case.units
    width += case.fault == "wrong width"
    leading = case.layers * (2 if case.bidirectional else 1)
    batch = () if case.single else (case.sequences + (case.fault == "wrong batch"),)
    states = [as_view(draw(leading, *batch, size), case.state_view) for size in (width, case.units)]
    if case.fault == "wrong dtype":
        states = [
            state.to(torch.float32 if case.dtype != torch.float32 else torch.float64) for state in states
        ]
    hx: Any = tuple(states) if case.kind == "LSTM" else states[0]
    if case.fault == "surplus state":
        hx = (*states, states[0])
    elif case.fault == "stacked states":
        hx = torch.stack([states[1], states[1]])
    elif case.fault == "one state":
        hx = (states[0],)
    return x, hx


def flat(results: Any) -> list[Tensor]:
    """Return the tensors of a module's results."""
    output, states = results
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *((states,) if isinstance(states, Tensor) else states)]


def compute(case: Case, module: nn.RNNBase) -> list[Tensor]:
    """Return outputs, states and gradients of a module in the context of a case."""
    x, hx = inputs_of(case)
    context, plain = case.context, isinstance(x, Tensor)
    if context in ("jvp", "vjp", "vmap") and plain:
        return transformed(context, module, x, hx)
    if context == "functional_call":
        weights = {name: value.detach() * 0.5 for name, value in module.named_parameters()}
        return flat(torch.func.functional_call(module, weights, (x, hx)))
    modes = {"no_grad": torch.no_grad, "inference": torch.inference_mode}
    with modes.get(context, contextlib.nullcontext)():
        if context == "grad" and plain:
            x = x.detach().requires_grad_()
        results = flat(module(x, hx))
    # Nothing returned is a view of anything else: callers may detach or change states in place.
    aliases = [torch.tensor(result._is_view() and context != "inference") for result in results[1:]]
    if not results[0].requires_grad:
        return [*results, *aliases]
    leaves = [*module.parameters(), *([x] if plain and x.requires_grad else [])]
    if context == "batched_grad":
        ones = torch.stack([torch.ones_like(results[0]), torch.full_like(results[0], -2.0)])
        gradients = torch.autograd.grad(results[0], leaves, ones, is_grads_batched=True, allow_unused=True)
    else:
        total = sum((result.double() ** 2).sum() for result in results)
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)  # type: ignore[arg-type]
    zeros = [torch.zeros_like(leaf) for leaf in leaves]
    found = [zero if gradient is None else gradient for zero, gradient in zip(zeros, gradients, strict=True)]
    return [*(result.detach() for result in results), *aliases, *found]


def transformed(context: str, module: nn.RNNBase, x: Tensor, hx: Any) -> list[Tensor]:
    """Return values and derivatives under a function transform."""

    def run(values: Tensor) -> Tensor:
        return flat(module(values, hx))[0]

    if context == "jvp":
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, torch.ones_like(x))
            value, tangent = forward_ad.unpack_dual(run(dual))
            assert tangent is not None
            return [value.detach(), tangent.detach()]
    if context == "vjp":
        value, pull = torch.func.vjp(run, x)
        return [value.detach(), pull(torch.ones_like(value))[0].detach()]
    batches = torch.stack([x, 2 * x])
    # torch's operators refuse some batches: one after another.
    if type(module).__module__.startswith("torch"):
        return [torch.stack([run(batch) for batch in batches]).detach()]
    return [torch.func.vmap(run)(batches).detach()]


def outcome(case: Case, source: Any, weights: dict[str, Tensor]) -> list[Tensor] | type[Exception]:
    """Return the results of a case, or the type of the error."""
    module = case.build(source)
    module.load_state_dict(weights)
    before, device = torch.get_default_dtype(), torch.device(case.default_device)
    torch.set_default_dtype(case.default_dtype)
    # torch's fused kernel has neither forward-mode derivatives nor a batching rule; its composed one has.
    composed = torch.backends.mkldnn.flags(enabled=case.context not in ("jvp", "vmap", "batched_grad"))
    # Only the module's call is made under another default device: the test's own tensors are on the CPU.
    original = module.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        with device:
            return original(*arguments, **options)

    if case.default_device != "cpu":
        module.forward = forward  # type: ignore[method-assign]
    try:
        with composed:
            return compute(case, module)
    except Exception as error:  # noqa: BLE001  # any error is an outcome
        return type(error)
    finally:
        torch.set_default_dtype(before)


def check(case: Case) -> None:
    """Compare both modules on one case."""
    if case.kind != "LSTM" or case.projection >= case.units:
        case = replace(case, projection=0)
    if case.default_device != "cpu":
        # torch's own modules make their initial states on the default device: give states and compare.
        case = replace(case, states=True, context="plain", packed=False)
    if case.packed and case.fault in ("wrong batch", "wrong features"):
        # torch silently selects the states of the packed sequences from a larger batch, and reads beyond the
        # memory of packed sequences with too few or too many features; ours refuses both.
        case = replace(case, fault="none")
    if case.context == "vmap":
        # Under `vmap` torch refuses what it would take without it; the test's loop does not show that.
        case = replace(case, fault="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        weights = {name: value.clone() for name, value in case.build(nn).state_dict().items()}
    if case.corrupts_memory_in_torch:
        assert outcome(case, scanline.nn, weights) is RuntimeError
        return
    theirs = outcome(case, nn, copy.deepcopy(weights))
    ours = outcome(case, scanline.nn, copy.deepcopy(weights))
    if isinstance(theirs, type) or isinstance(ours, type):
        assert ours == theirs
        return
    assert [(t.dtype, t.shape) for t in ours] == [(t.dtype, t.shape) for t in theirs]
    tolerance = TOLERANCES[case.dtype]
    end = len(ours) if case.smooth else case.undifferentiated
    for mine, expected in zip(ours[:end], theirs[:end], strict=True):
        scale = max(1.0, expected.double().abs().max().item()) if expected.numel() else 1.0
        assert (mine.double() - expected.double()).abs().max().item() <= tolerance * scale


@settings(max_examples=120, deadline=None)
@given(cases)
def test_a_module_equals_torchs(case: Case) -> None:
    check(case)


@pytest.mark.campaign
@settings(max_examples=int(os.environ.get("SCANLINE_DIFFERENTIAL_EXAMPLES", "2000")), deadline=None)
@given(cases)
def test_thousands_of_modules_equal_torchs(case: Case) -> None:
    check(case)
