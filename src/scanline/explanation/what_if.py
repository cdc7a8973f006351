"""What-ifs: change the reading of one sequence. Blank steps, hold gates at a value, silence units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline import cells
from scanline.cells import Intervention
from scanline.errors import UsageError
from scanline.model.network import Architecture

DirectionName = Literal["forward", "backward"]


@dataclass(frozen=True)
class Clamp:
    """Hold a gate at a value, at every step and in every unit.

    Attributes:
        gate: One of the cell's `clampable` gates.
        value: Value of the gate, 0 to 1.
        layer: Counted from 1; None for all layers.
        direction: "forward" or "backward"; None for both.
    """

    gate: str
    value: float
    layer: int | None = None
    direction: DirectionName | None = None


@dataclass(frozen=True)
class Silence:
    """Set the output of a unit to 0 at every step; its other states continue.

    Attributes:
        unit: Counted from 0.
        layer: Counted from 1; None for all layers.
        direction: "forward" or "backward"; None for both.
    """

    unit: int
    layer: int | None = None
    direction: DirectionName | None = None


@dataclass(frozen=True)
class LayerChange(Intervention):
    """What changes inside one layer in one direction; nothing by default.

    Attributes:
        held: Values of the gates that are held, by name.
        silent: Units, counted from 0, whose output is 0.
    """

    held: Mapping[str, float] = field(default_factory=dict)
    silent: tuple[int, ...] = ()

    def gate(self, name: str, value: Tensor) -> Tensor:
        """Return the held value of gate `name`, or the computed `value`."""
        return torch.full_like(value, self.held[name]) if name in self.held else value

    def output(self, h: Tensor) -> Tensor:
        """Return `h`, (..., H), with the silent units at 0."""
        return (
            h.index_fill(-1, torch.tensor(self.silent, dtype=torch.int64, device=h.device), 0.0)
            if self.silent
            else h
        )


@dataclass(frozen=True)
class WhatIf:
    """Changes to the reading of one sequence.

    Attributes:
        blank: Steps, counted from 1, whose inputs are replaced by a baseline.
        clamp: Gates to hold.
        silence: Units to silence.
    """

    blank: tuple[int, ...] = ()
    clamp: tuple[Clamp, ...] = ()
    silence: tuple[Silence, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether anything but the input changes."""
        return bool(self.clamp or self.silence)

    def check(self, architecture: Architecture, steps: int) -> None:
        """Check that the changes fit a network and a sequence.

        Args:
            architecture: The network's.
            steps: Length T of the sequence.

        Raises:
            UsageError: If anything does not fit; names everything.
        """
        faults = self.faults(architecture, steps)
        if faults:
            raise UsageError("; ".join(faults))

    def faults(self, architecture: Architecture, steps: int) -> list[str]:
        """Return what does not fit, each as "what_if.blank[0] must be ..., got ...".

        Args:
            architecture: The network's.
            steps: Length T of the sequence.
        """
        faults = [
            f"what_if.blank[{number}] must be a step from 1 to {steps}, got {step!r}"
            for number, step in enumerate(self.blank)
            if not _is_whole(step, 1, steps)
        ]
        # By gate, layer and direction, the number of the clamp that holds it and its value.
        held: dict[tuple[str, int, bool], tuple[int, float]] = {}
        for number, clamp in enumerate(self.clamp):
            name = f"what_if.clamp[{number}]"
            wrong = [*_gate_faults(name, clamp, architecture), *_place_faults(name, clamp, architecture)]
            faults += wrong or self._contradictions(number, architecture, held)
        for number, silence in enumerate(self.silence):
            name, last = f"what_if.silence[{number}]", architecture.hidden_size - 1
            if not _is_whole(silence.unit, 0, last):
                faults.append(f"{name}.unit must be a unit from 0 to {last}, got {silence.unit!r}")
            faults += _place_faults(name, silence, architecture)
        return faults

    def _contradictions(
        self, number: int, architecture: Architecture, held: dict[tuple[str, int, bool], tuple[int, float]]
    ) -> list[str]:
        """Return the fault if an earlier clamp holds the gate at another value; record this one in `held`."""
        clamp = self.clamp[number]
        for layer in range(architecture.layers):
            for backward in (False, True)[: 1 + architecture.bidirectional]:
                if not _applies(clamp, layer, backward):
                    continue
                earlier, value = held.setdefault((clamp.gate, layer, backward), (number, clamp.value))
                if value != clamp.value:
                    direction = "backward" if backward else "forward"
                    return [
                        f"what_if.clamp[{number}] must not hold gate {clamp.gate} of layer {layer + 1}, "
                        f"{direction}, at another value than what_if.clamp[{earlier}], {value}, "
                        f"got {clamp.value}"
                    ]
        return []

    def blanked(self, values: NDArray[Any], baseline: NDArray[np.float32] | None) -> NDArray[Any]:
        """Return a copy of a sequence with the blank steps replaced.

        Args:
            values: Inputs, (T, F); not modified.
            baseline: Inputs of a blank step, (F,).

        Returns:
            (T, F); `values` itself if no step is blank.

        Raises:
            ValueError: If steps are blank and there is no baseline.
        """
        if not self.blank:
            return values
        if baseline is None:
            raise ValueError("blank steps need a baseline")
        # The values may be bytes, in which a mean does not fit.
        changed = np.array(values, np.result_type(values, baseline))
        # Steps are counted from 1, rows from 0.
        changed[[step - 1 for step in self.blank]] = baseline
        return changed

    def at(self, layer: int, backward: bool) -> LayerChange:
        """Return what changes in one layer in one direction.

        Args:
            layer: Counted from 0.
            backward: Whether the direction is backward.
        """
        return LayerChange(
            {clamp.gate: float(clamp.value) for clamp in self.clamp if _applies(clamp, layer, backward)},
            tuple(each.unit for each in self.silence if _applies(each, layer, backward)),
        )


def _applies(change: Clamp | Silence, layer: int, backward: bool) -> bool:
    """Return whether a change is meant for a layer, counted from 0, and direction."""
    directions = (None, "backward" if backward else "forward")
    return change.layer in (None, layer + 1) and change.direction in directions


def _is_whole(number: Any, low: int, high: int) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and low <= int(number) <= high


def _gate_faults(name: str, clamp: Clamp, architecture: Architecture) -> Iterator[str]:
    cell = cells.get(architecture.cell)
    if not cell.clampable:
        yield f"{name}: {cell.name} has no clampable gates, got {clamp.gate!r}"
    elif clamp.gate not in cell.clampable:
        legal = ", ".join(cell.clampable)
        yield f"{name}.gate must be one of {legal}, the clampable gates of {cell.name}, got {clamp.gate!r}"
    value: Any = clamp.value
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        yield f"{name}.value must be a number from 0 to 1, got {value!r}"


def _place_faults(name: str, change: Clamp | Silence, architecture: Architecture) -> Iterator[str]:
    layers = architecture.layers
    if change.layer is not None and not _is_whole(change.layer, 1, layers):
        legal = f"a layer from 1 to {layers}" if layers > 1 else "1, the network's only layer"
        yield f"{name}.layer must be {legal}, or left out, got {change.layer!r}"
    if change.direction is None or change.direction == "forward":
        return
    if not architecture.bidirectional:
        yield (
            f"{name}.direction must be forward, or left out, as the network reads in one direction, "
            f"got {change.direction!r}"
        )
    elif change.direction != "backward":
        yield f"{name}.direction must be forward or backward, or left out for both, got {change.direction!r}"
