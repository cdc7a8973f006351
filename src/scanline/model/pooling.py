"""Pooling: from the outputs of all steps to one vector for each sequence, or for each step.

The only implementation of last, mean, max, last-step and every-step pooling, for whole sequences, for every
prefix of a sequence, for streams and for ONNX graphs. The recipe chooses it with `model.readout`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.transforms.graph import Graph
from scanline.errors import UsageError, did_you_mean
from scanline.kernels.steps import step_mask

State = dict[str, NDArray[Any]]
_FLOAT, _DOUBLE = 1, 11  # element types of ONNX


@dataclass(frozen=True)
class StreamState:
    """A state that a stream keeps for the pooling; its array is (N, H), or (N,) if `per_unit` is False.

    Attributes:
        dtype: NumPy name of the element type.
        initial: Number that fills it before the first step, as text: "0" or "-inf".
        content: What it holds, in words.
        per_unit: Whether there is a value for each unit, or one for each sequence.
    """

    dtype: str
    initial: str
    content: str
    per_unit: bool = True


class Pooling(ABC):
    """One way of pooling. D directions of H units; `outputs` are 0 past the end of each sequence.

    Attributes:
        name: Name in the recipe.
        reads_outputs: Whether it needs the outputs of all steps; otherwise the final states are enough.
        every_step: Whether there is a vector for each step, so that `apply` returns (N, T, D*H).
    """

    name: ClassVar[str]
    reads_outputs: ClassVar[bool] = True
    every_step: ClassVar[bool] = False

    @abstractmethod
    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return one vector (N, D*H) for each sequence.

        Args:
            outputs: (N, T, D*H) outputs of the last layer.
            lengths: (N,) number of steps, or None if all are T.
            directions: D, 1 or 2.
            states: (N, D*H) states after the last step of each direction, if they are known.
        """

    @abstractmethod
    def along(self, outputs: Tensor) -> Tensor:
        """Return what `apply` returns for every prefix of a sequence read forward only.

        Args:
            outputs: (..., T, H).

        Returns:
            (..., T, H): at step t the vector for the first t + 1 steps.
        """

    def start(self, n: int, units: int) -> State:
        """Return the arrays that a stream of `n` sequences keeps, before the first step."""
        return {
            name: np.full((n, units), float(each.initial), each.dtype)
            for name, each in self.stream_states().items()
            if each.per_unit
        }

    @abstractmethod
    def step(
        self, state: State, outputs: NDArray[np.float32], counts: NDArray[np.int64], real: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Return what `apply` returns after each of the next t steps, and update `state`.

        Args:
            state: What `start` returned, updated in place.
            outputs: (N, t, H) outputs of these steps.
            counts: (N, t) number of steps of the sequence up to and including each of these.
            real: (N, t, 1) whether a step exists; None if all do.
        """

    def stream_states(self) -> dict[str, StreamState]:
        """Return the states of a stream by name."""
        return {}

    @abstractmethod
    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Add the pooling of whole sequences to an ONNX graph.

        Args:
            graph: The graph.
            outputs: Name of the outputs (T, N, D*H).
            final: Name of the states after the last step, (D, N, H).
            real: Name of (N, T, 1) whether a step exists; "" if all do.
            counts: Adds the number of steps, (N,) or (1,), to the graph and returns its name.

        Returns:
            Name of the pooled vectors (N, D*H).
        """

    @abstractmethod
    def step_to_onnx(self, graph: Graph, output: str) -> tuple[str, dict[str, str]]:
        """Add the pooling of one step of a stream to an ONNX graph.

        Args:
            graph: The graph, with an input for each of `stream_states`.
            output: Name of the step's outputs (N, H).

        Returns:
            Name of the pooled vectors (N, H), and the name of each new state.
        """


class _StepItself(Pooling):
    """Poolings whose vector after a step is the output of that step."""

    def along(self, outputs: Tensor) -> Tensor:
        """Return `outputs`."""
        return outputs

    def step(
        self, state: State, outputs: NDArray[np.float32], counts: NDArray[np.int64], real: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Return `outputs`."""
        return outputs

    def step_to_onnx(self, graph: Graph, output: str) -> tuple[str, dict[str, str]]:
        """Add nothing."""
        return output, {}


class Last(_StepItself):
    """Each direction's state after it has read the whole sequence.

    For the forward direction that is the sequence's last step, for the backward direction its first.
    """

    name = "last"
    reads_outputs = False

    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return the final states, (N, D*H)."""
        if states is not None:
            return states
        if lengths is None:
            last = outputs[:, -1]
        else:
            # Each sequence's own last step, not the last step of the padded batch.
            last = outputs[torch.arange(len(outputs), dtype=torch.int64, device=outputs.device), lengths - 1]
        if directions == 1:
            return last
        half = outputs.shape[2] // 2
        # The backward direction reads the first step last, for any length.
        return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1)

    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Add the concatenation of the directions' final states."""
        by_sequence = graph.add("Transpose", [final], "final_turned", perm=[1, 0, 2])  # (N, D, H)
        return graph.reshape(by_sequence, [0, -1], "last")


class LastStep(Last):
    """The outputs of both directions at the last step of the sequence.

    The backward direction has read only that step.

    Tutorials that read outputs[:, -1] of a bidirectional layer compute this. In one direction it is `Last`.
    """

    name = "last-step"
    reads_outputs = True

    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return the outputs at the last steps, (N, D*H)."""
        if lengths is None:
            return outputs[:, -1]
        return outputs[torch.arange(len(outputs), dtype=torch.int64, device=outputs.device), lengths - 1]

    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Gather the outputs at the last steps."""
        if not real:
            last = graph.add("Gather", [outputs, graph.numbers(-1)], "last_step", axis=0)  # (1, N, D*H)
            return graph.reduce("ReduceMax", last, [0], "last")
        # GatherND with batch dimensions would need opset 12; GatherElements takes an index of the output's
        # shape, (N, 1, D*H).
        by_sequence = graph.add("Transpose", [outputs], "outputs_turned", perm=[1, 0, 2])
        index = graph.add("Sub", [counts(), graph.numbers(1)], "last_index")
        width = graph.add(
            "Gather", [graph.add("Shape", [outputs], "outputs_shape"), graph.numbers(2)], "width", axis=0
        )
        shape = graph.add("Concat", [graph.numbers(1, 1), width], "index_shape", axis=0)
        index = graph.add("Expand", [graph.reshape(index, [-1, 1, 1], "index_column"), shape], "index")
        last = graph.add("GatherElements", [by_sequence, index], "last_step", axis=1)  # (N, 1, D*H)
        return graph.reduce("ReduceMax", last, [1], "last")


class Mean(Pooling):
    """The mean over the sequence's own steps.

    Sums are float64: padding with zeros, and the number of them, then changes no bit of the result.
    """

    name = "mean"

    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return the mean outputs, (N, D*H)."""
        total = outputs.sum(1, dtype=torch.float64)
        return (total / (outputs.shape[1] if lengths is None else lengths[:, None])).to(outputs.dtype)

    def along(self, outputs: Tensor) -> Tensor:
        """Return the cumulative means."""
        counts = torch.arange(1, outputs.shape[-2] + 1, device=outputs.device, dtype=torch.float64)
        return outputs.cumsum(-2) / counts[:, None]

    def step(
        self, state: State, outputs: NDArray[np.float32], counts: NDArray[np.int64], real: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Return the means so far, and add these steps to the sums."""
        added = outputs if real is None else np.where(real, outputs, 0)
        sums = state["sum"][:, None] + added.cumsum(1, dtype=np.float64)
        # A copy: a view would keep the sums of all t steps in memory.
        state["sum"] = sums[:, -1].copy()
        means: NDArray[np.float32] = (sums / counts[:, :, None]).astype(np.float32)
        return means

    def stream_states(self) -> dict[str, StreamState]:
        """Return the sum of the outputs and the number of steps."""
        return {
            "sum": StreamState("float64", "0", "the sum of the last layer's outputs"),
            "count": StreamState("int64", "0", "the number of steps read", per_unit=False),
        }

    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Add a masked sum in float64 and the division by the number of steps."""
        if real:
            mask = graph.add("Transpose", [real], "real_turned", perm=[1, 0, 2])  # (T, N, 1)
            outputs = graph.add("Where", [mask, outputs, graph.constant("zero", 0)], "outputs_or_zero")
        exact = graph.add("Cast", [outputs], "outputs_double", to=_DOUBLE)
        return _mean(graph, graph.reduce("ReduceSum", exact, [0], "sum"), counts())

    def step_to_onnx(self, graph: Graph, output: str) -> tuple[str, dict[str, str]]:
        """Add one step to sum and count, and the division."""
        exact = graph.add("Cast", [output], "output_double", to=_DOUBLE)
        total = graph.add("Add", ["sum", exact], "sum_after")
        count = graph.add("Add", ["count", graph.numbers(1)], "count_after")
        return _mean(graph, total, count), {"sum": total, "count": count}


class Max(Pooling):
    """The maximum over the sequence's own steps."""

    name = "max"

    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return the maximal outputs, (N, D*H)."""
        if lengths is not None:
            mask = step_mask(lengths, outputs.shape[1])
            outputs = outputs.masked_fill(~mask[:, :, None], -torch.inf)
        return outputs.amax(1)

    def along(self, outputs: Tensor) -> Tensor:
        """Return the cumulative maxima."""
        return outputs.cummax(-2).values

    def step(
        self, state: State, outputs: NDArray[np.float32], counts: NDArray[np.int64], real: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Return the maxima so far, and keep the last ones."""
        own = outputs if real is None else np.where(real, outputs, -np.inf).astype(np.float32)
        maxima: NDArray[np.float32] = np.maximum(state["max"][:, None], np.maximum.accumulate(own, 1))
        # A copy: a view would keep the maxima of all t steps in memory.
        state["max"] = maxima[:, -1].copy()
        return maxima

    def stream_states(self) -> dict[str, StreamState]:
        """Return the maximum so far."""
        return {"max": StreamState("float32", "-inf", "the maximum of the last layer's outputs")}

    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Add a masked maximum."""
        if real:
            mask = graph.add("Transpose", [real], "real_turned", perm=[1, 0, 2])  # (T, N, 1)
            lowest = graph.constant("lowest", -np.inf)
            outputs = graph.add("Where", [mask, outputs, lowest], "outputs_or_lowest")
        return graph.reduce("ReduceMax", outputs, [0], "max")

    def step_to_onnx(self, graph: Graph, output: str) -> tuple[str, dict[str, str]]:
        """Add the maximum of the state and this step."""
        maximum = graph.add("Max", ["max", output], "max_after")
        return maximum, {"max": maximum}


class EveryStep(_StepItself):
    """The outputs of each step, of both directions: no pooling, for tasks with a target at each step."""

    name = "every-step"
    every_step = True

    def apply(
        self, outputs: Tensor, lengths: Tensor | None, directions: int, states: Tensor | None = None
    ) -> Tensor:
        """Return `outputs`, (N, T, D*H)."""
        return outputs

    def to_onnx(self, graph: Graph, outputs: str, final: str, real: str, counts: Callable[[], str]) -> str:
        """Add the transposition to (N, T, D*H)."""
        return graph.add("Transpose", [outputs], "every_step", perm=[1, 0, 2])


def _mean(graph: Graph, total: str, count: str) -> str:
    """Float64 sums (N, D*H) over counts (N,) or (1,), as float32."""
    counts = graph.add("Cast", [count], "count_double", to=_DOUBLE)
    mean = graph.add("Div", [total, graph.reshape(counts, [-1, 1], "count_column")], "mean_double")
    return graph.add("Cast", [mean], "mean", to=_FLOAT)


_POOLINGS: dict[str, Pooling] = {
    pooling.name: pooling for pooling in (Last(), Mean(), Max(), LastStep(), EveryStep())
}


def get(name: str) -> Pooling:
    """Return the pooling called `name`.

    Raises:
        UsageError: If there is no such pooling; names the legal values.
    """
    if name not in _POOLINGS:
        raise UsageError(
            f"pooling must be one of {', '.join(_POOLINGS)}, got {name!r}{did_you_mean(name, _POOLINGS)}"
        )
    return _POOLINGS[name]
