"""One sequence, step by step: what the network would answer so far, and what its gates and states do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scanline.data.source import ClassName
from scanline.kernels.steps import reverse_steps, step_mask
from scanline.model.network import Network
from scanline.model.pooling import Pooling
from scanline.model.prefixes import outputs_by_step

if TYPE_CHECKING:  # what_if.py knows the gates from here
    from scanline.explanation.what_if import WhatIf

# What is traced of each cell, in the order in which it is computed; h is what the next layer reads.
PARTS = {"lstm": ("i", "f", "g", "o", "c", "h"), "gru": ("r", "z", "n", "h"), "rnn": ("h",)}
# Those of them that a what-if can hold at a value: the ones that are shares, from 0 to 1.
GATES: dict[str, tuple[str, ...]] = {"lstm": ("i", "f", "o"), "gru": ("r", "z"), "rnn": ()}
_NUMBERS = 2**24  # of a batch of beginnings, at all steps
_BATCHES = 3  # each reads only as far as its longest; of more, smaller ones nothing is gained


@dataclass(frozen=True, eq=False)
class Direction:
    """One layer in one direction.

    layer: counted from 0. backward: whether it reads from the end. parts: of each name in PARTS (T, H), at
    the step of the sequence that it belongs to, also where it was computed from the end.
    """

    layer: int
    backward: bool
    parts: dict[str, NDArray[np.float32]]

    @property
    def title(self) -> str:
        """As "layer 1, backward"."""
        return f"layer {self.layer + 1}" + (", backward" if self.backward else "")


@dataclass(frozen=True, eq=False)
class Trace:
    """The course of reading one sequence of T steps.

    probabilities: (T, K), of what it would answer if the sequence ended after each step. classes: K names.
    directions: of all layers.
    """

    probabilities: NDArray[np.float64]
    classes: tuple[ClassName, ...]
    directions: tuple[Direction, ...]

    @property
    def answers(self) -> NDArray[np.int64]:
        """(T,) index of the class it would answer after each step."""
        chosen: NDArray[np.int64] = self.probabilities.argmax(1)
        return chosen

    @property
    def answer(self) -> int:
        """Index of the final answer."""
        return int(self.answers[-1])

    @property
    def first_reached(self) -> int:
        """The step, counted from 1, after which it first gave its final answer."""
        return int(np.argmax(self.answers == self.answer)) + 1

    @property
    def settled(self) -> int:
        """The step, counted from 1, from which on it never gave another answer."""
        other = np.flatnonzero(self.answers != self.answer)
        return int(other[-1]) + 2 if other.size else 1

    @property
    def changes(self) -> int:
        """How often it changed its mind."""
        return int((self.answers[1:] != self.answers[:-1]).sum())

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "label": self.classes[self.answer],
            "probability": float(self.probabilities[-1, self.answer]),
            "first_reached": self.first_reached,
            "settled": self.settled,
            "changes": self.changes,
            "classes": list(self.classes),
            "probabilities": self.probabilities.tolist(),
            "layers": [
                {"layer": each.layer + 1, "direction": "backward" if each.backward else "forward"}
                | {
                    name: np.round(values.astype(np.float64), 7).tolist()
                    for name, values in each.parts.items()
                }
                for each in self.directions
            ],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The same as arrays: `probabilities`, and `l1_i`, `l1_f`, ..., `l1_backward_i`, ... for each
        layer."""
        found: dict[str, NDArray[Any]] = {"probabilities": self.probabilities}
        for each in self.directions:
            stem = f"l{each.layer + 1}" + ("_backward" if each.backward else "")
            found |= {f"{stem}_{name}": values for name, values in each.parts.items()}
        return found


@dataclass(frozen=True)
class Change:
    """What is changed inside one layer in one direction; by default nothing.

    held: gates of GATES and the value that each has at every step, in every unit. silent: units, counted from
    0, whose output is 0 at every step; their cell state goes on.
    """

    held: Mapping[str, float] = field(default_factory=dict)
    silent: tuple[int, ...] = ()

    def gate(self, name: str, total: Tensor) -> Tensor:
        """The gate whose inputs add up to `total`."""
        value = self.held.get(name)
        return total.sigmoid() if value is None else torch.full_like(total, value)

    def output(self, h: Tensor) -> Tensor:
        """What the next step, the next layer and the readout see of `h`, (..., H)."""
        return h.index_fill(-1, torch.tensor(self.silent), 0.0) if self.silent else h


@torch.inference_mode()
def trace(
    network: Network,
    values: NDArray[Any],
    classes: tuple[ClassName, ...],
    temperature: float = 1.0,
    what_if: WhatIf | None = None,
    nothing: NDArray[np.float32] | None = None,
) -> Trace:
    """Read one sequence and tell all that happens.

    values: (T, F), as the classifier takes them. classes: K names. temperature: of calibrated probabilities.
    The last row of the probabilities is what predicting the sequence gives.

    what_if: what to change; all that is told is then what happens under it. nothing: (F,), what stands in
    blank steps, as `attribution.baseline` gives it; needed where there are any. Where gates are held or units
    silenced, all is computed in float64. Raises UsageError naming all that does not fit network or sequence.
    """
    if what_if is not None:
        what_if.check(network.architecture, len(values))
        values = what_if.blanked(values, nothing)
    device = network.scale.device
    batch = torch.as_tensor(np.ascontiguousarray(values), device=device)[None]
    changed = what_if is not None and what_if.inside
    logits = None if changed else outputs_by_step(network, batch, None)[0].double()
    layers = network.recurrent
    steps = ((batch[0].to(network.scale.dtype) - network.shift) / network.scale).double().cpu()
    readers, found, read = _readers(network, what_if), [], steps
    for layer in range(layers.layers):
        outputs = []
        for direction in range(layers.directions):
            rows = readers[layer][direction](read.flip(0) if direction else read)
            parts = _stack(layers.cell, rows)
            parts = {name: part.flip(0) if direction else part for name, part in parts.items()}
            outputs.append(parts["h"])
            arrays = {name: part.float().numpy() for name, part in parts.items()}
            found.append(Direction(layer, bool(direction), arrays))
        read = torch.cat(outputs, dim=1)
    if logits is None:
        how = network.pooling
        seen = _beginnings(readers, steps, how) if layers.directions == 2 else how.along(read)
        head = (weight.detach().double().cpu() for weight in (network.head.weight, network.head.bias))
        logits = functional.linear(seen, *head)
    return Trace((logits / temperature).softmax(1).cpu().numpy(), classes, tuple(found))


@dataclass(frozen=True, eq=False)
class _Reader:
    """One layer in one direction, in float64."""

    cell: str
    weights: list[Tensor]
    change: Change

    def __call__(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The PARTS (..., H) of one step after another. x: (T, ..., F), in the order of reading."""
        return _STEPS[self.cell](x, self.change, *self.weights)


def _readers(network: Network, what_if: WhatIf | None) -> list[list[_Reader]]:
    """Those of each layer, forward and backward."""
    layers = network.recurrent
    found: list[list[_Reader]] = []
    for layer in range(layers.layers):
        found.append([])
        for direction in range(layers.directions):
            weights = [weight.detach().double().cpu() for weight in layers.weights(layer, direction)]
            change = Change() if what_if is None else what_if.at(layer, bool(direction))
            found[-1].append(_Reader(layers.cell, weights, change))
    return found


def _beginnings(readers: list[list[_Reader]], steps: Tensor, how: Pooling) -> Tensor:
    """(T, 2H) what is read out after each step where the backward direction begins anew at every end.

    steps: (T, F). The sequence's first 1, 2, ... T steps are read as sequences of their own, in _BATCHES
    batches, or as many more as memory wants.
    """
    size = max(1, min(-(-len(steps) // _BATCHES), _NUMBERS // (len(steps) * len(readers[0][0].weights[0]))))
    ahead = torch.stack([parts[-1] for parts in readers[0][0](steps)])  # (T, H), whatever comes later
    found = []
    for lengths in torch.arange(1, len(steps) + 1).split(size):
        T = int(lengths[-1])
        read = steps[:T].expand(len(lengths), -1, -1)  # (N, T, F)
        for number, layer in enumerate(readers):
            outputs = []
            for backward, reader in enumerate(layer):
                if not number and not backward:
                    outputs.append(ahead[:T].expand(len(lengths), -1, -1))
                    continue
                # Past its own end a sequence goes on reading what is not its own, and nobody looks at that.
                own = reverse_steps(read, lengths) if backward else read
                h = torch.stack([parts[-1] for parts in reader(own.transpose(0, 1))], 1)  # (N, T, H)
                outputs.append(reverse_steps(h, lengths) if backward else h)
            read = torch.cat(outputs, dim=2)
        read = read.masked_fill(~step_mask(lengths, T)[:, :, None], 0.0)
        found.append(how.apply(read, lengths, 2))
    return torch.cat(found)


def _lstm(
    x: Tensor, change: Change, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    """x: (T, ..., F). Gates in torch's order i, f, g, o. Source: Hochreiter & Schmidhuber 1997, Gers et al.
    2000."""
    h = c = x.new_zeros(*x.shape[1:-1], w_hh.shape[1])
    recur, gate = _times(w_hh, x), change.gate
    for step in x @ w_ih.T + b_ih + b_hh:
        i, f, g, o = (step + recur(h)).chunk(4, -1)
        i, f, g, o = gate("i", i), gate("f", f), g.tanh(), gate("o", o)
        c = f * c + i * g
        h = change.output(o * c.tanh())
        yield i, f, g, o, c, h


def _gru(
    x: Tensor, change: Change, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    """x: (T, ..., F). Gates in torch's order r, z, n. Source: Cho et al. 2014, as torch computes it."""
    h = x.new_zeros(*x.shape[1:-1], w_hh.shape[1])
    recur = _times(w_hh, x)
    for step in x @ w_ih.T + b_ih:
        from_input, from_state = step.chunk(3, -1), (recur(h) + b_hh).chunk(3, -1)
        r = change.gate("r", from_input[0] + from_state[0])
        z = change.gate("z", from_input[1] + from_state[1])
        n = (from_input[2] + r * from_state[2]).tanh()
        h = change.output((1 - z) * n + z * h)
        yield r, z, n, h


def _rnn(
    x: Tensor, change: Change, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    """x: (T, ..., F). Source: Elman 1990, with tanh."""
    h = x.new_zeros(*x.shape[1:-1], w_hh.shape[1])
    recur = _times(w_hh, x)
    for step in x @ w_ih.T + b_ih + b_hh:
        h = change.output((step + recur(h)).tanh())
        yield (h,)


def _times(w_hh: Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
    """What gives h @ w_hh.T for h (..., H); for a single sequence, x (T, F), without matmul's detours."""
    if x.dim() == 2:
        return w_hh.mv
    w = w_hh.T
    return lambda h: h @ w


def _stack(cell: str, rows: Iterable[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    return {
        name: torch.stack(column) for name, column in zip(PARTS[cell], zip(*rows, strict=True), strict=True)
    }


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
