"""One module for each framework, with `make(workload, precision, variant) -> Implementation`."""

from __future__ import annotations

from typing import Protocol


class Implementation(Protocol):
    """A workload set up in one framework, starting from the workload's own data and weights."""

    def step(self) -> None:
        """Run the workload once: one training step, or predictions for all sequences. Only this is timed."""

    def result(self) -> float:
        """Return the loss before the last step (training) or the sum of all logits (inference)."""

    def use_batch(self, size: int) -> None:
        """Set the number of sequences that one call predicts (inference)."""
