"""ONNX Runtime, for inference: the standard's LSTM operator and a matrix product."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from scanline_bench.works import Work


def _gates(weight: np.ndarray) -> np.ndarray:
    """From torch's order i, f, g, o to ONNX's i, o, f, c, with the axis of directions in front."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])[None]


class OnnxContestant:
    """A session on two threads."""

    def __init__(self, work: Work, precision: str, threads: int) -> None:
        if work.kind == "train" or work.layers > 1 or precision != "float32":
            raise ValueError("ONNX Runtime answers, in float32")
        self.work, self.batch = work, work.N
        self.x, _ = work.make_data()
        weight_ih, weight_hh, bias, head, head_bias = work.make_weights()
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
            helper.make_node("LSTM", ["steps", "W", "R", "B"], ["", "h", ""], hidden_size=work.H),
            helper.make_node("Squeeze", ["h", "axes"], ["last"]),
            helper.make_node("Gemm", ["last", "head", "bias"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            "reads",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", work.T, work.F])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(head)])],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in named.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def step(self) -> None:
        """As the contestant's protocol has it."""
        parts = [self.x[first : first + self.batch] for first in range(0, self.work.N, self.batch)]
        self.made = [self.session.run(None, {"x": part})[0] for part in parts]

    def result(self) -> float:
        """As the contestant's protocol has it."""
        return float(sum(part.sum() for part in self.made))

    def use_batch(self, size: int) -> None:
        """As the contestant's protocol has it."""
        self.batch = size


def make(work: Work, precision: str, variant: str) -> OnnxContestant:
    """Set up. variant: the number of threads."""
    return OnnxContestant(work, precision, int(variant))
