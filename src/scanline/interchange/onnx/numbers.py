"""The outputs of the graph of a regression: numbers in the unit of the labels, and their interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto

from scanline.interchange.onnx.builder import GraphBuilder, value_info
from scanline.tasks.regression import Regression

_INTERVAL = "end of the prediction interval, which is made to contain"


def declare_numbers(
    graph: GraphBuilder, standardised: str, task: Regression, every_step: bool = False
) -> list[ValueInfoProto]:
    """Add the number and its interval, and return the outputs of the graph.

    They are float64, as Scanline's predictions: float32 would lose digits to a mean that is large beside the
    deviation.

    Args:
        graph: The graph.
        standardised: Output of the head, (N, 1), or (N, T, 1).
        task: The task, which has mean, scale and half width.
        every_step: Whether there is a number for each step.
    """

    def constant(name: str, value: float) -> str:
        return graph.constant(name, value, np.float64)

    column = graph.add("Cast", [standardised], "number_float64", to=TensorProto.DOUBLE)
    shape: list[int | str] = ["N", "T"] if every_step else ["N"]
    # 0 keeps a dimension as it is.
    flat = graph.reshape(column, [0, -1] if every_step else [-1], "number_standardised")
    padding = " Undefined past the end of a sequence." if every_step else ""
    scaled = graph.add("Mul", [flat, constant("target_scale", task.scale)], "number_scaled")
    graph.add("Add", [scaled, constant("target_mean", task.mean)], "number")
    made = [value_info("number", shape, f"The predicted number.{padding}", TensorProto.DOUBLE)]
    if task.half_width is None:
        return made
    half = constant("half_width", task.half_width)
    for name, operator, which in (("low", "Sub", "Lower"), ("high", "Add", "Upper")):
        graph.add(operator, ["number", half], name)
        about = f"{which} {_INTERVAL} {100 * task.level:g} % of the targets.{padding}"
        made.append(value_info(name, shape, about, TensorProto.DOUBLE))
    return made


def as_logits(outputs: dict[str, NDArray[Any]], task: Regression, expected: NDArray[Any]) -> NDArray[Any]:
    """Return what the graph's head computed, from the output that is farthest from the model's.

    Args:
        outputs: Outputs of the graph by name, (N,) each; of the steps (S,).
        task: The task.
        expected: Outputs of the model's head, (N, 1).

    Returns:
        (N, 1).
    """
    half = task.half_width or 0.0
    moved = {"number": 0.0, "low": half, "high": -half}
    heads = [(outputs[name] + by - task.mean) / task.scale for name, by in moved.items() if name in outputs]
    apart = [float(np.abs(each - expected[:, 0]).max()) for each in heads]
    # NaN compares as the farthest.
    farthest = int(np.argmax(np.nan_to_num(np.array(apart), nan=np.inf)))
    head: NDArray[Any] = heads[farthest][:, None]
    return head
