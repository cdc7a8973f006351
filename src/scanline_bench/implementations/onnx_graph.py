"""ONNX Runtime, inference only: the LSTM operator of the standard and a matrix product."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from scanline_bench.workloads import Workload


def _gates(weight: np.ndarray) -> np.ndarray:
    """Reorder torch's gates i, f, g, o to ONNX's i, o, f, c and add the axis of directions in front."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])[None]


class OnnxGraph:
    """An inference session.

    Args:
        workload: An inference workload with one layer.
        precision: "float32".
        threads: Number of intra-op threads.
    """

    def __init__(self, workload: Workload, precision: str, threads: int) -> None:
        if workload.kind == "train" or workload.layers > 1 or precision != "float32":
            raise ValueError("ONNX Runtime runs inference of one layer in float32")
        self.workload, self.batch = workload, workload.N
        self.x, _ = workload.make_data()
        weight_ih, weight_hh, bias, head, head_bias = workload.make_weights()
        # ONNX has two biases for each gate; the recurrent one is 0.
        biases = np.concatenate([_gates(bias), np.zeros_like(_gates(bias))], axis=1)
        named = {
            "W": _gates(weight_ih),
            "R": _gates(weight_hh),
            "B": biases,
            "head": head.T,
            "bias": head_bias,
        }
        named["axes"] = np.array([0])
        nodes = [
            helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["steps", "W", "R", "B"], ["", "h", ""], hidden_size=workload.H),
            helper.make_node("Squeeze", ["h", "axes"], ["last"]),
            helper.make_node("Gemm", ["last", "head", "bias"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            "reads",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", workload.T, workload.F])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(head)])],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in named.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def step(self) -> None:
        """See `Implementation`."""
        parts = [self.x[first : first + self.batch] for first in range(0, self.workload.N, self.batch)]
        self.made = [self.session.run(None, {"x": part})[0] for part in parts]

    def result(self) -> float:
        """See `Implementation`."""
        return float(sum(part.sum() for part in self.made))

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> OnnxGraph:
    """Return the implementation for `workload`. variant: number of threads."""
    return OnnxGraph(workload, precision, int(variant))
