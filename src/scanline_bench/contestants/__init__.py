"""One module a framework, each with `make(work, precision, variant) -> Contestant`."""

from __future__ import annotations

from typing import Protocol


class Contestant(Protocol):
    """Work that is set up and warm. Every number it starts from is the work's own."""

    def step(self) -> None:
        """Do the work once: a training step, all sequences answered, or one. This alone is timed."""

    def result(self) -> float:
        """Of the last step: the loss before it in training, in inference the sum of all logits."""

    def use_batch(self, size: int) -> None:
        """In inference: answer so many sequences at once."""
