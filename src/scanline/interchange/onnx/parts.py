"""The parts that the graph of whole sequences and the graph of one step share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto

from scanline import cells
from scanline.data.preprocessing import Preprocessing
from scanline.interchange.onnx.builder import GraphBuilder, to_array, value_info
from scanline.interchange.onnx.ids import number_features
from scanline.interchange.onnx.numbers import declare_numbers
from scanline.model.artifact import Model, TrainedModel
from scanline.model.network import Architecture
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression

_FILLS = {
    "error": "No value may be NaN.",
    "zero": "NaN is read as 0.",
    "mean": "NaN is read as the training mean.",
    "forward-fill": "NaN is read as the last value, at first as the training mean.",
}


def reads_pictures(form: Preprocessing) -> bool:
    """Return whether the graph takes whole pictures. With the view "rows" it takes steps, as for others."""
    return form.picture is not None and form.view != "rows"


def takes_pictures(model: TrainedModel) -> bool:
    """Return whether the graph of a model takes whole pictures; an ensemble's, if one of its members does."""
    forms = [each.preprocessing for each in model.models]
    if len(forms) == 1:
        return reads_pictures(forms[0])
    # Members that cut rows differently have no steps in common either.
    cuts = any(reads_pictures(form) or form.features != form.source_features for form in forms)
    return cuts and model.preprocessing.picture is not None


def standardize(graph: GraphBuilder, model: Model, steps: str) -> str:
    """Add (steps - shift) / scale."""
    chosen = number_features(model)  # categories are not scaled
    shift = graph.constant("shift", to_array(model.network.shift)[chosen])
    scale = graph.constant("scale", to_array(model.network.scale)[chosen])
    return graph.add("Div", [graph.add("Sub", [steps, shift], "shifted"), scale], "scaled")


def all_finite(graph: GraphBuilder, standard: str, axes: Sequence[int]) -> str:
    """Add the test whether all values of a sequence, or of its step, are finite: (N,) booleans.

    Needed because the activations of some runtimes turn NaN into a number, which would look like a result.
    """
    size = graph.add("Abs", [standard], "sizes")
    # |x| < inf is false for both NaN and infinity, in every opset; IsInf and IsNaN would need two nodes.
    finite = graph.add("Less", [size, graph.constant("infinity", np.inf)], "finite")
    # ReduceMin accepts booleans only from opset 20 on.
    numbers = graph.add("Cast", [finite], "finite_numbers", to=TensorProto.FLOAT)
    least = graph.reduce("ReduceMin", numbers, axes, "least_finite")
    return graph.add("Cast", [least], "readable", to=TensorProto.BOOL)


def operator(a: Architecture) -> str:
    """Return the name of the recurrent operator."""
    return cells.get(a.cell).layout("onnx").layers[0]


def operator_attributes(a: Architecture) -> dict[str, Any]:
    """Return the attributes of the recurrent operator."""
    direction = "bidirectional" if a.bidirectional else "forward"
    return {"hidden_size": a.hidden_size, "direction": direction} | dict(
        cells.get(a.cell).layout("onnx").settings
    )


def layer_weights(graph: GraphBuilder, model: Model, layer: int) -> list[str]:
    """Add W (D, G*H, F), R (D, G*H, H) and B (D, 2*G*H) of a layer, with the gates in ONNX's order."""
    recurrent = model.network.recurrent
    order = recurrent.cell.gate_order("onnx")
    parts: list[list[NDArray[np.float32]]] = [[], [], []]
    for direction in range(recurrent.directions):
        weight_ih, weight_hh, bias_ih, bias_hh = (
            # Rows are G blocks of H; the blocks are reordered from the cell's order of gates to that of ONNX.
            np.concatenate([np.split(to_array(weight), len(order))[gate] for gate in order])
            for weight in recurrent.weights(layer, direction)
        )
        arrays = (weight_ih, weight_hh, np.concatenate([bias_ih, bias_hh]))
        for part, array in zip(parts, arrays, strict=True):
            part.append(array)
    return [
        graph.constant(f"layer_{layer}_{name}", np.stack(part))
        for name, part in zip("WRB", parts, strict=True)
    ]


def add_outputs(
    graph: GraphBuilder,
    model: Model,
    features: str,
    finite: str,
    temperature: float,
    probabilities: bool,
    every_step: bool = False,
) -> list[ValueInfoProto]:
    """Add the head, and return the outputs of the graph.

    Args:
        graph: The graph.
        model: The model.
        features: Pooled features (N, D*H), or those of each step (N, T, D*H).
        finite: (N,) whether the input was finite; the outputs are NaN where it was not. "": no numbers are
            read.
        temperature: Number by which logits are divided for the probabilities.
        probabilities: Whether there is an output for them; a regression has none.
        every_step: Whether there are features of each step.
    """
    head, K = model.network.head, model.network.architecture.classes
    features = _dense(graph, model, features)
    bias = graph.constant("head_bias", to_array(head.bias))
    if every_step:  # Gemm takes two dimensions only
        weight = graph.constant("head_weight", np.ascontiguousarray(to_array(head.weight).T))
        products = graph.add("MatMul", [features, weight], "head_products")
        logits = graph.add("Add", [products, bias], "any_logits" if finite else "logits")
    else:
        weight = graph.constant("head_weight", to_array(head.weight))
        # transB=1: torch stores the weight of Linear as (K, D*H).
        logits = graph.add("Gemm", [features, weight, bias], "any_logits" if finite else "logits", transB=1)
    if finite:
        valid = graph.reshape(finite, [-1, 1, 1] if every_step else [-1, 1], "readable_column")
        # NaN instead of an error, because a graph cannot refuse one sequence of a batch.
        logits = graph.add("Where", [valid, logits, graph.constant("not_a_number", np.nan)], "logits")
    if isinstance(model.task, Regression):
        return declare_numbers(graph, logits, model.task, every_step)
    function = "Sigmoid" if isinstance(model.task, Multilabel) else "Softmax"
    what = "One for each class"
    return declare_outputs(graph, logits, K, temperature, probabilities, what, every_step, function)


def declare_outputs(
    graph: GraphBuilder,
    logits: str,
    classes: int,
    temperature: float,
    probabilities: bool,
    what: str,
    every_step: bool = False,
    function: str = "Softmax",
) -> list[ValueInfoProto]:
    """Add the probabilities for logits, and return the outputs of the graph.

    Args:
        graph: The graph.
        logits: Logits (N, K), or (N, T, K).
        classes: K.
        temperature: Number by which logits are divided for the probabilities.
        probabilities: Whether there is an output for them.
        what: What the logits are, in words.
        every_step: Whether there are logits for each step.
        function: Operator of the probabilities: Softmax, or Sigmoid where there may be several classes.
    """
    shape: list[int | str] = ["N", "T", classes] if every_step else ["N", classes]
    order = "in the order of `classes` in the metadata"
    order += "; undefined past the end of a sequence" if every_step else ""
    made = [value_info("logits", shape, f"{what}, {order}.")]
    if probabilities:
        if temperature != 1:
            divisor = graph.constant("temperature", temperature)
            logits = graph.add("Div", [logits, divisor], "logits_over_temperature")
        axis = {"axis": len(shape) - 1} if function == "Softmax" else {}
        graph.add(function, [logits], "probabilities", **axis)
        calibrated = f" divided by the temperature {temperature:.6g}" if temperature != 1 else ""
        made.append(value_info("probabilities", shape, f"{function} of the logits{calibrated}."))
    return made


def _dense(graph: GraphBuilder, model: Model, features: str) -> str:
    """Add the dense layers and return what the head reads."""
    layers = zip(model.network.dense.linears, model.network.architecture.dense, strict=True)
    for index, (linear, layer) in enumerate(layers):
        name = f"dense_{index}"
        weight = graph.constant(f"{name}_weight", to_array(linear.weight))
        bias = graph.constant(f"{name}_bias", to_array(linear.bias))
        features = graph.add("Gemm", [features, weight, bias], f"{name}_sums", transB=1)
        features = _activation(graph, layer.activation, features, name)
    return features


def _activation(graph: GraphBuilder, activation: str, values: str, name: str) -> str:
    """Add an activation of dense layers; operators for gelu and silu came after the oldest opset."""
    if activation == "linear":
        return values
    if activation == "silu":
        gate = graph.add("Sigmoid", [values], f"{name}_gate")
        return graph.add("Mul", [values, gate], f"{name}_outputs")
    if activation == "gelu":  # x * (1 + erf(x / sqrt 2)) / 2
        scaled = graph.add("Mul", [values, graph.constant(f"{name}_root", 0.5**0.5)], f"{name}_scaled")
        erf = graph.add("Erf", [scaled], f"{name}_erf")
        share = graph.add("Add", [erf, graph.constant(f"{name}_one", 1)], f"{name}_share")
        half = graph.add("Mul", [values, graph.constant(f"{name}_half", 0.5)], f"{name}_halves")
        return graph.add("Mul", [half, share], f"{name}_outputs")
    # The other operators have the names of the activations, and their default constants.
    return graph.add(activation.capitalize(), [values], f"{name}_outputs")


def describe_input(form: Preprocessing) -> str:
    """Return what the values of the input are, in words."""
    if form.picture is None:
        what = "Values as in the training data: the graph shifts and scales them."
    else:
        p = form.picture
        levels = f"levels 0 to {p.levels}, not fractions of 1"
        colours = "" if p.channels == 1 else ", red, green and blue of a pixel side by side"
        if reads_pictures(form):
            what = f"Pictures by rows, {levels}{colours}."
        else:
            what = f"Rows of pictures, {form.features} values a step, {levels}{colours}."
    return f"{what} {_FILLS[form.missing]}"
