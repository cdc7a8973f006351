"""What-ifs: steps left blank, gates held at a value, units silenced; and whether they fit a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.errors import UsageError
from scanline.explanation.trace import GATES, Change
from scanline.model.network import Architecture

DirectionName = Literal["forward", "backward"]


@dataclass(frozen=True)
class Clamp:
    """A gate held at `value` at every step, in every unit.

    gate: one of GATES of the cell. value: 0 to 1. layer: counted from 1. None: all layers, all directions.
    """

    gate: str
    value: float
    layer: int | None = None
    direction: DirectionName | None = None


@dataclass(frozen=True)
class Silence:
    """A unit, counted from 0, whose output is 0 at every step. layer: counted from 1. None: all."""

    unit: int
    layer: int | None = None
    direction: DirectionName | None = None


@dataclass(frozen=True)
class WhatIf:
    """What to change in the reading of one sequence.

    blank: steps, counted from 1, that are read as if nothing stood there.
    """

    blank: tuple[int, ...] = ()
    clamp: tuple[Clamp, ...] = ()
    silence: tuple[Silence, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether anything but the input is changed."""
        return bool(self.clamp or self.silence)

    def check(self, architecture: Architecture, steps: int) -> None:
        """Raise UsageError naming all `faults`."""
        faults = self.faults(architecture, steps)
        if faults:
            raise UsageError("; ".join(faults))

    def faults(self, architecture: Architecture, steps: int) -> list[str]:
        """What does not fit a network, or a sequence of `steps` steps: each as "what_if.blank[0] must be ...,
        got ..."."""
        found = [
            f"what_if.blank[{number}] must be a step from 1 to {steps}, got {step!r}"
            for number, step in enumerate(self.blank)
            if not _whole(step, 1, steps)
        ]
        held: dict[tuple[str, int, bool], tuple[int, float]] = {}
        for number, clamp in enumerate(self.clamp):
            at = f"what_if.clamp[{number}]"
            wrong = [*_wrong_gate(at, clamp, architecture), *_wrong_place(at, clamp, architecture)]
            found += wrong or self._contradictions(number, architecture, held)
        for number, silence in enumerate(self.silence):
            at, last = f"what_if.silence[{number}]", architecture.hidden_size - 1
            if not _whole(silence.unit, 0, last):
                found.append(f"{at}.unit must be a unit from 0 to {last}, got {silence.unit!r}")
            found += _wrong_place(at, silence, architecture)
        return found

    def _contradictions(
        self, number: int, architecture: Architecture, held: dict[tuple[str, int, bool], tuple[int, float]]
    ) -> list[str]:
        """Where a clamp of an earlier number holds the same gate at another value; `held` is filled."""
        clamp = self.clamp[number]
        for layer in range(architecture.layers):
            for backward in (False, True)[: 1 + architecture.bidirectional]:
                if not _meant(clamp, layer, backward):
                    continue
                earlier, value = held.setdefault((clamp.gate, layer, backward), (number, clamp.value))
                if value != clamp.value:
                    way = "backward" if backward else "forward"
                    return [
                        f"what_if.clamp[{number}] must not hold gate {clamp.gate} of layer {layer + 1}, "
                        f"{way}, at another value than what_if.clamp[{earlier}], {value}, got {clamp.value}"
                    ]
        return []

    def blanked(self, values: NDArray[Any], nothing: NDArray[np.float32] | None) -> NDArray[Any]:
        """`values` (T, F) with `nothing`, (F,), in the blank steps; the given array stays as it is.

        Raises ValueError if there are blank steps and no `nothing`.
        """
        if not self.blank:
            return values
        if nothing is None:
            raise ValueError("blank steps need `nothing`, what stands in them")
        # A mean need not fit into bytes.
        found = np.array(values, np.result_type(values, nothing))
        found[[step - 1 for step in self.blank]] = nothing
        return found

    def at(self, layer: int, backward: bool) -> Change:
        """What is changed in one layer, counted from 0, in one direction."""
        return Change(
            {clamp.gate: float(clamp.value) for clamp in self.clamp if _meant(clamp, layer, backward)},
            tuple(each.unit for each in self.silence if _meant(each, layer, backward)),
        )


def _meant(change: Clamp | Silence, layer: int, backward: bool) -> bool:
    return change.layer in (None, layer + 1) and change.direction in (
        None,
        "backward" if backward else "forward",
    )


def _whole(number: Any, low: int, high: int) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and low <= int(number) <= high


def _wrong_gate(at: str, clamp: Clamp, architecture: Architecture) -> Iterator[str]:
    gates = GATES[architecture.cell]
    if not gates:
        yield f"{at}: a plain RNN has no gates that can be clamped, got {clamp.gate!r}"
    elif clamp.gate not in gates:
        name = "an LSTM" if architecture.cell == "lstm" else "a GRU"
        legal = f"one of {', '.join(gates)}, the gates of {name} that can be clamped"
        yield f"{at}.gate must be {legal}, got {clamp.gate!r}"
    value: Any = clamp.value
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        yield f"{at}.value must be a number from 0 to 1, got {value!r}"


def _wrong_place(at: str, change: Clamp | Silence, architecture: Architecture) -> Iterator[str]:
    layers = architecture.layers
    if change.layer is not None and not _whole(change.layer, 1, layers):
        legal = f"a layer from 1 to {layers}" if layers > 1 else "1, the network's only layer"
        yield f"{at}.layer must be {legal}, or left out, got {change.layer!r}"
    if change.direction is None or change.direction == "forward":
        return
    if not architecture.bidirectional:
        yield (
            f"{at}.direction must be forward, or left out, as the network reads in one direction, "
            f"got {change.direction!r}"
        )
    elif change.direction != "backward":
        yield f"{at}.direction must be forward or backward, or left out for both, got {change.direction!r}"
