"""Read Keras models: one chain of layers, from the input through recurrent layers to a Dense layer.

Layers are taken for what they are called, from Keras' own list only. A layer or setting that would compute
something else than the network here is refused by name.
Source: Keras 3.15's src/layers and, for files of Keras 2, keras/src/layers of 2.15.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from scanline.errors import one_line
from scanline.interchange.checks import check_sizes
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.keras.file import KerasFile, Layer, Shape, Side, open_keras
from scanline.interchange.keras.layers import CHAIN, IDLE, POOLING_LAYERS, RECURRENT, chain_of
from scanline.interchange.keras.recurrent import Recurrent, direction_weights, parse_recurrent
from scanline.interchange.keras.scaling import shift_and_scale
from scanline.limits import limit_of
from scanline.model.network import Architecture
from scanline.recipe import Readout

_POOLINGS = {layer: name for name, layer in POOLING_LAYERS.items()}
_PRECISIONS = ("float32", "float64", "float16", "mixed_float16", "mixed_bfloat16")
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def read_keras(path: str | Path) -> ImportedNetwork:
    """Read the network in a Keras model: a `.keras` file, or an `.h5` file with the whole model.

    Supported are Sequential and functional models that are one chain of Input, Rescaling and Normalization,
    Masking, LSTM, GRU or SimpleRNN in one direction or Bidirectional, a global pooling over time or none, and
    one Dense layer with softmax or without. Layers that act only in training may be anywhere. Preprocessing
    becomes `shift` and `scale`; a Masking layer becomes the lengths of the sequences; without softmax the
    outputs are taken as logits. Nothing in the file is executed.

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
    _check_output(file, layers, notes)
    _check_precision(file, layers, notes)
    first = recurrent[0]
    units, directions = first.direction.units, 1 + first.bidirectional
    weights, width = _recurrent_weights(file, recurrent)
    dense = next(layer for layer in layers if layer.kind == "Dense")
    classes = _positive(file, dense, "units")
    if classes < 2:
        raise file.fault(dense, f"expected an output for each of two classes or more, found {classes}")
    weights["head.weight"], weights["head.bias"] = _dense(file, dense, units * directions, classes)
    check_sizes(file.source, input_size=width, hidden_size=units, classes=classes)
    # Keys are absent without preprocessing layers; `to_model` then takes 0 and 1.
    weights |= shift_and_scale(file, layers, width)
    _check_input(file, layers, width, notes)
    if any(layer.kind in IDLE for layer in chain) or any(each.direction.dropout for each in recurrent):
        notes.append("dropout and noise act only in training, and are left out")
    architecture = Architecture(
        first.direction.cell.name,
        width,
        units,
        len(recurrent),
        first.bidirectional,
        0.0,
        "between",
        readout,
        classes,
    )
    version = f" {file.version}" if file.version else ""
    contiguous = {name: np.ascontiguousarray(values) for name, values in weights.items()}
    made = f"imported from the Keras{version} model {file.source.name}"
    return ImportedNetwork(architecture, contiguous, made, notes)


def _recurrent_weights(
    file: KerasFile, recurrent: list[Recurrent]
) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Return the weights of all recurrent layers by our names, and the width of the input."""
    units, directions = recurrent[0].direction.units, 1 + recurrent[0].bidirectional
    weights: dict[str, NDArray[np.float32]] = {}
    width = 0  # known once the first kernel is read
    for index, each in enumerate(recurrent):
        sides: tuple[Side, ...] = ("forward", "backward") if each.bidirectional else ("",)
        for side in sides:
            end = f"_l{index}" + ("_reverse" if side == "backward" else "")
            # The first layer's width is unknown (None) until its forward kernel is read; then it is checked,
            # too.
            inputs = (units * directions if index else width) or None
            arrays = direction_weights(file, each, inputs, side)
            width = width or arrays[0].shape[1]
            weights |= {f"recurrent.{name}{end}": array for name, array in zip(_WEIGHTS, arrays, strict=True)}
    return weights, width


def _readout(file: KerasFile, layers: list[Layer], recurrent: list[Recurrent]) -> Readout:
    """Return the pooling; check that recurrent layers are equal and pass all steps to the next."""
    first, last = recurrent[0], recurrent[-1]
    kind = (first.direction.kind, first.direction.units, first.bidirectional)
    for each in recurrent[1:]:
        if (each.direction.kind, each.direction.units, each.bidirectional) != kind:
            raise file.fault(
                each.layer,
                "expected all recurrent layers to be equal: "
                f"{first} as {one_line(first.layer.name)!r}, found {each}",
            )
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
                "return_sequences must be False, or a global pooling must follow: here a sequence has one "
                "prediction, not one for each step",
            )
        return "last"
    pool = pooling[0]
    if not last.direction.sequences:
        raise file.fault(
            last.layer, f"return_sequences must be True, as {one_line(pool.name)!r} reads all steps"
        )
    if pool.config.get("data_format", "channels_last") != "channels_last":
        raise file.fault(
            pool, "data_format must be 'channels_last': here values are (batch, steps, features)"
        )
    if pool.config.get("keepdims", False) is not False:
        raise file.fault(pool, "keepdims must be False: here pooled outputs have no steps")
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
            "that the output depends on the padding, and here no output does",
        )
    value = one_line(masking[0].config.get("mask_value", 0.0))
    notes.append(
        f"Masking: steps whose values were all {value} were skipped; here sequences have lengths, padding is "
        "not read, and no step within a sequence is skipped"
    )


def _dense(
    file: KerasFile, layer: Layer, inputs: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight (K, D*H) and bias (K,)."""
    shapes: dict[str, Shape] = {"kernel": (inputs, classes)}
    if layer.config.get("use_bias", True) is not False:
        shapes["bias"] = (classes,)
    kernel, *bias = file.weights(layer, shapes)
    # Keras stores kernels as (inputs, outputs), torch as (outputs, inputs).
    return kernel.T, bias[0] if bias else np.zeros(classes, np.float32)


def _check_output(file: KerasFile, layers: list[Layer], notes: list[str]) -> None:
    """Check that the outputs are logits or probabilities."""
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
        raise file.fault(layers[-1], "is a softmax of a softmax, which the network here does not have")
    if not softmaxes:
        notes.append("no softmax: the outputs are taken as logits")


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
        notes.append(f"made for sequences of {one_line(shape[1])} steps; here the number of steps is free")


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
            f"it computed in {', '.join(names)}; here weights are float32, and outputs differ by rounding"
        )


def _positive(file: KerasFile, layer: Layer, key: str) -> int:
    """Return a setting that must be a positive whole number."""
    value = layer.config.get(key)
    # type() instead of isinstance, because JSON true is an int in Python.
    if type(value) is not int or not 1 <= value <= limit_of("UNITS"):
        raise file.fault(layer, f"expected {key} to be 1 to {limit_of('UNITS'):,}, found {one_line(value)}")
    return value
