"""A classifier as an ONNX graph, put together node by node so that its names can be read.

Two graphs: one for whole sequences, which know their own lengths, and one for the next step of sequences that
are still coming, with what was read so far going in and out as states.

Only operators are used that mean the same in all opsets from 11, which brought Range; where a later opset
moved an attribute to an input, `Graph` writes either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from scanline import cells
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture
from scanline.version import __version__

_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "ReduceMin": 18}  # since these opsets
_DIRECTIONS = ("forward", "backward")


class Graph:
    """Nodes and constants, and the names between them, in the order in which they are computed."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Keep an array under `name`, once; returns the name."""
        self._constants.setdefault(name, np.array(value, dtype, order="C"))
        return name

    def numbers(self, *values: int) -> str:
        """A list of whole numbers as a constant: shapes, axes, indices."""
        return self.constant("numbers_" + "_".join(map(str, values)).replace("-", "minus"), values, np.int64)

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """A node; returns its first output, after which it is called."""
        name = next(output for output in outputs if output)
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def reshape(self, value: str, shape: Sequence[int], output: str) -> str:
        """`value` in another shape, where 0 stands for the same as before and -1 for the rest."""
        return self.add("Reshape", [value, self.numbers(*shape)], output)

    def reduce(self, operator: str, value: str, axes: Sequence[int], output: str) -> str:
        """`value` without `axes`."""
        if self.opset >= _AXES_ARE_INPUTS[operator]:
            return self.add(operator, [value, self.numbers(*axes)], output, keepdims=0)
        return self.add(operator, [value], output, axes=axes, keepdims=0)

    def model(
        self,
        name: str,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        properties: dict[str, str],
        about: str,
    ) -> ModelProto:
        """All of it, in the oldest format that has the opset."""
        graph = helper.make_graph(
            self._nodes,
            name,
            inputs,
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="scanline",
            producer_version=__version__,
            doc_string=about,
        )
        helper.set_model_props(model, properties)
        return model


def whole_graph(
    model: Model, temperature: float, probabilities: bool, opset: int, properties: dict[str, str]
) -> ModelProto:
    """The graph that reads whole sequences: `steps` (N, T, F) with `lengths` (N,), or `pictures`.

    temperature: what logits are divided by for the probabilities. properties: what travels along as text.
    The answers are `logits` (N, K) and, if wanted, `probabilities`; NaN for a sequence with a value that is
    no finite number and is not filled.
    """
    network, form, graph = model.network, model.preprocessing, Graph(opset)
    a = network.architecture
    if reads_pictures(form):
        values, lengths, real, inputs = _pictures(graph, form)
        steps = _filled(graph, form, values)
    else:
        values, lengths, real, inputs = _steps(graph, form)
        if form.missing == "forward-fill":
            values = _carried(graph, values, form.features)
        steps = _filled(graph, form, values)
    standard = _standard(graph, model, steps)
    if real:  # whatever stands in the padding, NaN too, ends here
        standard = graph.add("Where", [real, standard, graph.constant("zero", 0)], "own_steps")
    readable = _readable(graph, standard, [1, 2])
    read = graph.add("Transpose", [standard], "time_major", perm=[1, 0, 2])  # (T, N, F)
    final = ""
    for layer in range(a.layers):
        outputs, final = _recurrent(graph, model, layer, read, lengths)
        if layer < a.layers - 1 or network.pooling.reads_outputs:
            turned = graph.add("Transpose", [outputs], f"layer_{layer}_turned", perm=[0, 2, 1, 3])
            read = graph.reshape(turned, [0, 0, -1], f"layer_{layer}_steps")  # (T, N, D*H)

    def counts() -> str:
        return "lengths" if real else _picture_steps(graph, form)

    features = network.pooling.to_onnx(graph, read, final, real, counts)
    answers = _answer(graph, model, features, readable, temperature, probabilities)
    return graph.model(
        "scanline_sequences",
        inputs,
        answers,
        properties,
        f"Classifies whole sequences. {cells.get(a.cell).title} trained by Scanline on {model.data}.",
    )


def step_graph(
    model: Model, temperature: float, probabilities: bool, opset: int, properties: dict[str, str]
) -> ModelProto:
    """The graph that reads one more `step` (N, F) of N sequences, with their states.

    temperature, probabilities, properties: as for `whole_graph`. States go in by the names of `states`, and
    come out as `new_` and their name. A step with a value that is no finite number and is not filled is
    answered with NaN and leaves the states of its sequence as they were.
    """
    form, graph = model.preprocessing, Graph(opset)
    a = model.network.architecture
    described, new = states(model), {}
    step = "step"
    if form.missing == "forward-fill":
        holes = graph.add("IsNaN", [step], "missing_now")
        step = new["last"] = graph.add("Where", [holes, "last", step], "carried")
    standard = _standard(graph, model, _filled(graph, form, step))
    readable = _readable(graph, standard, [1])
    read = graph.reshape(standard, [1, -1, form.features], "one_step")  # (T=1, N, F)
    kinds = model.network.recurrent.cell.states
    after: dict[str, list[str]] = {kind: [] for kind in kinds}
    for layer in range(a.layers):
        before = [
            graph.add("Gather", [kind, graph.numbers(layer)], f"layer_{layer}_{kind}", axis=0)
            for kind in kinds
        ]  # (1, N, H)
        outputs = [f"layer_{layer}_{kind}_after" for kind in kinds]
        inputs = [read, *_weights(graph, model, layer), "", *before]
        graph.add(_operator(a), inputs, "", *outputs, **_settings(a))
        for kind, name in zip(kinds, outputs, strict=True):
            after[kind].append(name)
        read = outputs[0]
    for kind in kinds:
        new[kind] = graph.add("Concat", after[kind], f"{kind}_after", axis=0)
    features = graph.reshape(read, [-1, a.hidden_size], "output")  # (N, H)
    features, pooled = model.network.pooling.step_to_onnx(graph, features)
    new |= pooled
    answers = _answer(graph, model, features, readable, temperature, probabilities)
    given = [_value("step", ["N", form.features], f"The next step of each sequence. {_about(form)}")]
    taken = []
    for name, state in described.items():
        shape, dtype = state["shape"], int(helper.np_dtype_to_tensor_dtype(np.dtype(state["dtype"])))
        column = [-1 if size == "N" else 1 for size in shape]
        valid = graph.reshape(readable, column, f"readable_for_{name}")
        graph.add("Where", [valid, new[name], name], state["new"])
        given.append(_value(name, shape, f"{state['holds']}; at first all {state['first']}", dtype))
        taken.append(_value(state["new"], shape, f"`{name}` after this step", dtype))
    return graph.model(
        "scanline_step",
        given,
        [*answers, *taken],
        properties | {"states": json.dumps(described)},
        "Reads one more step of each sequence and answers as if it ended there. "
        f"{cells.get(a.cell).title} trained by Scanline on {model.data}.",
    )


def states(model: Model) -> dict[str, dict[str, Any]]:
    """What the step graph keeps of the steps so far, by name: `new`, the name of the output that has it after
    the step; `shape`; `dtype`; `first`, the number that fills it before the first step; `holds`, in words."""
    a, form = model.network.architecture, model.preprocessing
    made: dict[str, dict[str, Any]] = {}

    def keep(name: str, shape: list[Any], dtype: str, first: str, holds: str) -> None:
        made[name] = {
            "new": f"new_{name}",
            "shape": shape,
            "dtype": dtype,
            "first": first,
            "holds": holds,
        }

    deep = [a.layers, "N", a.hidden_size]
    keep("h", deep, "float32", "0", "the hidden state of each layer")
    if "c" in model.network.recurrent.cell.states:
        keep("c", deep, "float32", "0", "the cell state of each layer")
    for name, state in model.network.pooling.stream_states().items():
        shape = ["N", a.hidden_size] if state.per_unit else ["N"]
        keep(name, shape, state.dtype, state.initial, state.content)
    if form.missing == "forward-fill":
        keep("last", ["N", form.features], "float32", "nan", "the last value of each feature, NaN if none")
    return made


def reads_pictures(form: Preprocessing) -> bool:
    """Whether the graph takes whole pictures; by rows it takes steps, as of anything else."""
    return form.picture is not None and form.view != "rows"


# --- what goes in


def _steps(graph: Graph, form: Preprocessing) -> tuple[str, str, str, list[ValueInfoProto]]:
    """(steps, lengths for the recurrent operators, (N, T, 1) whether a step is real, graph inputs)."""
    shape = graph.add("Shape", ["steps"], "steps_shape")
    T = graph.add("Gather", [shape, graph.constant("one", 1, np.int64)], "T", axis=0)
    whole = [graph.constant("none", 0, np.int64), T, graph.constant("one", 1, np.int64)]
    index = graph.reshape(graph.add("Range", whole, "step_numbers"), [1, -1, 1], "step_index")
    ends = graph.reshape("lengths", [-1, 1, 1], "ends")
    real = graph.add("Less", [index, ends], "real")  # (N, T, 1)
    lengths = graph.add("Cast", ["lengths"], "lengths_int32", to=TensorProto.INT32)
    given = [
        _value("steps", ["N", "T", form.features], f"{_about(form)} What is past `lengths` is not read."),
        _value("lengths", ["N"], "How many steps of each sequence are real: 1 to T.", TensorProto.INT64),
    ]
    return "steps", lengths, real, given


def _pictures(graph: Graph, form: Preprocessing) -> tuple[str, str, str, list[ValueInfoProto]]:
    """As `_steps`: the steps (N, T, F) of pictures, which have all the same number of them."""
    picture, seen = form.picture, form.seen
    assert picture is not None
    assert seen is not None
    width = picture.width * picture.channels
    rows = _carried(graph, "pictures", width) if form.missing == "forward-fill" else "pictures"
    if seen.order is not None:
        flat = graph.reshape(rows, [0, -1], "picture_values")
        order = graph.constant("view_order", seen.order, np.int64)
        rows = graph.add("Gather", [flat, order], f"view_{form.view.replace(':', '_')}", axis=1)
    T = picture.height * width // form.features
    steps = graph.reshape(rows, [-1, T, form.features], "steps")
    given = [_value("pictures", ["N", picture.height, width], _about(form))]
    return steps, "", "", given


def _carried(graph: Graph, values: str, width: int) -> str:
    """(N, T, width) with each missing value as it was last in its sequence, NaN if it never was."""
    N = graph.add("Gather", [graph.add("Shape", [values], "given_shape"), graph.numbers(0)], "N", axis=0)
    nothing = graph.add("Concat", [N, graph.numbers(width)], "nothing_shape", axis=0)
    nan = numpy_helper.from_array(np.array([np.nan], np.float32))
    before = graph.add("ConstantOfShape", [nothing], "nothing_before", value=nan)
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


def _carry_body(width: int) -> GraphProto:
    """One step of filling forward: (last value, value) -> (new last value, filled value)."""
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


def _filled(graph: Graph, form: Preprocessing, steps: str) -> str:
    """Steps of the network's width, with something in place of what is missing."""
    if form.missing == "error":
        return steps
    zero = form.missing == "zero"
    stand_in = graph.constant("zero", 0) if zero else graph.constant("means", form.means)
    return graph.add("Where", [graph.add("IsNaN", [steps], "missing"), stand_in, steps], "filled")


def _standard(graph: Graph, model: Model, steps: str) -> str:
    """(steps - shift) / scale."""
    shift = graph.constant("shift", _array(model.network.shift))
    scale = graph.constant("scale", _array(model.network.scale))
    return graph.add("Div", [graph.add("Sub", [steps, shift], "shifted"), scale], "scaled")


def _readable(graph: Graph, standard: str, axes: Sequence[int]) -> str:
    """(N,) whether all values of a sequence, or of its step, are finite numbers.

    Some runtimes have activations of which NaN comes out as a number: none must pass for an answer.
    """
    size = graph.add("Abs", [standard], "sizes")
    finite = graph.add("Less", [size, graph.constant("infinity", np.inf)], "finite")
    numbers = graph.add("Cast", [finite], "finite_numbers", to=TensorProto.FLOAT)
    least = graph.reduce("ReduceMin", numbers, axes, "least_finite")
    return graph.add("Cast", [least], "readable", to=TensorProto.BOOL)


# --- the network


def _recurrent(graph: Graph, model: Model, layer: int, read: str, lengths: str) -> tuple[str, str]:
    """One layer from zeros: outputs (T, D, N, H), and the states after the last step (D, N, H)."""
    a = model.network.architecture
    inputs = [read, *_weights(graph, model, layer)] + ([lengths] if lengths else [])
    outputs, final = f"layer_{layer}_outputs", f"layer_{layer}_final"
    graph.add(_operator(a), inputs, outputs, final, **_settings(a))
    return outputs, final


def _operator(a: Architecture) -> str:
    """The name of the recurrent operator. Raises UsageError if ONNX has none for the cell."""
    return cells.get(a.cell).layout("onnx").layers[0]


def _settings(a: Architecture) -> dict[str, Any]:
    """The attributes of a recurrent operator."""
    made: dict[str, Any] = {"hidden_size": a.hidden_size}
    made["direction"] = "bidirectional" if a.bidirectional else "forward"
    return made | dict(cells.get(a.cell).layout("onnx").settings)


def _weights(graph: Graph, model: Model, layer: int) -> list[str]:
    """W (D, G*H, F), R (D, G*H, H) and B (D, 2*G*H) in ONNX's order of gates."""
    recurrent = model.network.recurrent
    order = recurrent.cell.gate_order("onnx")
    parts: list[list[NDArray[np.float32]]] = [[], [], []]
    for direction in range(recurrent.directions):
        weight_ih, weight_hh, bias_ih, bias_hh = (
            np.concatenate([np.split(_array(weight), len(order))[gate] for gate in order])
            for weight in recurrent.weights(layer, direction)
        )
        for part, array in zip(
            parts, (weight_ih, weight_hh, np.concatenate([bias_ih, bias_hh])), strict=True
        ):
            part.append(array)
    return [
        graph.constant(f"layer_{layer}_{name}", np.stack(part))
        for name, part in zip("WRB", parts, strict=True)
    ]


def _picture_steps(graph: Graph, form: Preprocessing) -> str:
    """The number of steps of a picture, the same for all."""
    assert form.picture is not None
    p = form.picture
    return graph.numbers(p.height * p.width * p.channels // form.features)


def _answer(
    graph: Graph, model: Model, features: str, readable: str, temperature: float, probabilities: bool
) -> list[ValueInfoProto]:
    """From what was read out to the graph's answers, NaN where it was not `readable`, (N,)."""
    head, K = model.network.head, model.network.architecture.classes
    weight = graph.constant("head_weight", _array(head.weight))
    bias = graph.constant("head_bias", _array(head.bias))
    logits = graph.add("Gemm", [features, weight, bias], "any_logits", transB=1)
    valid = graph.reshape(readable, [-1, 1], "readable_column")
    logits = graph.add("Where", [valid, logits, graph.constant("not_a_number", np.nan)], "logits")
    made = [_value("logits", ["N", K], "One for each class, in the order of `classes` in the metadata.")]
    if probabilities:
        if temperature != 1:
            by = graph.constant("temperature", temperature)
            logits = graph.add("Div", [logits, by], "logits_over_temperature")
        graph.add("Softmax", [logits], "probabilities", axis=1)
        calibrated = f" divided by the temperature {temperature:.6g}" if temperature != 1 else ""
        made.append(_value("probabilities", ["N", K], f"Softmax of the logits{calibrated}."))
    return made


def _about(form: Preprocessing) -> str:
    """What the values of the input are, in words."""
    if form.picture is None:
        what = "Values as they were in the training data: the graph shifts and scales them."
    else:
        p = form.picture
        levels = f"levels 0 to {p.levels}, not shares of 1"
        colours = "" if p.channels == 1 else ", red, green and blue of a pixel side by side"
        if reads_pictures(form):
            what = f"Pictures by rows, {levels}{colours}."
        else:
            what = f"Rows of pictures, {form.features} values a step, {levels}{colours}."
    fills = {
        "error": "No value may be NaN.",
        "zero": "NaN is read as 0.",
        "mean": "NaN is read as the training mean.",
        "forward-fill": "NaN is read as the last value, at first as the training mean.",
    }
    return f"{what} {fills[form.missing]}"


def _value(name: str, shape: Sequence[Any], about: str, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape, about)


def _array(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return array
