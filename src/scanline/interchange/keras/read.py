"""Keras models: one chain of layers, from the input over recurrent layers to a Dense one.

The layers are read as what they say they are, from Keras' own list alone; whatever would compute something
else than the network here is refused by name.
Source: Keras 3.15's src/layers and, for files of Keras 2, keras/src/layers of 2.15.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline import cells
from scanline.errors import one_line
from scanline.interchange.checks import check_sizes
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.keras.file import KerasFile, Layer, Shape, Side, open_keras
from scanline.interchange.keras.layers import CHAIN, IDLE, RECURRENT, chain_of, check_own
from scanline.interchange.keras.scaling import shift_and_scale
from scanline.limits import limit_of
from scanline.model.network import Architecture
from scanline.recipe import Readout

_CELLS = cells.by_layer("keras")
_POOLING: dict[str, Readout] = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
_PRECISIONS = ("float32", "float64", "float16", "mixed_float16", "mixed_bfloat16")


def read_keras(path: str | Path) -> ImportedNetwork:
    """The network in a Keras model: a `.keras` file, or an `.h5` file with the whole model.

    Sequential and functional models are read that are one chain of Input, Rescaling and Normalization,
    Masking, LSTM, GRU or SimpleRNN in one direction or Bidirectional, a global pooling over time or none, and
    one Dense layer with softmax or without; layers that act in training alone may stand anywhere. Nothing in
    the file is run. Preprocessing becomes `shift` and `scale`; a Masking layer becomes the lengths of the
    sequences. Without softmax the outputs are taken for logits.
    Raises ModelError naming what is damaged, or which layer cannot be mapped and why.
    """
    with open_keras(Path(path)) as file:
        return _network(file)


@dataclass(frozen=True)
class _Cell:
    """One direction of a recurrent layer."""

    kind: str
    units: int
    bias: bool
    sequences: bool
    zero_output: bool
    dropout: bool


@dataclass(frozen=True)
class _Recurrent:
    layer: Layer
    cell: _Cell
    both: bool


def _network(file: KerasFile) -> ImportedNetwork:
    chain = chain_of(file)
    notes: list[str] = []
    layers = [layer for layer in chain if layer.kind not in IDLE]
    check_sizes(file.source, layers=sum(layer.kind in RECURRENT for layer in layers))  # before any is read
    recurrent = [_recurrent(file, layer) for layer in layers if layer.kind in RECURRENT]
    readout = _readout(file, layers, recurrent)
    _check_masking(file, layers, recurrent, readout, notes)
    _note_answers(file, layers, notes)
    _note_precision(file, layers, notes)
    first = recurrent[0]
    kind, units, directions = _CELLS[first.cell.kind].name, first.cell.units, 1 + first.both
    weights: dict[str, NDArray[np.float32]] = {}
    width = 0  # of the input, which the first kernel tells
    for index, each in enumerate(recurrent):
        sides: tuple[Side, ...] = ("forward", "backward") if each.both else ("",)
        for side in sides:
            end = f"_l{index}" + ("_reverse" if side == "backward" else "")
            reads = (units * directions if index else width) or None
            arrays = _cell_weights(file, each, reads, side)
            width = width or arrays[0].shape[1]
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights |= {f"recurrent.{name}{end}": a for name, a in zip(names, arrays, strict=True)}
    dense = next(layer for layer in layers if layer.kind == "Dense")
    classes = _whole(file, dense, "units")
    if classes < 2:
        raise file.fault(dense, f"expected an output for each of two classes or more, found {classes}")
    weights["head.weight"], weights["head.bias"] = _dense(file, dense, units * directions, classes)
    check_sizes(file.source, input_size=width, hidden_size=units, classes=classes)
    weights |= shift_and_scale(file, layers, width)
    _note_input(file, layers, width, notes)
    if any(layer.kind in IDLE for layer in chain) or any(each.cell.dropout for each in recurrent):
        notes.append("dropout and noise act in training alone, and are left out")
    architecture = Architecture(
        kind, width, units, len(recurrent), first.both, 0.0, "between", readout, classes
    )
    made = f"imported from the Keras model {file.source.name}"
    if file.version:
        made = f"imported from the Keras {file.version} model {file.source.name}"
    contiguous = {name: np.ascontiguousarray(values) for name, values in weights.items()}
    return ImportedNetwork(architecture, contiguous, made, notes)


def _recurrent(file: KerasFile, layer: Layer) -> _Recurrent:
    if layer.kind != "Bidirectional":
        return _Recurrent(layer, _cell(file, layer, layer.kind, layer.config, backward=False), False)
    mode = layer.config.get("merge_mode")
    if mode != "concat":
        raise file.fault(
            layer,
            f"merge_mode must be 'concat', found {one_line(mode)!r}: here directions stand side by side",
        )
    forward = _inner(file, layer, "layer")
    cell = _cell(file, layer, *forward, backward=False)
    if layer.config.get("backward_layer") is not None:
        kind, config = _inner(file, layer, "backward_layer")
        other = _cell(file, layer, kind, config, backward=True)
        for what, one, two in (
            ("cell", cell.kind, other.kind),
            ("units", cell.units, other.units),
            ("use_bias", cell.bias, other.bias),
            ("return_sequences", cell.sequences, other.sequences),
        ):
            if one != two:
                raise file.fault(
                    layer, f"both directions must be alike, found {what} {one} forward and {two} backward"
                )
    return _Recurrent(layer, cell, True)


def _inner(file: KerasFile, layer: Layer, key: str) -> tuple[str, dict[str, Any]]:
    """(class, settings) of a layer within a Bidirectional one."""
    found = layer.config.get(key)
    inner = found if isinstance(found, dict) else {}
    kind, config = inner.get("class_name"), inner.get("config")
    if not isinstance(kind, str) or kind not in _CELLS or not isinstance(config, dict):
        raise file.fault(layer, f"expected {key} to be LSTM, GRU or SimpleRNN, found {one_line(kind)!r}")
    check_own(file, inner)
    return kind, config


def _cell(file: KerasFile, layer: Layer, kind: str, config: dict[str, Any], *, backward: bool) -> _Cell:
    """Raises ModelError naming the first setting with which it would compute something else."""

    def must(key: str, wanted: Any, default: Any, why: str) -> None:
        found = config.get(key, default)
        if found != wanted or type(found) is not type(wanted):
            raise file.fault(layer, f"{key} must be {wanted!r}, found {one_line(found)!r}: {why}")

    must("activation", "tanh", "tanh", "the cells here have no other")
    if kind != "SimpleRNN":
        must("recurrent_activation", "sigmoid", "hard_sigmoid", "the gates here have no other")
    if kind == "GRU":
        why = (
            "here, as in PyTorch and cuDNN, the reset gate acts after the product; no weights make up for it"
        )
        must("reset_after", True, False, why)
    must("go_backwards", backward, backward, "one direction reads forward, the other, if any, backward")
    must("stateful", False, False, "here every sequence begins anew")
    must("return_state", False, False, "here only outputs are read")
    must("time_major", False, False, "here values are (batch, steps, features)")
    units, bias = config.get("units"), config.get("use_bias", True)
    sequences = config.get("return_sequences", False)
    if type(units) is not int or type(bias) is not bool or type(sequences) is not bool:
        raise file.fault(
            layer,
            f"expected units, use_bias and return_sequences to be a number, yes or no, and yes or no; found "
            f"{one_line(units)}, {one_line(bias)}, {one_line(sequences)}",
        )
    check_sizes(file.source, units=units)
    drops = bool(config.get("dropout") or config.get("recurrent_dropout"))
    return _Cell(kind, units, bias, sequences, config.get("zero_output_for_mask") is True, drops)


def _readout(file: KerasFile, layers: list[Layer], recurrent: list[_Recurrent]) -> Readout:
    """What is made of the last layer's outputs, once all recurrent layers are alike and hand on all steps."""
    first, last = recurrent[0], recurrent[-1]
    for each in recurrent[1:]:
        if (each.cell.kind, each.cell.units, each.both) != (first.cell.kind, first.cell.units, first.both):
            raise file.fault(
                each.layer,
                "expected all recurrent layers to be equal: "
                f"{_words(first)} as {one_line(first.layer.name)!r}, found {_words(each)}",
            )
    for each in recurrent[:-1]:
        if not each.cell.sequences:
            raise file.fault(
                each.layer, "return_sequences must be True, as another recurrent layer reads its outputs"
            )
    pooling = [layer for layer in layers if layer.kind in _POOLING]
    if not pooling:
        if last.cell.sequences:
            raise file.fault(
                last.layer,
                "return_sequences must be False, or a global pooling must follow: here a sequence gets one "
                "answer, not one for each step",
            )
        return "last"
    pool = pooling[0]
    if not last.cell.sequences:
        raise file.fault(
            last.layer, f"return_sequences must be True, as {one_line(pool.name)!r} reads all steps"
        )
    if pool.config.get("data_format", "channels_last") != "channels_last":
        raise file.fault(
            pool, "data_format must be 'channels_last': here values are (batch, steps, features)"
        )
    if pool.config.get("keepdims", False) is not False:
        raise file.fault(pool, "keepdims must be False: here what is read out has no steps")
    return _POOLING[pool.kind]


def _words(each: _Recurrent) -> str:
    directions = "both directions" if each.both else "one direction"
    return f"{each.cell.kind} of {each.cell.units} units in {directions}"


def _check_masking(
    file: KerasFile, layers: list[Layer], recurrent: list[_Recurrent], readout: Readout, notes: list[str]
) -> None:
    """Raises ModelError where Keras' answer depends on how far a masked sequence is padded."""
    masking = [layer for layer in layers if layer.kind == "Masking"]
    if not masking:
        return
    if len(masking) > 1:
        raise file.fault(masking[1], f"is a second Masking layer; expected {CHAIN}")
    last = recurrent[-1]
    # Of a Bidirectional layer Keras itself sets zero_output_for_mask, to whether it returns sequences.
    zeros = readout == "max" if last.both else last.cell.zero_output and readout != "mean"
    if zeros:
        raise file.fault(
            masking[0],
            f"cannot be mapped with {one_line(last.layer.name)!r} behind it: where steps are masked Keras "
            "reads zeros out of it, so that its answer depends on the padding, and no answer here does",
        )
    value = one_line(masking[0].config.get("mask_value", 0.0))
    notes.append(
        f"Masking: steps that were {value} throughout were skipped; here sequences have lengths, their "
        "padding is not looked at, and no step within them is skipped"
    )


def _cell_weights(
    file: KerasFile, each: _Recurrent, reads: int | None, side: Side
) -> list[NDArray[np.float32]]:
    """[weight_ih, weight_hh, bias_ih, bias_hh] in our order, of one direction.

    reads: the width of a step, or None if it is not known yet.
    """
    cell, units = _CELLS[each.cell.kind], each.cell.units
    rows = len(cell.gates) * units
    shapes: dict[str, Shape] = {"kernel": (reads, rows), "recurrent_kernel": (units, rows)}
    if each.cell.bias:
        shapes["bias"] = (rows,) if cell.additive_biases else (2, rows)
    kernel, recurrent, *rest = file.weights(each.layer, shapes, side)
    bias = np.zeros((2, rows), np.float32)
    if rest:
        bias[: rest[0].size // rows] = rest[0]  # of an LSTM or RNN the second stays 0
    order = np.concatenate([np.arange(units) + gate * units for gate in cell.inverse_gate_order("keras")])
    return [kernel.T[order], recurrent.T[order], bias[0, order], bias[1, order]]


def _dense(
    file: KerasFile, layer: Layer, reads: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(weight (K, D*H), bias (K,))."""
    shapes: dict[str, Shape] = {"kernel": (reads, classes)}
    if layer.config.get("use_bias", True) is not False:
        shapes["bias"] = (classes,)
    kernel, *bias = file.weights(layer, shapes)
    return kernel.T, bias[0] if bias else np.zeros(classes, np.float32)


def _note_answers(file: KerasFile, layers: list[Layer], notes: list[str]) -> None:
    """Raises ModelError if the Dense layer's outputs are neither logits nor probabilities."""
    softmaxes = 0
    for layer in layers:
        if layer.kind in ("Dense", "Activation"):
            found = layer.config.get("activation")
            if found not in ("softmax", "linear", None):
                raise file.fault(layer, f"activation must be softmax or linear, found {one_line(found)!r}")
            softmaxes += found == "softmax"
        elif layer.kind == "Softmax":
            axis = layer.config.get("axis", -1)
            if axis not in (-1, 1, [-1], [1]):
                raise file.fault(layer, f"axis must be -1, that of the classes, found {one_line(axis)}")
            softmaxes += 1
    if softmaxes > 1:
        raise file.fault(layers[-1], "is a softmax of a softmax, which the network here has not")
    if not softmaxes:
        notes.append("no softmax: the outputs are taken for logits")


def _note_input(file: KerasFile, layers: list[Layer], width: int, notes: list[str]) -> None:
    """Raises ModelError if the input is no (batch, steps, features)."""
    config = layers[0].config
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if config.get("ragged") or config.get("sparse"):
        raise file.fault(layers[0], "expected a plain input, found a ragged or sparse one")
    if shape is None:
        return
    if not isinstance(shape, list) or len(shape) != 3 or shape[2] not in (width, None):
        raise file.fault(
            layers[0],
            f"expected an input (batch, steps, {width}), as the first kernel has it, found {one_line(shape)}",
        )
    if shape[1] is not None:
        notes.append(
            f"it was made for sequences of {one_line(shape[1])} steps; here they may have any number"
        )


def _note_precision(file: KerasFile, layers: list[Layer], notes: list[str]) -> None:
    """Raises ModelError if something is computed in integers or in a precision of one's own."""
    found = set()
    for layer in layers:
        policy = layer.config.get("dtype")
        inner = policy.get("config") if isinstance(policy, dict) else None
        name = inner.get("name", "") if isinstance(inner, dict) else policy
        if policy is None or layer.kind == "InputLayer":
            continue
        if name not in _PRECISIONS:
            raise file.fault(
                layer,
                f"dtype must be one of {', '.join(_PRECISIONS)}, found {one_line(name)!r}; "
                "save it in float32",
            )
        found.add(name)
    if other := sorted(found - {"float32"}):
        notes.append(
            f"it computed in {', '.join(other)}; here weights are float32, and answers differ by rounding"
        )


def _whole(file: KerasFile, layer: Layer, key: str) -> int:
    value = layer.config.get(key)
    if type(value) is not int or not 1 <= value <= limit_of("UNITS"):
        raise file.fault(
            layer, f"expected {key} to be a whole number, 1 to {limit_of('UNITS'):,}, found {one_line(value)}"
        )
    return value
