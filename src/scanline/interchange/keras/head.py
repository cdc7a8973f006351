"""The layers of a Keras model after the recurrent ones: dense layers, their activations, and the output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from scanline.errors import one_line
from scanline.interchange.keras.batch_norm import read_batch_norm
from scanline.interchange.keras.file import KerasFile, Layer, Shape
from scanline.interchange.keras.layers import NORM, POOLING_LAYERS
from scanline.limits import limit_of
from scanline.model.dense import ACTIVATIONS, Activation
from scanline.recipe import Readout

_LINEAR = ("linear", None)
_ALIASES = {"swish": "silu"}  # Keras 2's name
_NO_RELU_OPTIONS = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}


@dataclass(frozen=True, eq=False)
class Affine:
    """Linear layers that were multiplied with each other.

    Attributes:
        weight: (outputs, inputs).
        bias: (outputs,).
        activation: Function of the outputs.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: Activation = "linear"

    @classmethod
    def identity(cls, width: int) -> Affine:
        """Return the map that changes nothing."""
        return cls(np.eye(width), np.zeros(width, np.float64))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        rows, columns = self.weight.shape
        return rows == columns and bool((self.weight == np.eye(rows)).all()) and not self.bias.any()

    def then(self, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> Affine:
        """Return this map followed by a linear layer."""
        wide, own = weight.astype(np.float64), bias.astype(np.float64)
        # An identity is not multiplied, so that the numbers of the only layer stay as they are.
        return Affine(wide, own) if self.is_identity else Affine(wide @ self.weight, wide @ self.bias + own)


def read_head(
    file: KerasFile, layers: list[Layer], width: int, readout: Readout
) -> tuple[list[Affine], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the dense layers, and weight (K, M) and bias (K,) of the output layer, which reads M values.

    Args:
        file: The file.
        layers: All layers after the last recurrent one.
        width: Number of values that the first of them reads.
        readout: The pooling.

    Raises:
        ModelError: If a layer cannot be mapped; names it.
    """
    hidden, current, pooled = list[Affine](), Affine.identity(width), readout == "last"
    output = _output_layer(layers)
    for layer in layers:
        if layer.kind in POOLING_LAYERS.values():
            pooled = True
        elif layer.kind == NORM:
            affine = read_batch_norm(file, layer, len(current.bias), 2 if pooled else 3)
            if not pooled and readout == "max" and (affine.factor <= 0).any():
                raise file.fault(layer, "has factors of 0 or less, which do not commute with the maximum")
            current = Affine(*affine.after(current.weight, current.bias))
        elif layer.kind == "Dense":
            current = current.then(*_dense(file, layer, len(current.bias), _positive(file, layer, "units")))
        # From the output layer on, activations are those of the classes; see `check_output`.
        if layer is output:
            output = None
        if output is not None and (activation := _activation(file, layer)) != "linear":
            hidden.append(replace(current, activation=activation))
            current = Affine.identity(len(current.bias))
    return hidden, (current.weight, current.bias)


def _output_layer(layers: list[Layer]) -> Layer | None:
    """Return the last Dense layer."""
    return [layer for layer in layers if layer.kind == "Dense"][-1]


def _activation(file: KerasFile, layer: Layer) -> Activation:
    """Return the activation of a layer before the output layer, which is "linear" for many.

    Raises:
        ModelError: If networks cannot have it.
    """
    if layer.kind == "ReLU":
        for key, default in _NO_RELU_OPTIONS.items():
            if layer.config.get(key) not in (None, default):
                raise file.fault(layer, f"{key} must be {default}, found {one_line(layer.config[key])}")
        return "relu"
    found = layer.config.get("activation") if layer.kind in ("Dense", "Activation") else None
    if found in _LINEAR:
        return "linear"
    name = _ALIASES.get(found, found) if isinstance(found, str) else found
    if name not in ACTIVATIONS:
        raise file.fault(
            layer,
            f"activation of a hidden layer must be one of {', '.join(ACTIVATIONS)}, found "
            f"{one_line(found)!r}; train the model with one of them",
        )
    return cast(Activation, name)


def check_output(file: KerasFile, layers: list[Layer], notes: list[str]) -> bool:
    """Check that the outputs are logits or probabilities; return whether one output is a probability."""
    dense = _output_layer(layers)
    assert dense is not None
    layers = layers[layers.index(dense) :]
    single = type(dense.config.get("units")) is int and dense.config["units"] == 1
    allowed = ("sigmoid", "linear", None) if single else ("softmax", "linear", None)
    activations = 0
    for layer in layers:
        if layer.kind in ("Dense", "Activation"):
            found = layer.config.get("activation")
            if found not in allowed:
                why = " for one output" if single else ""
                raise file.fault(
                    layer, f"activation must be {allowed[0]} or linear{why}, found {one_line(found)!r}"
                )
            activations += found not in ("linear", None)
        elif layer.kind == "ReLU":
            raise file.fault(layer, "is a ReLU of the outputs; expected softmax, sigmoid or nothing")
        elif layer.kind == "Softmax":
            axis = layer.config.get("axis", -1)
            if single:
                raise file.fault(layer, "is a softmax of one output, which is always 1")
            if axis not in (-1, 1, [-1], [1]):
                raise file.fault(layer, f"axis must be -1, that of the classes, found {one_line(axis)}")
            activations += 1
        elif layer.kind == NORM and activations:
            # It was folded into the weights, which act before the activation.
            raise file.fault(layer, "comes after the activation of the outputs; expected it before")
    if activations > 1:
        name = allowed[0]
        raise file.fault(layers[-1], f"is a second {name} of the outputs; expected one")
    if single and not activations:
        raise file.fault(
            dense,
            "expected an output for each of two classes or more, found 1 without sigmoid, which may be a "
            "number that it predicts; if it is the logit of two classes, save the model with "
            "activation='sigmoid'",
        )
    if single:
        notes.append("one output with sigmoid: two classes, of which it is the probability of the second")
    elif not activations:
        notes.append("no softmax: the outputs are taken as logits")
    return single


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


def _positive(file: KerasFile, layer: Layer, key: str) -> int:
    """Return a setting that must be a positive whole number."""
    value = layer.config.get(key)
    # type() instead of isinstance, because JSON true is an int in Python.
    if type(value) is not int or not 1 <= value <= limit_of("UNITS"):
        raise file.fault(layer, f"expected {key} to be 1 to {limit_of('UNITS'):,}, found {one_line(value)}")
    return value
