"""The ONNX graph that reads whole sequences, or whole pictures."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from scanline import cells
from scanline.data.preprocessing import Preprocessing
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
from scanline.interchange.onnx.static import (
    categories,
    divide,
    join,
    numbers_by_step,
    static_inputs,
    with_static,
)
from scanline.model.artifact import Model
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression


def sequence_graph(
    model: Model,
    temperature: float,
    probabilities: bool,
    opset: int,
    properties: dict[str, str],
    pictures: bool,
) -> ModelProto:
    """Return the graph that reads `steps` (N, T, F) with `lengths` (N,), or `pictures`.

    With categories it reads `ids`, see `ids_input`, and `steps` of the features that are numbers, if any;
    static features have inputs of their own, see `static_inputs`.

    Its outputs are `logits` (N, K) and, if wanted, `probabilities` (N, K), or (N, T, K) if the model predicts
    each step. They are NaN for a sequence with a value that is not finite and is not filled.

    Args:
        model: The model.
        temperature: Number by which logits are divided for the probabilities.
        probabilities: Whether there is an output for them.
        opset: Version of the operators.
        properties: Metadata.
        pictures: Whether it reads whole pictures.
    """
    network, form, graph = model.network, model.preprocessing, GraphBuilder(opset)
    a = network.architecture
    if pictures:
        values, ids, lengths, real, inputs = _picture_inputs(graph, form)
    else:
        values, ids, lengths, real, inputs = _step_inputs(graph, model)
    standard, finite = _standardised(graph, model, values, real) if values else ("", "")
    if has_ids(model):
        standard = embed(graph, model, standard, ids)
    static = ""
    if form.static:
        standard, static = divide(graph, model, standard)
    read = graph.add("Transpose", [standard], "time_major", perm=[1, 0, 2])  # (T, N, F)
    final = ""
    for layer in range(a.layers):
        outputs, final = _layer(graph, model, layer, read, lengths)
        if layer < a.layers - 1 or network.pooling.reads_outputs:
            # ONNX returns (T, D, N, H); the next layer reads the directions of a step side by side.
            by_sequence = graph.add("Transpose", [outputs], f"layer_{layer}_turned", perm=[0, 2, 1, 3])
            read = graph.reshape(by_sequence, [0, 0, -1], f"layer_{layer}_steps")  # (T, N, D*H)

    def counts() -> str:
        return "lengths" if real else graph.numbers(_picture_steps(form))

    features = network.pooling.to_onnx(graph, read, final, real, counts)
    if static:
        features = join(graph, model, features, static)
    every_step = network.pooling.every_step
    outputs_info = add_outputs(graph, model, features, finite, temperature, probabilities, every_step)
    return graph.model(
        "scanline_sequences",
        inputs,
        outputs_info,
        properties,
        f"{_purpose(model)} {cells.get(a.cell).title} trained by Scanline on {model.data}.",
    )


def _standardised(graph: GraphBuilder, model: Model, values: str, real: str) -> tuple[str, str]:
    """Add imputation and scaling; return the result, and whether all values of a sequence are finite."""
    imputer = number_imputer(model)
    if real:  # pictures carry values along their rows, before they are cut into steps
        values = imputer.carry_to_onnx(graph, values, len(number_features(model)))
    standard = standardize(graph, model, imputer.fill_to_onnx(graph, values))
    if real:  # values past the end of a sequence, NaN included, have no effect from here on
        standard = graph.add("Where", [real, standard, graph.constant("zero", 0)], "own_steps")
    return standard, all_finite(graph, standard, [1, 2])


def _purpose(model: Model) -> str:
    if isinstance(model.task, Regression):
        return f"Predicts a number for {'each step' if model.task.per_step else 'whole sequences'}."
    if isinstance(model.task, Multilabel):
        return "Predicts the classes, several or none, of whole sequences."
    return "Classifies whole sequences."


def _picture_steps(form: Preprocessing) -> int:
    assert form.picture is not None
    return form.picture.height * form.picture.width * form.picture.channels // form.features


def _step_inputs(graph: GraphBuilder, model: Model) -> tuple[str, str, str, str, list[ValueInfoProto]]:
    """Return (steps, ids, lengths for the recurrent operators, (N, T, 1) whether a step exists, inputs).

    Steps are "" if all features are categories.
    """
    form, width = model.preprocessing, len(numbers_by_step(model))
    shape = graph.add("Shape", ["steps" if width else "ids"], "steps_shape")
    T = graph.add("Gather", [shape, graph.constant("one", 1, np.int64)], "T", axis=0)
    limits = [graph.constant("none", 0, np.int64), T, graph.constant("one", 1, np.int64)]
    index = graph.reshape(graph.add("Range", limits, "step_numbers"), [1, -1, 1], "step_index")
    ends = graph.reshape("lengths", [-1, 1, 1], "ends")
    real = graph.add("Less", [index, ends], "real")  # (N, T, 1)
    lengths = graph.add("Cast", ["lengths"], "lengths_int32", to=TensorProto.INT32)
    about = f"{describe_input(form)} Values past `lengths` are not read."
    inputs = [ids_input(model, whole=True)] if categories(model, static=False) else []
    inputs += [value_info("steps", ["N", "T", width], about)] if width else []
    counts = "Number of steps of each sequence: 1 to T."
    inputs.append(value_info("lengths", ["N"], counts, TensorProto.INT64))
    values, ids = "steps" if width else "", "ids"
    if form.static:
        values, ids = with_static(graph, model, T)
        inputs += static_inputs(model)
    return values, ids, lengths, real, inputs


def _picture_inputs(
    graph: GraphBuilder, form: Preprocessing
) -> tuple[str, str, str, str, list[ValueInfoProto]]:
    """Return the same for pictures, which all have the same number of steps."""
    picture, view = form.picture, form.picture_view
    assert picture is not None
    assert view is not None
    width = picture.width * picture.channels
    rows = form.imputer.carry_to_onnx(graph, "pictures", width)
    if view.order is not None:
        flat = graph.reshape(rows, [0, -1], "picture_values")
        order = graph.constant("view_order", view.order, np.int64)
        rows = graph.add("Gather", [flat, order], f"view_{form.view.replace(':', '_')}", axis=1)
    steps = graph.reshape(rows, [-1, _picture_steps(form), form.features], "steps")
    return steps, "", "", "", [value_info("pictures", ["N", picture.height, width], describe_input(form))]


def _layer(graph: GraphBuilder, model: Model, layer: int, read: str, lengths: str) -> tuple[str, str]:
    """Add a layer from zero states; return outputs (T, D, N, H) and the last states (D, N, H)."""
    a = model.network.architecture
    inputs = [read, *layer_weights(graph, model, layer)] + ([lengths] if lengths else [])
    outputs, final = f"layer_{layer}_outputs", f"layer_{layer}_final"
    graph.add(operator(a), inputs, outputs, final, **operator_attributes(a))
    return outputs, final
