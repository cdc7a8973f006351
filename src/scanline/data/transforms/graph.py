"""The ONNX graph that transforms and pooling add their nodes to when a model is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Graph(Protocol):
    """An ONNX graph under construction; `scanline.interchange.onnx` has the implementation."""

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its first output."""
        ...

    def constant(self, name: str, value: Any, /) -> str:
        """Add a float32 constant and return its name."""
        ...

    def numbers(self, /, *numbers: int) -> str:
        """Add an int64 vector and return its name."""
        ...

    def reshape(self, tensor: str, shape: Sequence[int], name: str, /) -> str:
        """Add a node that reshapes `tensor` and return the name of the result."""
        ...

    def reduce(self, operator: str, tensor: str, axes: Sequence[int], name: str, /) -> str:
        """Add a reduction over `axes`, which are dropped, and return the name of the result."""
        ...
