"""A linear projection of the input before TensorFlow 1's cells, folded into their kernels.

Source: tf.contrib.rnn.InputProjectionWrapper; tutorials compute tf.matmul(x, W) + b before the cells.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.errors import ModelError, one_line
from scanline.formats.tensor_bundle import TensorBundle
from scanline.interchange.checks import listed

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """Names of the variables: a matrix (F, inputs of the cells) and a vector (inputs,)."""

    matrix: str
    vector: str


def find_projection(bundle: TensorBundle, names: list[str], inputs: int, width: int) -> Projection:
    """Return which of four variables project the input; the other two compute the logits.

    Args:
        bundle: The checkpoint.
        names: Names of all variables beside the cells.
        inputs: Number of values that a cell reads.
        width: Number of features that the head reads.

    Raises:
        ModelError: If there are others, or if shapes do not determine which is which.
    """
    shapes = {name: bundle.entries[name].shape for name in names}
    matrices = [name for name in names if len(shapes[name]) == 2]
    vectors = [name for name in names if len(shapes[name]) == 1]
    fitting = [
        Projection(matrix, vector)
        for (matrix, head), (vector, bias) in itertools.product(
            itertools.permutations(matrices, 2), itertools.permutations(vectors, 2)
        )
        if shapes[matrix][1:] == shapes[vector] == (inputs,)
        and shapes[head] == (width, *shapes[bias])
        and len(names) == 4
    ]
    if len(fitting) == 1:
        return fitting[0]
    found = listed([f"{name} {one_line(shapes[name])}" for name in names]) or "none"
    what = "shapes fit in more than one way" if fitting else "found others"
    raise ModelError(
        f"{bundle.prefix}: expected, beside the cells, a matrix (features, {inputs}) and a vector "
        f"({inputs},) that project the input, and a matrix ({width}, classes) and a vector (classes,) of "
        f"the logits; {what}: {found}"
    )


def fold(kernel: Floats, bias: Floats, matrix: Floats, vector: Floats) -> tuple[Floats, Floats]:
    """Return weight_ih (G*H, F) and bias (G*H,) that read the input before the projection.

    Args:
        kernel: (G*H, inputs).
        bias: (G*H,).
        matrix: (F, inputs).
        vector: (inputs,).
    """
    wide = kernel.astype(np.float64)  # rounded once
    return (wide @ matrix.T).astype(np.float32), (bias + wide @ vector).astype(np.float32)
