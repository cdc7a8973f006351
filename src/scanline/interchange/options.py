"""What a file of weights does not say about its network, as the user states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from scanline.errors import UsageError, did_you_mean
from scanline.recipe import Readout

ReadoutOption = Literal["final-states", "last-step", "mean", "max"]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import; None takes the default, which the notes of the import name.

    Attributes:
        readout: What the head reads of the last layer's outputs; None: "final-states".
        cell_scope: Scope of a TensorFlow 1 cell with a custom name, or that and its kind, NAME=lstm.
        input_projection: "linear" if a TensorFlow 1 network multiplies its input by a matrix, without an
            activation, before the cells.
    """

    readout: str | None = None
    cell_scope: str | None = None
    input_projection: str | None = None

    def __post_init__(self) -> None:
        _check("readout", self.readout, get_args(ReadoutOption))
        _check("input_projection", self.input_projection, ("linear",))

    def pooling(self, bidirectional: bool) -> Readout:
        """Return the name of the pooling for `readout`.

        In one direction the last step has the final state, so that such a network can read streams.
        """
        if self.readout == "last-step" and bidirectional:
            return "last-step"
        return "mean" if self.readout == "mean" else "max" if self.readout == "max" else "last"


def _check(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        hint = did_you_mean(value, allowed)
        raise UsageError(f"{name} must be {' or '.join(allowed)}, got {value!r}{hint}")
