"""What a recurrent cell is: one step in plain torch, and the names and orders that others need of it.

Everything that differs between an LSTM, a GRU and a plain RNN is stated in a `Cell`. Layers, sessions,
traces, importers and exporters read it there; none of them compares cell names. Which backend computes a cell
is decided in `scanline.kernels`. This module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from scanline.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = {"torch": "PyTorch", "keras": "Keras", "onnx": "ONNX", "tf1": "TensorFlow 1"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Weights(NamedTuple):
    """Weights of one layer in one direction, with G gates stacked along the first axis.

    Attributes:
        weight_ih: Input weights, (G*H, F).
        weight_hh: Recurrent weights, (G*H, H), with a projection (G*H, P).
        bias_ih: Bias added to the input's product, (G*H,), or None.
        bias_hh: Bias added to the recurrent product, (G*H,), or None.
        weight_hr: Projection of the outputs, (P, H), or None. P is then the width of the outputs and of h.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    weight_hr: Tensor | None = None

    def from_input(self, x: Tensor) -> Tensor:
        """Return `x @ weight_ih.T + bias_ih`, (..., G*H), for x (..., F)."""
        product = x @ self.weight_ih.T
        return product if self.bias_ih is None else product + self.bias_ih

    def from_state(self, h: Tensor) -> Tensor:
        """Return `h @ weight_hh.T + bias_hh`, (..., G*H), for h (..., H)."""
        # mv skips the reshaping that matmul does for one vector: a trace makes one such product a step.
        product = self.weight_hh.mv(h) if h.dim() == 1 else h @ self.weight_hh.T
        return product if self.bias_hh is None else product + self.bias_hh

    def projected(self, output: Tensor) -> Tensor:
        """Return `output @ weight_hr.T`, (..., P), for an output (..., H); without weight_hr the output."""
        return output if self.weight_hr is None else output @ self.weight_hr.T

    def state_widths(self, count: int) -> tuple[int, ...]:
        """Return the widths of a cell's `count` states: that of h, then H of each other one."""
        wide = self.weight_hh if self.weight_hr is None else self.weight_hr
        return (self.weight_hh.shape[1], *(wide.shape[1],) * (count - 1))


class Intervention:
    """Hook through which a step passes its gates and its output. This one changes nothing.

    What-ifs (`scanline.explanation.what_if`) subclass it to hold gates at a value and to silence units.
    """

    def gate(self, name: str, value: Tensor) -> Tensor:
        """Return the value to use for gate `name`, (..., H), instead of the computed `value`."""
        return value

    def output(self, h: Tensor) -> Tensor:
        """Return the output to use instead of the computed `h`, (..., H)."""
        return h


NO_INTERVENTION = Intervention()

# (inputs (..., G*H), states, each (..., H), weights, intervention) -> traced values by name, each (..., H)
Step = Callable[["Tensor", "tuple[Tensor, ...]", Weights, Intervention], "dict[str, Tensor]"]


@dataclass(frozen=True)
class FormatLayout:
    """How another format stores a cell.

    Attributes:
        layers: The format's names for the layer or operator; the first is the one that is written.
        gates: The cell's gates in the order in which the format stacks them.
        settings: Options of the layer or operator that make it compute this cell.
    """

    layers: tuple[str, ...]
    gates: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell.

    A cell needs only `name`, `title`, `gates`, `states`, `traced` and `step`: then the reference scan
    computes it. The other attributes connect it to faster backends and to other formats.

    Attributes:
        name: Name in recipes and saved models: lower-case letters, digits, `_`, `-`.
        title: Name in texts, such as "LSTM".
        gates: Names of the G row blocks of the weights, in torch's order.
        states: Names of the states that a step passes to the next; "h", the output, is the first.
        traced: Names of the values of a step, in the order in which they are computed; includes `states`.
        step: One step in plain torch: the reference. Called as `step(inputs, states, weights, intervention)`
            with `inputs = weights.from_input(x)`, (..., G*H), and the previous states, each (..., H). It
            returns the `traced` values by name, each (..., H). It passes every clampable gate through
            `intervention.gate` and h through `intervention.output`.
        titles: What the traced values are, by name: {"i": "input gate"}.
        clampable: The traced values that a what-if can hold at a value: gates with values from 0 to 1.
        additive_biases: Whether only the sum of bias_ih and bias_hh counts. Then bias_ih alone is trained and
            bias_hh stays 0: with both, Adam would move their sum twice as fast.
        forget_gate: The gate whose bias starts from the recipe's `forget_bias`, or None.
        hold_sums: Sums of the gates, by name, at which a step leaves the states unchanged. Needed for torch's
            backend if there is another state than h.
        torch_function: Torch's fused function for whole sequences, `torch.<name>`, or None.
        native_operator: Operator of the native library, `torch.ops.scanline.<name>`, or None.
        weights: Names of a layer's weights in one direction: the fields of `Weights`, weight_hr only if the
            outputs are projected.
        layouts: How the formats in `FORMATS` store the cell; a format that is missing has no equivalent.
    """

    name: str
    title: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    traced: tuple[str, ...]
    step: Step
    titles: Mapping[str, str] = field(default_factory=dict)
    clampable: tuple[str, ...] = ()
    additive_biases: bool = True
    forget_gate: str | None = None
    hold_sums: Mapping[str, float] = field(default_factory=dict)
    torch_function: str | None = None
    native_operator: str | None = None
    weights: tuple[str, ...] = Weights._fields[:-1]
    layouts: Mapping[str, FormatLayout] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the declaration.

        Raises:
            ValueError: If attributes contradict each other; names them all.
        """
        # All rules are evaluated, so that one error lists every fault of the declaration.
        rules = {
            "name must be lower-case letters, digits, _ and -": _NAME.fullmatch(self.name),
            "gates must not be empty": self.gates,
            "states must start with 'h'": self.states[:1] == ("h",),
            "traced must include states": set(self.states) <= set(self.traced),
            "clampable must be traced values": set(self.clampable) <= set(self.traced),
            "forget_gate must be one of gates": self.forget_gate is None or self.forget_gate in self.gates,
            "hold_sums must be of gates": set(self.hold_sums) <= set(self.gates),
            "weights must be fields of Weights": self.weights in (Weights._fields[:-1], Weights._fields),
            f"layouts must be of {', '.join(FORMATS)}": set(self.layouts) <= set(FORMATS),
            "the gates of a layout must be those of the cell": all(
                sorted(each.gates) == sorted(self.gates) for each in self.layouts.values()
            ),
        }
        faults = [rule for rule, kept in rules.items() if not kept]
        if faults:
            raise ValueError(f"cell {self.name!r}: " + "; ".join(faults))

    def rows(self, gate: str, hidden_size: int) -> slice:
        """Return the rows of `gate` in weights of H = `hidden_size` units."""
        start = self.gates.index(gate) * hidden_size
        return slice(start, start + hidden_size)

    def title_of(self, value: str) -> str:
        """Return what the traced value called `value` is, such as "input gate"; its name if not stated."""
        return self.titles.get(value, value)

    def layout(self, target: str) -> FormatLayout:
        """Return how a format stores the cell.

        Args:
            target: One of `FORMATS`.

        Raises:
            UsageError: If the format has no equivalent of this cell.
        """
        if target not in self.layouts:
            raise UsageError(f"cell {self.name!r} has no equivalent in {FORMATS[target]}")
        return self.layouts[target]

    def gate_order(self, target: str) -> tuple[int, ...]:
        """Return, for each gate block of a format, its position among this cell's blocks.

        `[blocks[k] for k in cell.gate_order("keras")]` puts this cell's blocks into Keras' order. For the way
        back see `inverse_gate_order`.

        Args:
            target: One of `FORMATS`.

        Raises:
            UsageError: If the format has no equivalent of this cell.
        """
        return tuple(self.gates.index(gate) for gate in self.layout(target).gates)

    def inverse_gate_order(self, target: str) -> tuple[int, ...]:
        """Return, for each gate block of this cell, its position among the blocks of a format.

        Args:
            target: One of `FORMATS`.

        Raises:
            UsageError: If the format has no equivalent of this cell.
        """
        stored = self.layout(target).gates
        return tuple(stored.index(gate) for gate in self.gates)
