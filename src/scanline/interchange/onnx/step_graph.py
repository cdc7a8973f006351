"""The ONNX graph that reads one more step of sequences, with the states as inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from scanline import cells
from scanline.interchange.onnx.builder import GraphBuilder, value_info
from scanline.interchange.onnx.ids import (
    embed,
    has_ids,
    ids_input,
    number_features,
    number_imputer,
)
from scanline.interchange.onnx.parts import (
    add_outputs,
    all_finite,
    describe_input,
    layer_weights,
    operator,
    operator_attributes,
    standardize,
)
from scanline.model.artifact import Model

_STATE_TITLES = {"h": "hidden state", "c": "cell state"}


@dataclass(frozen=True)
class GraphState:
    """A state of the graph: an input, and an output with its value after the step.

    Attributes:
        new: Name of the output.
        shape: Its shape, with "N" for the number of sequences.
        dtype: NumPy name of its element type.
        first: The number that fills it before the first step, as text.
        holds: What it holds, in words.
    """

    new: str
    shape: tuple[int | str, ...]
    dtype: str
    first: str
    holds: str


def states(model: Model) -> dict[str, GraphState]:
    """Return the states of a model's step graph by the names of their inputs."""
    a, form = model.network.architecture, model.preprocessing
    made: dict[str, GraphState] = {}

    def add(name: str, shape: tuple[int | str, ...], dtype: str, first: str, holds: str) -> None:
        made[name] = GraphState(f"new_{name}", shape, dtype, first, holds)

    for name in cells.get(a.cell).states:
        title = _STATE_TITLES.get(name, f"state {name}")
        add(name, (a.layers, "N", a.hidden_size), "float32", "0", f"the {title} of each layer")
    for name, state in model.network.pooling.stream_states().items():
        shape: tuple[int | str, ...] = ("N", a.hidden_size) if state.per_unit else ("N",)
        add(name, shape, state.dtype, state.initial, state.content)
    if form.missing == "forward-fill" and (width := len(number_features(model))):
        add("last", ("N", width), "float32", "nan", "the last value of each feature, NaN if none")
    return made


def step_graph(
    model: Model, temperature: float, probabilities: bool, opset: int, properties: dict[str, str]
) -> ModelProto:
    """Return the graph that reads `step` (N, F), the next step of N sequences, with their states.

    With categories it reads `ids`, see `ids_input`, and `step` of the features that are numbers, if any.

    The states are inputs called as in `states`, and outputs with `new_` before that. For a step with a value
    that is not finite and is not filled the outputs are NaN, and the states of its sequence are unchanged.

    Args:
        model: The model, which reads in one direction.
        temperature: Number by which logits are divided for the probabilities.
        probabilities: Whether there is an output for them.
        opset: Version of the operators.
        properties: Metadata.
    """
    form, graph = model.preprocessing, GraphBuilder(opset)
    a = model.network.architecture
    described = states(model)
    standard, finite, width = "", "", len(number_features(model))
    new: dict[str, str] = {}
    if width:
        step, new = number_imputer(model).step_to_onnx(graph, "step")
        standard = standardize(graph, model, step)
        finite = all_finite(graph, standard, [1])
    if has_ids(model):
        standard = embed(graph, model, standard)
    size = model.network.embeddings.output_size
    read = graph.reshape(standard, [1, -1, size], "one_step")  # (T=1, N, E)
    read, after = _layers(graph, model, read)
    new |= after
    features = graph.reshape(read, [-1, a.hidden_size], "output")  # (N, H)
    features, pooled = model.network.pooling.step_to_onnx(graph, features)
    new |= pooled
    outputs = add_outputs(graph, model, features, finite, temperature, probabilities)
    inputs = [ids_input(model, whole=False)] if has_ids(model) else []
    if width:
        about = f"The next step of each sequence. {describe_input(form)}"
        inputs.append(value_info("step", ["N", width], about))
    for name, state in described.items():
        dtype = int(helper.np_dtype_to_tensor_dtype(np.dtype(state.dtype)))
        # Shape (1, N, 1) or (N, 1) or (N,), so that the test broadcasts over layers and units.
        column = [-1 if size == "N" else 1 for size in state.shape]
        if finite:
            valid = graph.reshape(finite, column, f"readable_for_{name}")
            # A step that is not finite keeps the old state, so that one bad step does not end a stream.
            graph.add("Where", [valid, new[name], name], state.new)
        else:
            graph.add("Identity", [new[name]], state.new)
        inputs.append(value_info(name, state.shape, f"{state.holds}; at first all {state.first}", dtype))
        outputs.append(value_info(state.new, state.shape, f"`{name}` after this step", dtype))
    return graph.model(
        "scanline_step",
        inputs,
        outputs,
        properties | {"states": json.dumps({name: asdict(state) for name, state in described.items()})},
        "Reads one more step of each sequence; the outputs are those for the steps so far. "
        f"{cells.get(a.cell).title} trained by Scanline on {model.data}.",
    )


def _layers(graph: GraphBuilder, model: Model, read: str) -> tuple[str, dict[str, Any]]:
    """Add all layers; return the last layer's output (1, N, H) and the new states by name."""
    a = model.network.architecture
    names = cells.get(a.cell).states
    after: dict[str, list[str]] = {name: [] for name in names}
    for layer in range(a.layers):
        before = [
            graph.add("Gather", [name, graph.numbers(layer)], f"layer_{layer}_{name}", axis=0)
            for name in names
        ]  # (1, N, H)
        outputs = [f"layer_{layer}_{name}_after" for name in names]
        # The empty name leaves out the optional input sequence_lens.
        inputs = [read, *layer_weights(graph, model, layer), "", *before]
        graph.add(operator(a), inputs, "", *outputs, **operator_attributes(a))
        for name, output in zip(names, outputs, strict=True):
            after[name].append(output)
        read = outputs[0]
    return read, {name: graph.add("Concat", after[name], f"{name}_after", axis=0) for name in names}
