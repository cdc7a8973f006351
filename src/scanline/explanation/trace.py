"""Trace of one sequence: after every step the predicted probabilities, the gates and the states."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scanline.cells import NO_INTERVENTION, Cell, Intervention, Weights
from scanline.data.source import ClassName
from scanline.explanation.what_if import WhatIf
from scanline.kernels.reference import iterate
from scanline.kernels.steps import reverse_steps, step_mask
from scanline.model.network import Network, beside
from scanline.model.pooling import Pooling
from scanline.model.prefixes import outputs_by_step
from scanline.tasks import Task

_NUMBERS = 2**24  # values of a batch of prefixes, at all steps
_BATCHES = 3  # each batch reads as far as its longest prefix only; more batches gain nothing


@dataclass(frozen=True, eq=False)
class Direction:
    """Values of one layer in one direction.

    Attributes:
        layer: Counted from 0.
        backward: Whether the direction reads from the sequence's end.
        values: The cell's `traced` values by name, (T, H) each, at the step of the sequence that they belong
            to, also in the backward direction.
    """

    layer: int
    backward: bool
    values: dict[str, NDArray[np.float32]]

    @property
    def title(self) -> str:
        """Name in plots, such as "layer 1, backward"."""
        return f"layer {self.layer + 1}" + (", backward" if self.backward else "")


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened while one sequence of T steps was read.

    Attributes:
        probabilities: (T, K), predicted if the sequence ended after each step.
        classes: Names of the K classes, or of the task's K outputs.
        directions: Values of all layers and directions.
        labels: (T,) prediction after each step; by default the most probable classes.
        predicts_numbers: Whether predictions are numbers, which have no probability, and not classes.
    """

    probabilities: NDArray[np.float64]
    classes: tuple[ClassName, ...]
    directions: tuple[Direction, ...]
    labels: tuple[ClassName | float, ...] = ()
    predicts_numbers: bool = False

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", tuple(self.classes[index] for index in self.predictions))

    @property
    def label(self) -> ClassName | float:
        """The prediction after the last step."""
        return self.labels[-1]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(T,) index of the class predicted after each step."""
        chosen: NDArray[np.int64] = self.probabilities.argmax(1)
        return chosen

    @property
    def prediction(self) -> int:
        """Index of the class predicted after the last step."""
        return int(self.predictions[-1])

    @property
    def first_reached(self) -> int:
        """First step, counted from 1, after which the final prediction was made."""
        return self.labels.index(self.label) + 1

    @property
    def settled(self) -> int:
        """Step, counted from 1, from which on the prediction was always the final one."""
        other = [step for step, label in enumerate(self.labels) if label != self.label]
        return other[-1] + 2 if other else 1

    @property
    def changes(self) -> int:
        """Number of steps after which the prediction differs from the one before."""
        return sum(one != other for one, other in pairwise(self.labels))

    def to_json(self) -> dict[str, Any]:
        """Return the whole trace, ready for JSON, with gates and states rounded to 7 decimals."""
        probability = float(self.probabilities[-1, self.prediction])
        return {
            "label": self.label,
            **({} if self.predicts_numbers else {"probability": probability}),
            "first_reached": self.first_reached,
            "settled": self.settled,
            "changes": self.changes,
            "classes": list(self.classes),
            "probabilities": self.probabilities.tolist(),
            "layers": [
                {"layer": each.layer + 1, "direction": "backward" if each.backward else "forward"}
                | {
                    name: np.round(values.astype(np.float64), 7).tolist()
                    for name, values in each.values.items()
                }
                for each in self.directions
            ],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the whole trace as arrays.

        Returns:
            `probabilities` (T, K) and, for every layer and direction, `l1_i`, `l1_f`, ..., `l1_backward_i`,
            ..., (T, H) each.
        """
        arrays: dict[str, NDArray[Any]] = {"probabilities": self.probabilities}
        for each in self.directions:
            stem = f"l{each.layer + 1}" + ("_backward" if each.backward else "")
            arrays |= {f"{stem}_{name}": values for name, values in each.values.items()}
        return arrays


@torch.inference_mode()
def trace(
    network: Network,
    values: NDArray[Any],
    task: Task,
    temperature: float = 1.0,
    what_if: WhatIf | None = None,
    baseline: NDArray[np.float32] | None = None,
) -> Trace:
    """Read one sequence and record what happens at every step.

    Gates and states are computed by the reference in float64. So are the probabilities if `what_if` changes
    anything inside the network; otherwise the last row equals the network's prediction.

    Args:
        network: The network.
        values: Inputs, (T, F), as the network takes them.
        task: What the network predicts.
        temperature: Divides the outputs, for calibrated probabilities.
        what_if: What to change; the trace is then of the changed reading.
        baseline: Inputs of a blank step, (F,), as from `attribution.baseline`; needed if steps are blank.

    Raises:
        UsageError: If `what_if` does not fit the network or the sequence; names everything.
    """
    if what_if is not None:
        what_if.check(network.architecture, len(values))
        static, given = list(network.architecture.static), values
        values = what_if.blanked(values, baseline)
        if static and values is not given:  # they belong to no step
            values[:, static] = given[:, static]
    batch = torch.as_tensor(np.ascontiguousarray(values), device=network.scale.device)[None]
    # Standardised in the network's dtype, as the network does it; float64 from there on.
    read, _ = network.embeddings.divide(network.embeddings(network.normalise(batch)))
    steps = read[0].double().cpu()
    layers = _tracers(network, what_if)
    directions, outputs = [], steps
    for number, layer in enumerate(layers):
        traced = [tracer.trace(outputs) for tracer in layer]
        for tracer, values_by_name in zip(layer, traced, strict=True):
            arrays = {name: value.float().numpy() for name, value in values_by_name.items()}
            directions.append(Direction(number, tracer.backward, arrays))
        outputs = torch.cat([each["h"] for each in traced], dim=1)  # (T, D*H)
    # An unchanged network predicts by itself, so that a trace never contradicts a prediction.
    if what_if is not None and what_if.inside:
        logits = _changed_logits(network, layers, steps, outputs, network.static_of(batch))
    else:
        logits = outputs_by_step(network, batch, None)[0].double()
    outputs_after = (logits / temperature).cpu().numpy()
    labels, probabilities = tuple(task.labels(outputs_after)), task.probabilities(outputs_after)
    # Not the type of the labels: a class may be named 7.0.
    predicts_numbers = task.decode(probabilities[-1]).probability is None
    return Trace(probabilities, task.output_names, tuple(directions), labels, predicts_numbers)


@dataclass(frozen=True, eq=False)
class _Tracer:
    """One layer in one direction, in float64 on the CPU."""

    cell: Cell
    weights: Weights
    intervention: Intervention
    backward: bool

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Return the traced values of one sequence x, (T, F), by name, (T, H) each."""
        # Read from the end; the values are flipped back, so that row t belongs to step t.
        x = x.flip(0) if self.backward else x
        steps = list(iterate(self.cell, x, self.weights, intervention=self.intervention))
        values = {name: torch.stack([step[name] for step in steps]) for name in self.cell.traced}
        return {name: value.flip(0) if self.backward else value for name, value in values.items()}

    def outputs(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (N, T, H) of sequences x, (N, T, F); undefined past their lengths, (N,)."""
        # Past its end a sequence reads on, as nothing there is used: no masking is needed.
        x = reverse_steps(x, lengths) if self.backward else x
        steps = iterate(self.cell, x.transpose(0, 1), self.weights, intervention=self.intervention)
        h = torch.stack([step["h"] for step in steps], 1)
        return reverse_steps(h, lengths) if self.backward else h


def _tracers(network: Network, what_if: WhatIf | None) -> list[list[_Tracer]]:
    """Return a tracer for each layer and, within it, each direction."""
    recurrent = network.recurrent
    return [
        [
            _Tracer(
                recurrent.cell,
                Weights(*(weight.detach().double().cpu() for weight in recurrent.weights(layer, direction))),
                NO_INTERVENTION if what_if is None else what_if.at(layer, bool(direction)),
                bool(direction),
            )
            for direction in range(recurrent.directions)
        ]
        for layer in range(recurrent.layers)
    ]


def _changed_logits(
    network: Network,
    layers: list[list[_Tracer]],
    steps: Tensor,
    outputs: Tensor,
    static: Tensor | None,
) -> Tensor:
    """Return the logits (T, K) after each step of a changed reading, in float64.

    Args:
        network: The network.
        layers: What computes it.
        steps: Standardised inputs, (T, F).
        outputs: The last layer's outputs of the whole sequence, (T, D*H).
        static: Embedded static features, (1, P), or None.
    """
    pooling = network.pooling
    # With outputs at each step, both directions read the whole sequence.
    both = network.recurrent.directions == 2 and not pooling.every_step
    # Read forward only, the outputs of a prefix are the first outputs of the whole sequence.
    pooled = _pooled_prefixes(layers, steps, pooling) if both else pooling.along(outputs)
    if static is not None:
        pooled = beside(pooled[None], static.cpu())[0]
    weight, bias = (each.detach().double().cpu() for each in (network.head.weight, network.head.bias))
    return functional.linear(network.dense(pooled), weight, bias)


def _pooled_prefixes(layers: list[list[_Tracer]], steps: Tensor, pooling: Pooling) -> Tensor:
    """Return the pooled outputs (T, 2H) after each step if the backward direction starts anew at every end.

    The first 1, 2, ... T steps are read as sequences, in `_BATCHES` batches, or more if memory requires it.

    Args:
        layers: What computes the network.
        steps: Standardised inputs, (T, F).
        pooling: The network's.
    """
    # Prefixes of similar lengths share a batch: none reads much further than its own end.
    rows = len(layers[0][0].weights.weight_ih)
    size = max(1, min(-(-len(steps) // _BATCHES), _NUMBERS // (len(steps) * rows)))
    ahead = layers[0][0].trace(steps)["h"]  # (T, H): the first forward direction is the same in all prefixes
    pooled = []
    for lengths in torch.arange(1, len(steps) + 1, dtype=torch.int64, device=steps.device).split(size):
        T = int(lengths[-1])
        # A view: all prefixes read the same memory.
        read = steps[:T].expand(len(lengths), -1, -1)  # (N, T, F)
        for number, layer in enumerate(layers):
            known = [] if number else [ahead[:T].expand(len(lengths), -1, -1)]
            read = torch.cat([*known, *(each.outputs(read, lengths) for each in layer[len(known) :])], dim=2)
        read = read.masked_fill(~step_mask(lengths, T)[:, :, None], 0.0)
        pooled.append(pooling.apply(read, lengths, 2))
    return torch.cat(pooled)
