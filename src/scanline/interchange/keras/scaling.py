"""Combines the preprocessing layers of a Keras model into one `shift` and `scale` for each feature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import one_line
from scanline.interchange.keras.batch_norm import read_batch_norm
from scanline.interchange.keras.file import KerasFile, Layer, Shape
from scanline.interchange.keras.layers import NORM

_EPSILON = np.float32(1e-7)  # the smallest deviation that Normalization divides by

Floats = NDArray[np.float64]


def shift_and_scale(file: KerasFile, layers: list[Layer], width: int) -> dict[str, NDArray[np.float32]]:
    """Return the `shift` and `scale` that are equivalent to all scaling layers.

    Args:
        file: The file.
        layers: Layers before the first recurrent one, in the order of computation.
        width: F.

    Returns:
        {"shift": (F,), "scale": (F,)}, or {} if there is no such layer.

    Raises:
        ModelError: Names the layer whose numbers do not fit the input, are not finite, or scale it by 0.
    """
    # float64, so that a chain of layers is rounded to float32 only once, at its end.
    shift, scale, found = np.zeros(width), np.ones(width), False
    with np.errstate(all="ignore"):  # the results are checked below
        for layer in layers:
            if layer.kind == "Rescaling":  # x * factor + offset
                factor = _numbers(file, layer, "scale", width)
                offset = _numbers(file, layer, "offset", width, default=0.0)
                shift, scale = shift - scale * (offset / factor), scale / factor
            elif layer.kind == "Normalization":  # (x - mean) / deviation, or x * deviation + mean
                mean, deviation = _moments(file, layer, width)
                if layer.config.get("invert", False) is not False:
                    shift, scale = shift - scale * (mean / deviation), scale / deviation
                else:
                    shift, scale = shift + scale * mean, scale * deviation
            elif layer.kind == NORM:  # factor * x + offset
                map = read_batch_norm(file, layer, width, 3)
                shift, scale = shift - scale * (map.offset / map.factor), scale / map.factor
            else:
                continue
            found = True
            narrow = shift.astype(np.float32), scale.astype(np.float32)
            if not (np.isfinite(narrow).all() and narrow[1].all()):
                raise file.fault(
                    layer,
                    "expected values to be scaled by finite numbers other than 0, found others among them",
                )
    return {"shift": shift.astype(np.float32), "scale": scale.astype(np.float32)} if found else {}


def _moments(file: KerasFile, layer: Layer, width: int) -> tuple[Floats, Floats]:
    """Return (mean, deviation) of a Normalization layer, (F,) each, rounded as Keras computes them."""
    axis = layer.config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [] if axis is None else [axis]
    if axes not in ([], [-1], [2]):
        raise file.fault(layer, f"axis must be -1, that of the features, or None, found {one_line(axis)}")
    if layer.config.get("mean") is not None:
        mean, variance = (_numbers(file, layer, key, width) for key in ("mean", "variance"))
    else:
        shape: Shape = (width,) if axes else ()
        arrays = file.weights(layer, {"mean": shape, "variance": shape}, unread=("count",))
        mean, variance = (np.broadcast_to(array, (width,)).astype(np.float64) for array in arrays)
    # Keras computes the root in float32; a float64 root may differ in the last bit.
    single = np.maximum(np.sqrt(variance.astype(np.float32)), _EPSILON)
    return mean.astype(np.float32).astype(np.float64), single.astype(np.float64)


def _numbers(file: KerasFile, layer: Layer, key: str, width: int, default: float | None = None) -> Floats:
    """Return a setting that is one number, or one for each feature, as (F,)."""
    value = layer.config.get(key, default)
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    # Keras stores arrays with leading axes of size 1: [[[mean, ...]]].
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    listed = value if isinstance(value, list) else [value]
    if len(listed) not in (1, width) or not all(_is_number(each) for each in listed):
        raise file.fault(
            layer,
            f"expected {key} to be one number or one for each of {width} features, found {one_line(value)}",
        )
    return np.broadcast_to(np.array(listed, np.float64), (width,))


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)
