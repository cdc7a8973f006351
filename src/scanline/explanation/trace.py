"""One sequence, step by step: what the network would answer so far, and what its gates and states do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.sequences import ClassName
from scanline.evaluation.steps import logits_along
from scanline.model.classifier import SequenceClassifier

# What is traced of each cell, in the order in which it is computed; h is what the next layer reads.
PARTS = {"lstm": ("i", "f", "g", "o", "c", "h"), "gru": ("r", "z", "n", "h"), "rnn": ("h",)}


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


@torch.inference_mode()
def trace(
    classifier: SequenceClassifier,
    values: NDArray[Any],
    classes: tuple[ClassName, ...],
    temperature: float = 1.0,
) -> Trace:
    """Read one sequence and tell all that happens.

    values: (T, F), as the classifier takes them. classes: K names. temperature: of calibrated probabilities.
    The last row of the probabilities is what predicting the sequence gives.
    """
    device = classifier.scale.device
    batch = torch.as_tensor(np.ascontiguousarray(values), device=device)[None]
    logits = logits_along(classifier, batch, None)[0].double() / temperature
    layers = classifier.recurrent
    read = ((batch[0].to(classifier.scale.dtype) - classifier.shift) / classifier.scale).double().cpu()
    found = []
    for layer in range(layers.layers):
        outputs = []
        for direction in range(layers.directions):
            weights = [weight.detach().double().cpu() for weight in layers.weights(layer, direction)]
            steps = read.flip(0) if direction else read
            parts = _STEPS[layers.cell](steps, *weights)
            parts = {name: part.flip(0) if direction else part for name, part in parts.items()}
            outputs.append(parts["h"])
            arrays = {name: part.float().numpy() for name, part in parts.items()}
            found.append(Direction(layer, bool(direction), arrays))
        read = torch.cat(outputs, dim=1)
    return Trace(logits.softmax(1).cpu().numpy(), classes, tuple(found))


def _lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """x: (T, F). Gates in torch's order i, f, g, o. Source: Hochreiter & Schmidhuber 1997, Gers et al.
    2000."""
    h = c = x.new_zeros(w_hh.shape[1])
    rows = []
    for step in x @ w_ih.T + b_ih + b_hh:
        i, f, g, o = (step + w_hh @ h).chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        rows.append((i, f, g, o, c, h))
    return _stack("lstm", rows)


def _gru(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """x: (T, F). Gates in torch's order r, z, n. Source: Cho et al. 2014, as torch computes it."""
    h = x.new_zeros(w_hh.shape[1])
    rows = []
    for step in x @ w_ih.T + b_ih:
        from_input, from_state = step.chunk(3), (w_hh @ h + b_hh).chunk(3)
        r, z = (from_input[0] + from_state[0]).sigmoid(), (from_input[1] + from_state[1]).sigmoid()
        n = (from_input[2] + r * from_state[2]).tanh()
        h = (1 - z) * n + z * h
        rows.append((r, z, n, h))
    return _stack("gru", rows)


def _rnn(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """x: (T, F). Source: Elman 1990, with tanh."""
    h = x.new_zeros(w_hh.shape[1])
    rows = []
    for step in x @ w_ih.T + b_ih + b_hh:
        h = (step + w_hh @ h).tanh()
        rows.append((h,))
    return _stack("rnn", rows)


def _stack(cell: str, rows: Sequence[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    return {
        name: torch.stack(column) for name, column in zip(PARTS[cell], zip(*rows, strict=True), strict=True)
    }


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
