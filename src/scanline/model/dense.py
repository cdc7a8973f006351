"""Fully connected layers with activations, between the pooling and the output layer.

Imported networks have them; networks that are trained here have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scanline.recipe import Size

Activation = Literal[
    "elu", "gelu", "linear", "relu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"
]
# Keras, torch and ONNX have the same constants: alpha 1 of elu, gelu without approximation.
_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "linear": lambda values: values,
    "relu": torch.relu,
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
}
ACTIVATIONS = tuple(_FUNCTIONS)


@dataclass(frozen=True)
class DenseLayer:
    """A fully connected layer.

    Attributes:
        units: Number of its outputs.
        activation: Name of the function of every output.
    """

    units: Size
    activation: Activation


class DenseLayers(nn.ModuleList):
    """The layers, with their weights.

    Args:
        inputs: Features M that the first layer reads.
        layers: The layers, from the first; none: the features pass unchanged.

    Attributes:
        output_size: Number of outputs of the last layer, or M.
    """

    def __init__(self, inputs: int, layers: Sequence[DenseLayer]) -> None:
        sizes = [inputs, *(layer.units for layer in layers)]
        super().__init__(
            nn.Linear(size, layer.units, dtype=torch.float32)
            for size, layer in zip(sizes[:-1], layers, strict=True)
        )
        self.output_size = sizes[-1]
        self._functions = [_FUNCTIONS[layer.activation] for layer in layers]

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers' weights, from the first layer."""
        return [layer for layer in self if isinstance(layer, nn.Linear)]

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs (..., output_size) for features (..., M), computed in their dtype and place."""
        for linear, function in zip(self.linears, self._functions, strict=True):
            weight, bias = linear.weight.to(features), linear.bias.to(features)
            features = function(F.linear(features, weight, bias))
        return features
