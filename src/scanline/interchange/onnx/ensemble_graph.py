"""The ONNX graph of a model: that of its network, or one with all members of an ensemble and their mean."""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto
from onnx.compose import add_prefix_graph

from scanline.interchange.onnx.builder import GraphBuilder
from scanline.interchange.onnx.parts import declare_outputs, takes_pictures
from scanline.interchange.onnx.sequence_graph import sequence_graph
from scanline.model.artifact import TrainedModel
from scanline.model.ensemble import Ensemble


def whole_graph(
    model: TrainedModel, temperature: float, probabilities: bool, opset: int, properties: dict[str, str]
) -> ModelProto:
    """Return the graph that reads whole sequences or pictures; for arguments see `sequence_graph`."""
    pictures = takes_pictures(model)
    if isinstance(model, Ensemble):
        return _ensemble_graph(model, temperature, probabilities, opset, properties, pictures)
    return sequence_graph(model.models[0], temperature, probabilities, opset, properties, pictures)


def _ensemble_graph(
    model: Ensemble,
    temperature: float,
    probabilities: bool,
    opset: int,
    properties: dict[str, str],
    pictures: bool,
) -> ModelProto:
    """Return the graph of an ensemble: its members read the same inputs.

    The logits are the logarithm of the mean of the members' probabilities.
    """
    graph = GraphBuilder(opset)
    rows = []
    for number, (member, order) in enumerate(zip(model.members, model.class_orders, strict=True), 1):
        name = f"member_{number}_"
        own = sequence_graph(member, 1.0, False, opset, {}, pictures).graph
        graph.include(add_prefix_graph(own, name, rename_inputs=False, inplace=True))
        inputs, logits = list(own.input), f"{name}logits"
        if order != sorted(order):
            indices = graph.constant(f"{name}order", order, np.int64)
            logits = graph.add("Gather", [logits, indices], f"{name}ordered_logits", axis=1)
        rows.append(graph.add("LogSoftmax", [logits], f"{name}log_probabilities", axis=1))
    # The logarithm of the sum of exponentials; the largest is subtracted, so that none of them is too small.
    largest = graph.add("Max", rows, "largest")
    terms = []
    for number, row in enumerate(rows, 1):
        below = graph.add("Sub", [row, largest], f"member_{number}_below")
        terms.append(graph.add("Exp", [below], f"member_{number}_term"))
    above = graph.add("Log", [graph.add("Sum", terms, "sum")], "above")
    count = graph.constant("log_of_members", math.log(len(rows)))
    logits = graph.add("Add", [graph.add("Sub", [largest, count], "less"), above], "logits")
    what = "Logarithm of the mean of the members' probabilities"
    outputs = declare_outputs(graph, logits, len(model.class_names), temperature, probabilities, what)
    return graph.model(
        "scanline_ensemble",
        inputs,
        outputs,
        properties,
        f"Classifies whole sequences. Ensemble of {len(rows)} models trained by Scanline on {model.data}.",
    )
