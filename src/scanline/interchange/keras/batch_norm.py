"""BatchNormalization layers as the affine map that they are outside training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.errors import one_line
from scanline.interchange.keras.file import KerasFile, Layer, Shape

Floats = NDArray[np.float64]
_EPSILON = 1e-3  # Keras' default


@dataclass(frozen=True, eq=False)
class Affine:
    """The map x -> factor * x + offset of each feature, (F,) each; float64, as it is rounded when folded."""

    factor: Floats
    offset: Floats

    def into(self, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return kernel (M, F) and bias (M,) of a linear layer that read the map's result, for x itself."""
        wide = kernel.astype(np.float64)
        return wide * self.factor, bias.astype(np.float64) + wide @ self.offset

    def after(self, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return kernel (F, N) and bias (F,) of a linear layer with the map applied to its result."""
        return kernel * self.factor[:, None], bias * self.factor + self.offset


def read_batch_norm(file: KerasFile, layer: Layer, width: int, dimensions: int) -> Affine:
    """Read a BatchNormalization layer.

    Args:
        file: The file.
        layer: The layer.
        width: Number of features that it reads.
        dimensions: Of its input, 3 for sequences, 2 for vectors.

    Raises:
        ModelError: If it normalises another axis, or its numbers are out of range.
    """
    axis = layer.config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if axes not in ([-1], [dimensions - 1]):
        raise file.fault(layer, f"axis must be -1, that of the features, found {one_line(axis)}")
    scaled, centred = (layer.config.get(key, True) is not False for key in ("scale", "center"))
    names = [*(["gamma"] if scaled else []), *(["beta"] if centred else [])]
    shapes: dict[str, Shape] = dict.fromkeys([*names, "moving_mean", "moving_variance"], (width,))
    arrays = dict(zip(shapes, file.weights(layer, shapes), strict=True))
    epsilon = layer.config.get("epsilon", _EPSILON)
    variance = arrays["moving_variance"].astype(np.float64)
    if not isinstance(epsilon, int | float) or not math.isfinite(epsilon) or (variance + epsilon <= 0).any():
        raise file.fault(layer, "expected variances that are above 0 with epsilon added")
    factor = arrays.get("gamma", np.ones(width)) / np.sqrt(variance + epsilon)
    return Affine(factor, arrays.get("beta", np.zeros(width)) - arrays["moving_mean"] * factor)
