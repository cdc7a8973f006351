"""Replaces missing values, which are NaN in data as read: the only implementation, for every consumer.

Whole sequences, streams and exported graphs use it. A missing value is replaced by the last value of its
feature in the same sequence (forward-fill), and by the training mean or 0 if there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.moments import Moments
from scanline.data.source import SequenceSource
from scanline.data.transforms.graph import Graph
from scanline.recipe import Missing

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Imputer:
    """Replaces missing values by one method.

    Attributes:
        method: "error" allows no missing values; "zero" and "mean" replace them by a constant;
            "forward-fill" by the last value of the feature, or by the mean if there is none.
        means: Training mean of each of the F features; empty for "error" and "zero".
    """

    method: Missing
    means: tuple[float, ...] = ()

    @classmethod
    def fit(cls, method: Missing, train: SequenceSource) -> Self:
        """Fit the means to the training split, as the network reads it."""
        return cls(method, feature_means(train) if method in ("mean", "forward-fill") else ())

    @property
    def carries(self) -> bool:
        """Whether values are carried forward: then a stream has a state."""
        return self.method == "forward-fill"

    def carry(self, source: MemorySource) -> MemorySource:
        """Carry the last values forward, if that is the method; NaN stays where there is none before.

        To be applied before sequences are cut into other steps: a step may then have several values of one
        feature side by side.
        """
        if not self.carries:
            return source
        starts = np.repeat(source.starts, source.lengths)
        steps = _carry_forward(source.concatenated, starts)
        return source if steps is source.concatenated else replace(source, concatenated=steps)

    def fill(self, source: MemorySource) -> MemorySource:
        """Replace the values that are still missing by the constants of the method."""
        steps = self._fill(source.concatenated)
        return source if steps is source.concatenated else replace(source, concatenated=steps)

    def apply(self, source: MemorySource) -> MemorySource:
        """Replace all missing values of whole sequences."""
        return self.fill(self.carry(source))

    def moments(self, present: Moments, steps: int) -> Moments | None:
        """Return the statistics of values after the missing ones are replaced, None if they are not known.

        Args:
            present: Statistics of the values that are present.
            steps: Number of steps.
        """
        missing = steps - present.count
        if self.method == "error" or not missing.any():
            return present
        if self.carries:
            return None
        means = self.means if self.method == "mean" else (0.0,) * len(missing)
        constants = np.array(means, np.float32).astype(np.float64)
        return present.plus(Moments(missing, constants, np.zeros(len(missing))))

    def start(self, count: int, features: int) -> Float32:
        """Return the state of `count` streams before their first step: (N, F), no last values."""
        return np.full((count, features), np.nan, np.float32)

    def step(
        self, state: Float32 | None, values: Float32, lengths: NDArray[np.int64] | None = None
    ) -> tuple[Float32, Float32 | None]:
        """Replace the missing values of the next steps of N streams.

        Args:
            state: (N, F) last value of each feature, NaN if there was none; None if nothing is carried.
            values: (N, t, F).
            lengths: (N,) number of steps that each stream has; None if all have t.

        Returns:
            (filled, state): new values (N, t, F) and the new state.
        """
        if not self.carries or state is None:
            return self._fill(values), state
        N, t, F = values.shape
        # The last values are a step before the first: filling forward then starts from them.
        steps = np.concatenate([state[:, None], values], axis=1).reshape(-1, F)
        carried = _carry_forward(steps, np.repeat(np.arange(N) * (t + 1), t + 1)).reshape(N, t + 1, F)
        # Row `length` of the extended steps is the last real step; a stream with no new step keeps its state.
        ends = np.full(N, t) if lengths is None else lengths
        return self._fill(carried[:, 1:]), carried[np.arange(N), ends]

    def _fill(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.method == "error" or values.dtype == np.uint8:
            return values
        missing = np.isnan(values)
        if not missing.any():
            return values
        # (1,) or (F,) broadcasts over the steps; np.where copies, so the source keeps its NaN.
        constants = np.zeros(1, np.float32) if self.method == "zero" else np.array(self.means, np.float32)
        return np.where(missing, constants, values)

    def carry_to_onnx(self, graph: Graph, values: str, width: int) -> str:
        """Add nodes that carry values forward; see `carry`.

        Args:
            graph: The graph.
            values: Name of the values (N, T, width).
            width: Number of values of a step.

        Returns:
            The name of the result, `values` if nothing is carried.
        """
        if not self.carries:
            return values
        from onnx import numpy_helper

        N = graph.add("Gather", [graph.add("Shape", [values], "given_shape"), graph.numbers(0)], "N", axis=0)
        shape = graph.add("Concat", [N, graph.numbers(width)], "nothing_shape", axis=0)
        # The initial state of Scan is NaN: values before the first present one stay missing.
        nan = numpy_helper.from_array(np.array([np.nan], np.float32))
        before = graph.add("ConstantOfShape", [shape], "nothing_before", value=nan)
        outputs = ("last_seen", "carried")
        graph.add(
            "Scan",
            [before, values],
            *outputs,
            body=_carry_body(width),
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        )
        return outputs[1]

    def fill_to_onnx(self, graph: Graph, steps: str) -> str:
        """Add nodes that replace what is still missing by the constants; see `fill`. Return the result."""
        if self.method == "error":
            return steps
        zero = self.method == "zero"
        constants = graph.constant("zero", 0) if zero else graph.constant("means", self.means)
        return graph.add("Where", [graph.add("IsNaN", [steps], "missing"), constants, steps], "filled")

    def step_to_onnx(self, graph: Graph, step: str) -> tuple[str, dict[str, str]]:
        """Add nodes for one step (N, F) of a stream; see `step`.

        Returns:
            The name of the filled step, and the names of new states by state: "last" if values are carried.
        """
        states = {}
        if self.carries:
            missing = graph.add("IsNaN", [step], "missing_now")
            # The state is taken before `fill`, so that a constant is never carried forward as a value.
            step = states["last"] = graph.add("Where", [missing, "last", step], "carried")
        return self.fill_to_onnx(graph, step), states


def feature_means(train: SequenceSource) -> tuple[float, ...]:
    """Return the mean of each feature over the steps that have it, 0 if none has: F numbers."""
    if train.layout is not None and train.layout.statistics is not None:
        return tuple(train.layout.statistics.mean.tolist())
    sums, counts = np.zeros(train.features), np.zeros(train.features, np.int64)
    for part in train.parts():
        steps = part.steps_between(0, len(part))
        present = ~np.isnan(steps)
        # float64: a float32 sum over millions of steps loses the small values.
        sums += np.where(present, steps, 0).sum(0, dtype=np.float64)
        counts += present.sum(0)
    return tuple((sums / np.maximum(counts, 1)).tolist())


def _carry_forward(steps: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    """Replace missing values by the last one of the same feature and sequence, if there is one.

    Args:
        steps: (S, F) steps of all sequences, one sequence after another.
        starts: (S,) row at which the sequence of each step starts.

    Returns:
        (S, F), `steps` itself if nothing is missing.
    """
    if steps.dtype == np.uint8:
        return steps
    missing = np.isnan(steps)
    if not missing.any():
        return steps
    filled = steps.copy()
    rows = np.arange(len(steps))
    for feature in np.flatnonzero(missing.any(0)):  # one at a time: the indices need more memory than values
        last = np.maximum.accumulate(np.where(missing[:, feature], -1, rows))  # of any sequence
        known = np.flatnonzero(missing[:, feature] & (last >= starts))
        filled[known, feature] = steps[last[known], feature]
    return filled


def _carry_body(width: int) -> Any:
    """Return the body of Scan, one step of forward fill: (last, value) -> (new last, filled value)."""
    from onnx import TensorProto, helper

    names = ("value_before", "value_now", "value_after", "value_filled")
    before, now, after, filled = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in names
    )
    nodes = [
        helper.make_node("IsNaN", ["value_now"], ["value_missing"]),
        helper.make_node("Where", ["value_missing", "value_before", "value_now"], ["value_after"]),
        helper.make_node("Identity", ["value_after"], ["value_filled"]),
    ]
    return helper.make_graph(nodes, "carry", [before, now], [after, filled])
