"""ONNX Runtime, inference only: the recurrent operator of the standard and a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from scanline_bench.implementations import expected_class
from scanline_bench.workloads import LayerWeights, Workload

# Places of ONNX's gates among torch's: of the LSTM i, f, g, o they are i, o, f, g; of the GRU z, r, n.
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}


def _ordered(cell: str, value: np.ndarray) -> np.ndarray:
    order = GATES[cell]
    gates = np.split(value, len(order))
    return np.concatenate([gates[k] for k in order])


def _arrays(cell: str, directions: list[LayerWeights]) -> dict[str, np.ndarray]:
    """Return the operator's weights W (D, G*H, F) and R (D, G*H, H), and its biases B (D, 2*G*H)."""
    zeros = np.zeros_like(directions[0].bias_ih)
    return {
        "W": np.stack([_ordered(cell, each.weight_ih) for each in directions]),
        "R": np.stack([_ordered(cell, each.weight_hh) for each in directions]),
        "B": np.stack(
            [
                # ONNX has two biases for each gate; one is 0 where only their sum counts.
                np.concatenate(
                    [
                        _ordered(cell, each.bias_ih),
                        _ordered(cell, zeros if each.bias_hh is None else each.bias_hh),
                    ]
                )
                for each in directions
            ]
        ),
    }


class OnnxGraph:
    """An inference session.

    Args:
        workload: A workload of inference with one layer.
        precision: "float32".
        threads: Number of intra-op threads.
    """

    def __init__(self, workload: Workload, precision: str, threads: int) -> None:
        if workload.trains or workload.layers > 1 or workload.lengths or precision != "float32":
            raise ValueError("ONNX Runtime runs inference of one layer in float32")
        self.workload, self.batch = workload, workload.N
        self.x, _ = workload.make_data()
        self.streams = workload.kind == "stream"
        self.states = ("h", "c")[: (2 if workload.cell == "lstm" else 1) if self.streams else 0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(self._model().SerializeToString(), options)
        self.inputs = {f"{name}0": np.zeros((1, 1, workload.H), np.float32) for name in self.states}
        self.read = 0

    def _model(self) -> Any:
        workload, H, cell = self.workload, self.workload.H, self.workload.cell
        weights = workload.make_weights()
        arrays = _arrays(cell, weights.layers[0]) | {"head": weights.head.T, "bias": weights.head_bias}
        options: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
        if workload.bidirectional:
            options["direction"] = "bidirectional"
        initial = ["", *(f"{name}0" for name in self.states)] if self.states else []
        outputs = ["", "h", *(["c"] if cell == "lstm" else [])]
        nodes = [
            helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
            helper.make_node(
                cell.upper(), ["steps", "W", "R", "B", *initial], outputs, hidden_size=H, **options
            ),
            # h (D, N, H) becomes (N, D*H).
            helper.make_node("Transpose", ["h"], ["sequences"], perm=[1, 0, 2]),
            helper.make_node("Flatten", ["sequences"], ["last"], axis=1),
            helper.make_node("Gemm", ["last", "head", "bias"], ["logits"]),
        ]
        made = "logits"
        if self.streams:
            nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
            made = "probabilities"
        steps = 1 if self.streams else workload.T

        def tensor(name: str, *shape: int | str) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            nodes,
            "reads",
            [tensor("x", "N", steps, workload.F), *(tensor(f"{name}0", 1, "N", H) for name in self.states)],
            [tensor(made, "N", len(weights.head)), *(tensor(name, 1, "N", H) for name in self.states)],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in arrays.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return model

    def step(self) -> None:
        """See `Implementation`."""
        if self.streams:
            inputs = self.inputs | {"x": self.x[:, self.read : self.read + 1]}
            probabilities, *states = self.session.run(None, inputs)
            for name, value in zip(self.states, states, strict=True):
                self.inputs[f"{name}0"] = value
            self.read = (self.read + 1) % self.workload.T
            self.made = [probabilities]
            return
        parts = [self.x[first : first + self.batch] for first in range(0, self.workload.N, self.batch)]
        self.made = [self.session.run(None, {"x": part})[0] for part in parts]

    def result(self) -> float:
        """See `Implementation`."""
        return expected_class(self.made[0]) if self.streams else float(sum(part.sum() for part in self.made))

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> OnnxGraph:
    """Return the implementation for `workload`. variant: number of threads."""
    return OnnxGraph(workload, precision, int(variant))
