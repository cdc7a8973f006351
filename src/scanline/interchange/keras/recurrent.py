"""Recurrent layers of a Keras model: their settings, and their weights in the order of our gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline import cells
from scanline.cells import Cell
from scanline.errors import one_line
from scanline.interchange.checks import check_sizes
from scanline.interchange.keras.file import KerasFile, Layer, Shape, Side
from scanline.interchange.keras.layers import check_own

_WHY = {
    "recurrent_activation": "the gates have no other activation",
    "reset_after": "it states where the reset gate acts",
}
# What Keras takes if a file does not state a setting: the defaults of Keras 2.
_DEFAULTS = {"recurrent_activation": "hard_sigmoid", "reset_after": False}


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent layer.

    Attributes:
        kind: Keras' class.
        cell: The cell that computes the same.
        units: H.
        bias: Whether it has biases.
        sequences: Whether it returns the outputs of all steps.
        zero_output: Whether outputs at masked steps are 0.
        dropout: Whether it has dropout, which acts in training only.
        reversed: Whether it reads from the end.
    """

    kind: str
    cell: Cell
    units: int
    bias: bool
    sequences: bool
    zero_output: bool
    dropout: bool
    reversed: bool = False


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer.

    Attributes:
        layer: The layer in the file.
        direction: Its forward direction; a backward one has the same settings.
        bidirectional: Whether there is a backward direction.
    """

    layer: Layer
    direction: Direction
    bidirectional: bool

    def __str__(self) -> str:
        directions = "both directions" if self.bidirectional else "one direction"
        return f"{self.direction.cell.title} of {self.direction.units} units in {directions}"


def parse_recurrent(file: KerasFile, layer: Layer) -> Recurrent:
    """Return a recurrent layer.

    Raises:
        ModelError: If Scanline's network would compute something else; names the first such setting.
    """
    if layer.kind != "Bidirectional":
        return Recurrent(layer, _direction(file, layer, layer.kind, layer.config, backward=False), False)
    mode = layer.config.get("merge_mode")
    if mode != "concat":
        raise file.fault(
            layer,
            f"merge_mode must be 'concat', found {one_line(mode)!r}: other modes are not supported",
        )
    forward = _direction(file, layer, *_inner(file, layer, "layer"), backward=False)
    if layer.config.get("backward_layer") is not None:
        # A given backward layer may differ in settings; without one Keras derives it from the forward layer.
        backward = _direction(file, layer, *_inner(file, layer, "backward_layer"), backward=True)
        for what, one, two in (
            ("cell", forward.cell.title, backward.cell.title),
            ("units", forward.units, backward.units),
            ("use_bias", forward.bias, backward.bias),
            ("return_sequences", forward.sequences, backward.sequences),
        ):
            if one != two:
                raise file.fault(
                    layer, f"both directions must be equal, found {what} {one} forward and {two} backward"
                )
    return Recurrent(layer, forward, True)


def _inner(file: KerasFile, layer: Layer, key: str) -> tuple[str, dict[str, Any]]:
    """Return (class, settings) of a layer within a Bidirectional one."""
    found = layer.config.get(key)
    inner = found if isinstance(found, dict) else {}
    kind, config = inner.get("class_name"), inner.get("config")
    known = cells.by_layer("keras")
    if not isinstance(kind, str) or kind not in known or not isinstance(config, dict):
        raise file.fault(layer, f"expected {key} to be one of {', '.join(known)}, found {one_line(kind)!r}")
    check_own(file, inner)
    return kind, config


def _direction(
    file: KerasFile, layer: Layer, kind: str, config: dict[str, Any], *, backward: bool
) -> Direction:
    def must(key: str, wanted: Any, default: Any, why: str) -> None:
        found = config.get(key, default)
        # The types are compared too, since 0 == False and 1 == True in Python.
        if found != wanted or type(found) is not type(wanted):
            raise file.fault(layer, f"{key} must be {wanted!r}, found {one_line(found)!r}: {why}")

    must("activation", "tanh", "tanh", "Scanline's cells have no other")
    cell = _nearest_cell(kind, config)
    for key, value in cell.layout("keras").settings.items():
        must(key, value, _DEFAULTS.get(key, value), _WHY.get(key, "Scanline's cells have no other"))
    reversed_ = config.get("go_backwards", backward)
    if type(reversed_) is not bool or (layer.kind == "Bidirectional" and reversed_ is not backward):
        raise file.fault(
            layer, f"go_backwards must be {backward}, found {one_line(reversed_)!r} in a Bidirectional layer"
        )
    must("stateful", False, False, "here every sequence starts from zero states")
    must("time_major", False, False, "here values are (batch, steps, features)")
    units, bias = config.get("units"), config.get("use_bias", True)
    sequences = config.get("return_sequences", False)
    if type(units) is not int or type(bias) is not bool or type(sequences) is not bool:
        raise file.fault(
            layer,
            "expected units to be a number, use_bias and return_sequences to be true or false; found "
            f"{one_line(units)}, {one_line(bias)}, {one_line(sequences)}",
        )
    check_sizes(file.source, units=units)
    dropout = bool(config.get("dropout") or config.get("recurrent_dropout"))
    zeros = config.get("zero_output_for_mask") is True
    return Direction(kind, cell, units, bias, sequences, zeros, dropout, reversed_)


def _nearest_cell(kind: str, config: dict[str, Any]) -> Cell:
    """Return the cell with the fewest settings that differ from those of a layer."""

    def differences(cell: Cell) -> int:
        settings = cell.layout("keras").settings
        return sum(config.get(key, _DEFAULTS.get(key, value)) != value for key, value in settings.items())

    return min(cells.by_layer("keras")[kind], key=differences)


def direction_weights(
    file: KerasFile, recurrent: Recurrent, inputs: int | None, side: Side
) -> list[NDArray[np.float32]]:
    """Return [weight_ih, weight_hh, bias_ih, bias_hh] of one direction, in the order of the cell's gates.

    Args:
        file: The file.
        recurrent: The layer.
        inputs: Number of values that it reads a step, or None if not known yet.
        side: The direction of a Bidirectional layer.
    """
    cell, units = recurrent.direction.cell, recurrent.direction.units
    rows = len(cell.gates) * units
    shapes: dict[str, Shape] = {"kernel": (inputs, rows), "recurrent_kernel": (units, rows)}
    # Cells with two separate biases (GRU with reset_after) store them as one array (2, G*H).
    if recurrent.direction.bias:
        shapes["bias"] = (rows,) if cell.additive_biases else (2, rows)
    kernel, recurrent_kernel, *rest = file.weights(recurrent.layer, shapes, side)
    bias = np.zeros((2, rows), np.float32)
    if rest:
        bias[: rest[0].size // rows] = rest[0]  # if only the sum of the biases counts, the second stays 0
    # Row indices of each gate's block of H units, in the order of gates that the cell uses.
    order = np.concatenate([np.arange(units) + gate * units for gate in cell.inverse_gate_order("keras")])
    return [kernel.T[order], recurrent_kernel.T[order], bias[0, order], bias[1, order]]
