"""The layers of a Keras model in order of computation, taken from its description.

A Sequential model lists them in order. A functional model lists the inputs of each layer, in one format in
Keras 2 and another in Keras 3. A graph that is not a chain is refused.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any, NamedTuple

from scanline import cells
from scanline.errors import ModelError, one_line
from scanline.interchange.keras.file import KerasFile, Layer
from scanline.limits import limit_of

RECURRENT = (*cells.by_layer("keras"), "Bidirectional")
POOLING_LAYERS = {"mean": "GlobalAveragePooling1D", "max": "GlobalMaxPooling1D"}  # by our names
# Position in the chain, by class.
STAGES = {
    "InputLayer": 0,
    "Rescaling": 1,
    "Normalization": 1,
    "Masking": 1,
    **dict.fromkeys(RECURRENT, 2),
    **dict.fromkeys(POOLING_LAYERS.values(), 3),
    "Dense": 4,
    "Activation": 4,
    "ReLU": 4,
    "Softmax": 5,
}
_ONCE = {0: "InputLayer", 3: "pooling layer", 5: "softmax"}
NORM = "BatchNormalization"  # anywhere: outside training it is an affine map, folded into its neighbours
_ENTRIES_A_LAYER = 16  # of a functional model, for each recurrent layer that there may be
IDLE = (  # outside training
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
)
CHAIN = (
    "Input, Rescaling or Normalization, Masking, one or more LSTM, GRU or SimpleRNN, each in one direction "
    "or Bidirectional, GlobalAveragePooling1D or GlobalMaxPooling1D, Dense and Activation, in this order, "
    "and BatchNormalization anywhere"
)
_WHY = {
    "Lambda": "it holds code, and nothing in a file is run",
    "Embedding": "it reads integers, and Scanline's networks read features",
    "TimeDistributed": "only recurrent layers can process every step",
    "CuDNNLSTM": "its weights have another layout; with the Keras that wrote it, copy them into an LSTM",
    "CuDNNGRU": "its weights have another layout; with the Keras that wrote it, copy them into a GRU",
    "RNN": "it has a custom cell; use LSTM, GRU or SimpleRNN",
    "Sequential": "nested models are not supported; build one chain of their layers",
    "Functional": "nested models are not supported; build one chain of their layers",
    "Model": "nested models are not supported; build one chain of their layers",
}
_TENSOR = "__keras_tensor__"
_OWN_MODULE = re.compile(r"(tf_|tensorflow\.|tensorflow\.python\.)?keras(\..*)?")


def chain_of(file: KerasFile) -> list[Layer]:
    """Return the layers from the input to the output.

    Raises:
        ModelError: Names the layer that is not a class of Keras, not supported, out of order, or outside the
            chain.
    """
    kind, config = file.config.get("class_name"), file.config.get("config")
    check_own(file, file.config)
    entries = config.get("layers") if isinstance(config, dict) else config  # Keras 2.1 wrote a list
    known = kind in ("Sequential", "Functional", "Model")
    if not known or not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ModelError(
            f"{file.source}: expected a Sequential or functional model, found {one_line(kind)!r}"
            + (" without a list of layers" if known else "; rebuild it as one of them, and save that")
        )
    for entry in entries:
        check_own(file, entry)
    if kind == "Sequential":
        chain = _numbered(file, entries)
        for layer in chain:
            _check_known(file, layer)
    else:
        chain = _functional(file, config if isinstance(config, dict) else {}, entries)
    _check_order(file, chain)
    return chain


def check_own(file: KerasFile, entry: dict[str, Any]) -> None:
    """Check that a class is one of Keras, as far as the file states it. Raises ModelError."""
    kind, module, registered = (entry.get(key) for key in ("class_name", "module", "registered_name"))
    strange = None if registered in (None, kind) else registered
    if module is not None and not (isinstance(module, str) and _OWN_MODULE.fullmatch(module)):
        strange = module
    if strange is not None:
        raise ModelError(
            f"{file.source}: expected Keras' own classes, found {one_line(kind)!r} of {one_line(strange)!r}; "
            "nothing in a file is run, so rebuild it of Keras' layers"
        )


def _numbered(file: KerasFile, entries: list[dict[str, Any]]) -> list[Layer]:
    """Return the described layers, each numbered among the layers of its class."""
    counts: dict[str, int] = {}
    layers = []
    for entry in entries:
        kind, config = entry.get("class_name"), entry.get("config")
        # Sequential models of Keras 2.1 and older name a layer in its settings alone, as all others do too.
        name = config.get("name") if isinstance(config, dict) else None
        if not isinstance(kind, str) or not isinstance(config, dict) or not isinstance(name, str):
            raise ModelError(
                f"{file.source} is damaged: expected a layer to have a class, settings and a name, found "
                f"{one_line(entry)!r}"
            )
        layers.append(Layer(kind, name, config, counts.get(kind, 0)))
        counts[kind] = counts.get(kind, 0) + 1
    return layers


def _check_known(file: KerasFile, layer: Layer) -> None:
    if layer.kind not in (*STAGES, *IDLE, NORM):
        why = _WHY.get(layer.kind, "Scanline has no such layer")
        raise file.fault(layer, f"cannot be mapped: {why}; expected {CHAIN}")
    if layer.config.get("quantization_config") or layer.config.get("lora_rank"):
        raise file.fault(layer, "is quantised or adapted (LoRA); save it with plain weights")


def _check_order(file: KerasFile, chain: list[Layer]) -> None:
    layers = [layer for layer in chain if layer.kind in STAGES]
    for before, after in itertools.pairwise(layers):
        stage = STAGES[after.kind]
        if STAGES[before.kind] > stage:
            raise file.fault(
                after, f"comes after {one_line(before.name)!r} ({before.kind}); expected {CHAIN}"
            )
        if STAGES[before.kind] == stage and stage in _ONCE:
            raise file.fault(after, f"is a second {_ONCE[stage]}; expected {CHAIN}")
    for kinds, what in ((RECURRENT, "recurrent"), (("Dense",), "Dense")):
        if all(layer.kind not in kinds for layer in layers):
            raise ModelError(
                f"{file.source}: expected a {what} layer, found none among its {len(chain)} layers"
            )


class _Call(NamedTuple):
    """The call of a layer in a functional model: the layer it reads and which output, and other arguments."""

    reads: str
    output: int
    others: list[Any]
    mask: str | None


def _functional(file: KerasFile, config: dict[str, Any], entries: list[dict[str, Any]]) -> list[Layer]:
    """Return the layers of a functional model, from its input to its output."""
    # The work below grows with the number of entries, so a hostile file is refused first.
    if len(entries) > _ENTRIES_A_LAYER * limit_of("LAYERS"):
        raise ModelError(
            f"{file.source}: expected at most {_ENTRIES_A_LAYER * limit_of('LAYERS'):,} layers of any kind, "
            f"found {len(entries):,}"
        )
    layers = {layer.name: layer for layer in _operations(file, entries)}
    if len(layers) != len(entries):
        raise ModelError(f"{file.source} is damaged: two layers have the same name")
    inputs, outputs = _ends(file, config, "input_layers"), _ends(file, config, "output_layers")
    calls = {
        layer.name: _call(file, layer, entry.get("inbound_nodes"))
        for layer, entry in zip(layers.values(), entries, strict=True)
        if layer.kind != "InputLayer"
    }
    for name, call in calls.items():
        if call.output and layers.get(call.reads, layers[name]).config.get("return_state") is not True:
            raise file.fault(layers[name], "expected it to read the one output of one other layer")
    # Walk from the output to the input. The bound on the length ends the walk in a cycle.
    path = [outputs]
    while path[-1] in calls and len(path) <= len(layers):
        path.append(calls[path[-1]].reads)
    if path[-1] != inputs or layers.get(inputs, Layer("", "", {})).kind != "InputLayer":
        raise ModelError(
            f"{file.source}: expected a chain of layers from {one_line(inputs)!r} to {one_line(outputs)!r}, "
            f"found that it begins with {one_line(path[-1])!r}"
        )
    for name in path[:-1]:
        if calls[name].output:
            layers[calls[name].reads] = _read_state(file, layers[calls[name].reads], calls[name].output)
    chain = [layers[name] for name in reversed(path)]
    masks = _masks(chain, layers, calls)
    aside = [name for name in layers if name not in path and name not in masks]
    if aside:
        raise ModelError(
            f"{file.source}: expected one chain of layers, found {one_line(aside[0])!r} "
            f"({one_line(layers[aside[0]].kind)}) beside it"
        )
    for layer in chain:
        _check_known(file, layer)
    for name in path[:-1]:
        if calls[name].others:
            raise file.fault(layers[name], "expected no argument but its input, such as an initial state")
        if calls[name].mask not in {None, *masks}:
            raise file.fault(layers[name], "expected no mask but that of a Masking layer")
    return chain


def _operations(file: KerasFile, entries: list[dict[str, Any]]) -> list[Layer]:
    """Return the same as `_numbered`; operations without a name in their settings get that of their entry."""
    named = []
    for entry in entries:
        config, name = entry.get("config"), entry.get("name")
        if isinstance(config, dict) and isinstance(name, str):
            entry = {**entry, "config": {**config, "name": name}}
        named.append(entry)
    return _numbered(file, named)


def _ends(file: KerasFile, config: dict[str, Any], key: str) -> str:
    """Return the name of the only input or output, stored as [[name, 0, 0]] or [name, 0, 0]."""
    found = config.get(key)
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, list) and len(found) == 3 and isinstance(found[0], str) and found[1:] == [0, 0]:
        return found[0]
    what = key.removesuffix("_layers")
    raise ModelError(f"{file.source}: expected a model with one {what}, found {one_line(found)}")


def _call(file: KerasFile, layer: Layer, nodes: Any) -> _Call:
    """Parse the call of a layer, in the format of Keras 3 or Keras 2."""
    if not isinstance(nodes, list) or len(nodes) != 1:
        times = len(nodes) if isinstance(nodes, list) else "no"
        raise file.fault(layer, f"expected it to be used once in the chain, found {times} times")
    node = nodes[0]
    # Keras 3: {"args": [tensor, ...], "kwargs": {...}}. Keras 2: [[name, 0, 0, kwargs]].
    if isinstance(node, dict):
        given, named = node.get("args"), node.get("kwargs", {})
        given = given if isinstance(given, list) else [None]
        reads, output = _origin(given[0] if given else None)
        others = given[1:]
    else:
        given = node if isinstance(node, list) else [None]
        first = given[0] if len(given) == 1 and isinstance(given[0], list) else [None]
        reads, output = _history(first[:3])
        others, named = [], first[3] if len(first) == 4 else {}
    if not isinstance(reads, str) or not isinstance(named, dict):
        raise file.fault(layer, "expected it to read the one output of one other layer")
    named = {key: value for key, value in named.items() if value is not None}
    given_mask = named.pop("mask", None)
    mask, mask_output = _origin(given_mask)
    if given_mask is not None and (mask is None or mask_output):
        raise file.fault(layer, "expected no mask but that of a Masking layer")
    # training=True would keep dropout active in prediction, which the imported network does not do.
    if named.pop("training", False) is not False:
        raise file.fault(layer, "expected training to be left open or False, found True")
    if named:
        raise file.fault(layer, f"expected no argument but its input, found {one_line(', '.join(named))}")
    return _Call(reads, output, others, mask)


def _origin(tensor: Any) -> tuple[str | None, int]:
    """Return the layer that a Keras 3 tensor is an output of, and the output's index; (None, 0) otherwise."""
    if not isinstance(tensor, dict) or tensor.get("class_name") != _TENSOR:
        return None, 0
    config = tensor.get("config")
    return _history(config.get("keras_history") if isinstance(config, dict) else None)


def _history(history: Any) -> tuple[str | None, int]:
    """Return (layer, index of the output) of [layer, call, index]; (None, 0) if it is not the first call."""
    if not isinstance(history, list) or len(history) != 3 or history[1] != 0:
        return None, 0
    name, _, output = history
    if not isinstance(name, str) or type(output) is not int or output < 0:
        return None, 0
    return name, output


def _read_state(file: KerasFile, layer: Layer, output: int) -> Layer:
    """Return a layer whose final hidden state is read, as one that returns its last output: they are equal.

    Raises:
        ModelError: If another output is read, such as the cell state of an LSTM.
    """
    single = layer.kind in cells.by_layer("keras")
    if output != 1 or not single or layer.config.get("return_state") is not True:
        raise file.fault(
            layer,
            f"its output number {output} is read; expected the first, or the hidden state of a layer of one "
            "direction",
        )
    return replace(layer, config={**layer.config, "return_sequences": False})


def _masks(chain: list[Layer], layers: dict[str, Layer], calls: dict[str, _Call]) -> set[str]:
    """Return the operations outside the chain by which Keras 3 stores the mask of a Masking layer."""
    masking = [layer for layer in chain if layer.kind == "Masking"]
    found: set[str] = set()
    for each in masking:
        value = each.config.get("mask_value", 0.0)
        unequal = {
            name
            for name, call in calls.items()
            if layers[name].kind == "NotEqual"
            and call.reads == calls[each.name].reads
            and call.others == [value]
        }
        found |= unequal | {
            name
            for name, call in calls.items()
            if layers[name].kind == "Any"
            and call.reads in unequal
            and layers[name].config.get("axis") in (-1, 2, [-1], [2])
            and layers[name].config.get("keepdims") is False
        }
    return found
