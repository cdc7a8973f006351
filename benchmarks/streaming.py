"""Measure the time of one step of a session.

    python benchmarks/streaming.py

LSTM 128, 28 features, one sequence, one step per call, one thread; beside it torch.nn.LSTMCell with the same
weights and softmax, and, if it is installed, ONNX Runtime with the exported step graph. The implementations
alternate; prints medians of 2,000 calls each.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

CALLS, ROUNDS = 400, 5


def torch_cell(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    network = model.network
    cell = torch.nn.LSTMCell(28, 128)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict(dict(zip(names, network.recurrent.weights(0, 0), strict=True)))
    state = [torch.zeros(1, 128), torch.zeros(1, 128)]

    @torch.inference_mode()
    def feed(step: np.ndarray) -> np.ndarray:
        state[:] = cell(torch.from_numpy(step)[None], tuple(state))
        return network.head(state[0]).softmax(1).numpy()

    return feed


def onnx_step(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    from scanline.interchange.onnx.write import export_step_graph

    with tempfile.TemporaryDirectory() as folder:
        export_step_graph(model, Path(folder) / "step.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession((Path(folder) / "step.onnx").read_bytes(), options)
    state = {"h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}
    outputs = [each.name for each in session.get_outputs()]

    def feed(step: np.ndarray) -> np.ndarray:
        found = dict(zip(outputs, session.run(None, {"step": step[None]} | state), strict=True))
        for name in state:
            state[name] = found[f"new_{name}"]
        return found["probabilities"]

    return feed


def main() -> None:
    torch.set_num_threads(1)
    architecture = Architecture("lstm", 28, 128, 1, False, 0.0, "between", "last", 10)
    form = Preprocessing(None, "rows", 0, 28, 28, "error", (), DEFAULT_DATA)
    model = Model(Network(architecture).eval(), Classification(tuple(range(10))), form, "made up")
    ways = {"Scanline": model.stream().feed, "torch.nn.LSTMCell": torch_cell(model)}
    if importlib.util.find_spec("onnxruntime"):
        ways["ONNX Runtime"] = onnx_step(model)
    steps = np.random.default_rng(0).random((CALLS, 28)).astype(np.float32)
    times: dict[str, list[int]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, feed in ways.items():
            for step in steps:
                begin = time.perf_counter_ns()
                feed(step)
                times[name].append(time.perf_counter_ns() - begin)
    for name, own in times.items():
        print(f"{name:<18} {statistics.median(own) / 1e3:6.1f} microseconds a step")


if __name__ == "__main__":
    main()
