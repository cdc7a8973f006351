"""Arguments, the reference's results and the comparison with them, for tests of every native operator."""

from __future__ import annotations

import math

import torch

from scanline.cells import Weights
from scanline.kernels import reference
from scanline.kernels.layer_call import argument_names

BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2}  # of the largest value of each result


def names_of(operator):
    """The schema's names of the tensors but the lengths."""
    return argument_names(operator.cell, operator.directions)[:-1]


def make(operator, N, T, F, H, seed=0, states=True, biases=True):
    """Random arguments by name, as leaves. A projection has about H / 2 values, with another seed up to H."""
    generator = torch.Generator().manual_seed(seed)
    rows, both = len(operator.cell.gates) * H, (2,) * (operator.directions - 1)
    small = 1 / math.sqrt(H)
    P = 1 + ((H - 1) // 2 + 31 * seed) % H if "weight_hr" in operator.cell.weights else H
    # A unit of a plain RNN that is nearly 1 or -1 has a gradient of few digits, in float32 as well.
    usual = 0.3 if operator.cell.torch_function == "rnn_tanh" else 1.0
    forms = {
        "x": ((N, T, F), 1.0),
        "h0": ((*both, N, P), 0.5 * usual),
        "c0": ((*both, N, H), 1.0),
        "weight_ih": ((rows, F), usual / math.sqrt(F)),
        "weight_hh": ((rows, P), small),
        "bias_ih": ((rows,), usual * small),
        "bias_hh": ((rows,), usual * small),
        "weight_hr": ((P, H), small),
    }
    arguments = {}
    for name in names_of(operator):
        shape, scale = forms[name.removesuffix("_reverse")]
        wanted = biases if name.startswith("bias") else states or name not in ("h0", "c0")
        arguments[name] = torch.randn(shape, generator=generator).mul_(scale) if wanted else None
    if operator.cell.torch_function == "rnn_relu":
        _decide(arguments, H)
    return {name: None if t is None else t.requires_grad_() for name, t in arguments.items()}


def _decide(arguments, H):
    """Keep all sums away from 0, where a rounding error switches a relu unit and its gradient on or off.

    The inputs are positive and so are the input weights of every other unit, those of the rest negative; what
    else enters the sums is small.
    """
    signs = torch.tensor([1.0, -1.0]).repeat(H)[:H, None]
    for name, tensor in arguments.items():
        if name == "x":
            tensor.abs_().add_(0.5)
        elif name.startswith("weight_ih"):
            tensor.abs_().clamp_(max=2).add_(0.5).mul_(signs / tensor.shape[1])
        elif tensor is not None and name != "h0":
            tensor.mul_(0.05)


def run(operator, arguments, lengths=None, **options):
    """The operator's results for arguments by name."""
    x, *others = arguments.values()
    count = len(operator.cell.states)
    return operator(x, others[:count], others[count:], lengths, **options)


def scan(operator, arguments, lengths=None, reverse=False):
    """The reference's results for the arguments of an operator for one direction."""
    x, *others = arguments.values()
    count = len(operator.cell.states)
    weights = Weights(*others[count:])
    states = tuple(
        x.new_zeros(len(x), width) if state is None else state
        for state, width in zip(others[:count], weights.state_widths(count), strict=True)
    )
    y, last = reference.scan(operator.cell, x, states, weights, lengths, reverse)
    return y, *last


def weighted(results, seed=1):
    """A scalar in which every number of the results counts, differently."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(r.shape, generator=generator).to(r.dtype) for r in results]
    return sum((r * w).sum() for r, w in zip(results, weights, strict=True))


def compute(function, operator, arguments, **options):
    """(results, gradients by name) of `run` or `scan`."""
    leaves = {
        name: None if tensor is None else tensor.detach().clone().requires_grad_()
        for name, tensor in arguments.items()
    }
    results = function(operator, leaves, **options)
    weighted(results).backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf is not None}
    return [r.detach() for r in results], gradients


def assert_near(got, expected, bound, name, least=1e-30):
    largest = max(expected.abs().max().item(), least)
    worst = (got.double() - expected).abs().max().item()
    assert worst <= bound * largest, f"{name}: {worst:.3g} off where the largest is {largest:.3g}"


def check(precision, operator, arguments, **options):
    """Against the float64 reference; the bound is relative to the largest value of each tensor.

    In layers of fewer than 8 units, and for bfloat16 in tensors of a handful of numbers, even the largest may
    be a small difference of large sums: there it is relative to a tenth of the largest of all gradients, if
    that is more. And one rounded weight is all that a few units' many steps and sequences see, so that
    bfloat16's error does not average out: there its bound is 5e-2.
    """
    exact = {name: None if tensor is None else tensor.double() for name, tensor in arguments.items()}
    expected, expected_gradients = compute(scan, operator, exact, **options)
    results, gradients = compute(run, operator, arguments, precision=precision, **options)
    rough, bound = precision == "bfloat16", BOUNDS[precision]
    narrow = results[0].shape[2] < 8
    if rough and narrow:
        bound = 5e-2
    for name, got, want in zip(("y", "hn", "cn"), results, expected, strict=False):
        assert_near(got, want, bound, name)
    tenth = 0.1 * max(g.abs().max().item() for g in expected_gradients.values())
    for name, want in expected_gradients.items():
        few = narrow or (rough and min(results[1].numel(), want.numel()) < 50)
        assert_near(gradients[name], want, bound, f"gradient of {name}", tenth if few else 1e-30)
