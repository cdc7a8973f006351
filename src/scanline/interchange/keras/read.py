"""Read Keras models: one chain of layers, from the input through recurrent layers to a Dense layer.

Layers are taken for what they are called, from Keras' own list only. A layer or setting that would compute
something else than Scanline's network is refused by name.
Source: Keras 3.15's src/layers and, for files of Keras 2, keras/src/layers of 2.15.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from scanline.errors import one_line
from scanline.interchange.checks import check_finite, check_sizes
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.keras.batch_norm import Affine, read_batch_norm
from scanline.interchange.keras.file import KerasFile, Layer, Side, open_keras
from scanline.interchange.keras.head import check_output, read_head
from scanline.interchange.keras.layers import CHAIN, IDLE, NORM, POOLING_LAYERS, RECURRENT, chain_of
from scanline.interchange.keras.recurrent import Recurrent, direction_weights, parse_recurrent
from scanline.interchange.keras.scaling import shift_and_scale
from scanline.interchange.keras.stack import PADDED_CELLS, StackLayer, StackShape
from scanline.model.dense import DenseLayer
from scanline.model.network import Architecture
from scanline.recipe import Readout

_POOLINGS = {layer: name for name, layer in POOLING_LAYERS.items()}
_PRECISIONS = ("float32", "float64", "float16", "mixed_float16", "mixed_bfloat16")


def read_keras(path: str | Path) -> ImportedNetwork:
    """Read the network in a Keras model: a `.keras` file, or an `.h5` file with the whole model.

    Supported are Sequential and functional models that are one chain of Input, Rescaling and Normalization,
    Masking, LSTM, GRU or SimpleRNN in one direction or Bidirectional, a global pooling over time or none, and
    Dense layers: hidden ones, and a last one with softmax or without, or with one output and sigmoid. Layers
    that act only in training, and BatchNormalization, may be anywhere. Preprocessing becomes `shift` and
    `scale`; a Masking layer becomes the lengths of the sequences; without softmax the outputs are taken as
    logits. Nothing in the file is executed.

    Raises:
        ModelError: If the file is damaged, or a layer cannot be mapped; says which and why.
    """
    with open_keras(Path(path)) as file:
        return _network(file)


def _network(file: KerasFile) -> ImportedNetwork:
    chain = chain_of(file)
    notes: list[str] = []
    layers = [layer for layer in chain if layer.kind not in IDLE]
    check_sizes(file.source, layers=sum(layer.kind in RECURRENT for layer in layers))  # before reading any
    recurrent = [parse_recurrent(file, layer) for layer in layers if layer.kind in RECURRENT]
    readout = _readout(file, layers, recurrent)
    _check_masking(file, layers, recurrent, readout, notes)
    sigmoid = check_output(file, layers, notes)
    _check_precision(file, layers, notes)
    stack, width = _read_stack(file, layers, recurrent, readout)
    shape = StackShape.of(stack)
    cell = recurrent[0].direction.cell
    dense, (head, bias) = read_head(file, layers[_last(layers, RECURRENT) + 1 :], stack[-1].width, readout)
    weights: dict[str, NDArray[Any]] = shape.weights(stack, cell, width)
    check_sizes(file.source, layers=max(len(dense), 1))
    for index, layer in enumerate(dense):
        weights |= {f"dense.{index}.weight": layer.weight, f"dense.{index}.bias": layer.bias}
    # The first one reads the last recurrent layer, which may be padded.
    first = "dense.0.weight" if dense else "head.weight"
    weights |= {"head.weight": head, "head.bias": bias}
    weights[first] = shape.head(weights[first], stack[-1])
    check_sizes(file.source, input_size=width, hidden_size=shape.units, classes=len(bias))
    if any(map(shape.is_padding, stack)):
        both = " in both directions" if shape.directions == 2 else ""
        notes.append(f"layers were padded to {shape.units} units{both}; the added ones have the output 0")
    # Keys are absent without preprocessing layers; `to_model` then takes 0 and 1.
    weights |= shift_and_scale(file, layers[: _last(layers, RECURRENT, first=True)], width)
    _check_input(file, layers, width, notes)
    if any(layer.kind in IDLE for layer in chain) or any(each.direction.dropout for each in recurrent):
        notes.append("dropout and noise act only in training, and are left out")
    architecture = Architecture(
        cell.name,
        width,
        shape.units,
        len(stack),
        shape.directions == 2,
        0.0,
        "between",
        readout,
        len(bias),
        tuple(DenseLayer(len(layer.bias), layer.activation) for layer in dense),
    )
    version = f" {file.version}" if file.version else ""
    narrow = {name: _narrow(file, name, values) for name, values in weights.items()}
    made = f"imported from the Keras{version} model {file.source.name}"
    return ImportedNetwork(architecture, narrow, made, notes, sigmoid=sigmoid)


def _read_stack(
    file: KerasFile, layers: list[Layer], recurrent: list[Recurrent], readout: Readout
) -> tuple[list[StackLayer], int]:
    """Return the recurrent layers with their weights, and the width of the input."""
    stack: list[StackLayer] = []
    width = 0  # known once the first kernel is read
    reversed_ = False  # Keras returns the outputs of a reversed layer in the order in which it computes them
    for index, each in enumerate(recurrent):
        if each.bidirectional and reversed_:
            raise file.fault(each.layer, "reads the outputs of a layer with go_backwards, in reversed order")
        reversed_ ^= each.direction.reversed
        if reversed_ and (len(recurrent) > 1 or readout != "last") and _of_kind(layers, "Masking"):
            raise file.fault(each.layer, "go_backwards is supported behind Masking in a single layer only")
        sides: dict[int, list[NDArray[Any]]] = {}
        names: tuple[tuple[int, Side], ...] = ((int(reversed_), ""),)
        if each.bidirectional:
            names = ((0, "forward"), (1, "backward"))
        for side, name in names:
            # The first layer's width is unknown (None) until its forward kernel is read; then it is checked,
            # too.
            inputs = (stack[-1].width if index else width) or None
            sides[side] = list(direction_weights(file, each, inputs, name))
            width = width or sides[side][0].shape[1]
        stack.append(StackLayer(each.direction.units, sides))
    _check_equal(file, recurrent, stack)
    _fold_between(file, layers, recurrent, stack)
    return stack, width


def _check_equal(file: KerasFile, recurrent: list[Recurrent], stack: list[StackLayer]) -> None:
    """Check that all layers have one cell, and that they can be padded if their sizes differ."""
    first, shape = recurrent[0], StackShape.of(stack)
    for each, layer in zip(recurrent, stack, strict=True):
        cell = each.direction.cell
        if cell is not first.direction.cell or (shape.is_padding(layer) and cell.name not in PADDED_CELLS):
            raise file.fault(
                each.layer,
                "expected all recurrent layers to be equal: "
                f"{first} as {one_line(first.layer.name)!r}, found {each}",
            )


def _fold_between(
    file: KerasFile, layers: list[Layer], recurrent: list[Recurrent], stack: list[StackLayer]
) -> None:
    """Fold every BatchNormalization between two recurrent layers into the kernels of the second."""
    place = {id(each.layer): index for index, each in enumerate(recurrent)}
    before: list[Affine] = []
    current = -1
    for layer in layers[: _last(layers, RECURRENT) + 1]:
        if layer.kind == NORM and current >= 0:
            before.append(read_batch_norm(file, layer, stack[current].width, 3))
        elif id(layer) in place:
            current = place[id(layer)]
            for affine in reversed(before):
                for arrays in stack[current].sides.values():
                    arrays[0], arrays[2] = affine.into(arrays[0], arrays[2])
            before = []


def _last(layers: list[Layer], kinds: tuple[str, ...], first: bool = False) -> int:
    """Return the index of the last layer of these kinds, or of the first."""
    found = [index for index, layer in enumerate(layers) if layer.kind in kinds]
    return found[0 if first else -1]


def _of_kind(layers: list[Layer], kind: str) -> list[Layer]:
    return [layer for layer in layers if layer.kind == kind]


def _narrow(file: KerasFile, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # refused in the next line
        narrow: NDArray[np.float32] = np.ascontiguousarray(values, np.float32)
    check_finite(file.source, name, narrow)
    return narrow


def _readout(file: KerasFile, layers: list[Layer], recurrent: list[Recurrent]) -> Readout:
    """Return the pooling; check that recurrent layers pass all steps to the next."""
    last = recurrent[-1]
    for each in recurrent[:-1]:
        if not each.direction.sequences:
            raise file.fault(
                each.layer, "return_sequences must be True, as another recurrent layer reads its outputs"
            )
    pooling = [layer for layer in layers if layer.kind in _POOLINGS]
    if not pooling:
        if last.direction.sequences:
            raise file.fault(
                last.layer,
                "return_sequences must be False, or a global pooling must follow: a sequence has one "
                "prediction, not one for each step",
            )
        return "last"
    pool = pooling[0]
    if not last.direction.sequences:
        raise file.fault(
            last.layer, f"return_sequences must be True, as {one_line(pool.name)!r} reads all steps"
        )
    if pool.config.get("data_format", "channels_last") != "channels_last":
        raise file.fault(pool, "data_format must be 'channels_last': values are (batch, steps, features)")
    if pool.config.get("keepdims", False) is not False:
        raise file.fault(pool, "keepdims must be False: pooled outputs have no steps")
    return cast(Readout, _POOLINGS[pool.kind])


def _check_masking(
    file: KerasFile, layers: list[Layer], recurrent: list[Recurrent], readout: Readout, notes: list[str]
) -> None:
    """Refuse a model whose output in Keras depends on how far a masked sequence is padded."""
    masking = [layer for layer in layers if layer.kind == "Masking"]
    if not masking:
        return
    if len(masking) > 1:
        raise file.fault(masking[1], f"is a second Masking layer; expected {CHAIN}")
    last = recurrent[-1]
    # Keras sets zero_output_for_mask of a Bidirectional layer to whether it returns sequences. The zeros
    # change a maximum, and the last output, but not a mean, which leaves out masked steps.
    zeros = readout == "max" if last.bidirectional else last.direction.zero_output and readout != "mean"
    if zeros:
        raise file.fault(
            masking[0],
            f"cannot be mapped with {one_line(last.layer.name)!r} after it: Keras reads zeros at masked "
            "steps, so "
            "that the output depends on the padding, which Scanline excludes",
        )
    value = one_line(masking[0].config.get("mask_value", 0.0))
    notes.append(
        f"Masking: steps whose values were all {value} were skipped; sequences have lengths here, padding is "
        "not read, and no step within a sequence is skipped"
    )


def _check_input(file: KerasFile, layers: list[Layer], width: int, notes: list[str]) -> None:
    """Check that the input is (batch, steps, features)."""
    config = layers[0].config
    # batch_shape in Keras 3, batch_input_shape in Keras 2.
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if config.get("ragged") or config.get("sparse"):
        raise file.fault(layers[0], "expected a plain input, found a ragged or sparse one")
    if shape is None:
        return
    if not isinstance(shape, list) or len(shape) != 3 or shape[2] not in (width, None):
        raise file.fault(
            layers[0],
            f"expected an input (batch, steps, {width}), as in the first kernel, found {one_line(shape)}",
        )
    if shape[1] is not None:
        notes.append(f"made for sequences of {one_line(shape[1])} steps; any number of steps is accepted")


def _check_precision(file: KerasFile, layers: list[Layer], notes: list[str]) -> None:
    """Check that no layer computes in integers or in a custom precision."""
    others = set()
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
        others.add(name)
    if names := sorted(others - {"float32"}):
        notes.append(
            f"it computed in {', '.join(names)}; imported weights are float32, and outputs differ by rounding"
        )
