"""One layer forward and backward by a native operator, without torch's autograd.

Autograd records a graph at every training step and walks through it, which takes as long as the arithmetic of
a small batch. Where the structure of a network is known, the backward pass is called directly, with the same
bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scanline.kernels.operator import LayerOperator


class LayerPass:
    """The forward pass of a layer, which keeps what its backward pass needs.

    Call it under `torch.no_grad`.

    Args:
        operator: The operator of the cell, for one direction or both.
        x: Inputs, (N, T, F).
        weights: Four weights of each direction, as `LayerOperator` takes them.
        lengths: (N,) int64, or None if all are T.
        precision: "float32" or "bfloat16".

    Attributes:
        outputs: (N, T, D*H).
        states: The states after each sequence's last step, each (N, H), of both directions (2, N, H).
    """

    def __init__(
        self,
        operator: LayerOperator,
        x: Tensor,
        weights: Sequence[Tensor],
        lengths: Tensor | None,
        precision: str,
    ) -> None:
        options = (False, True, precision) if operator.directions == 1 else (True, precision)
        self._operator, self._options = operator, options
        self._inputs = (x, *(None for _ in operator.cell.states), *weights, lengths)
        self.outputs, *self.states, self._reserve = operator.forward_pass(*self._inputs, *options, True)

    def backward(
        self, outputs: Tensor | None, state: Tensor | None, wants_x: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Return the gradients by x, or None, and by the weights.

        Args:
            outputs: Gradient by the outputs; None for zeros.
            state: Gradient by the first state, h; None for zeros.
            wants_x: Whether the gradient by x is wanted.
        """
        others = (None,) * (len(self.states) - 1)
        results = self._operator.backward_pass(
            outputs, state, *others, *self._inputs, self.outputs, self._reserve, *self._options,
            wants_x, False, True,
        )  # fmt: skip
        return results[0] if wants_x else None, results[1 + len(self.states) :]
