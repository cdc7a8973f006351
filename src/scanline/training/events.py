"""What the training loop tells its caller."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stepped:
    """One step is done, and all records of it have been given. loss: of its batch, before the update,
    with dropout."""

    step: int
    samples: int
    loss: float


@dataclass(frozen=True)
class Logged:
    """Loss and accuracy on the batch just trained on, after the update and without dropout, as the
    tutorials print them."""

    step: int
    samples: int
    loss: float
    accuracy: float
    learning_rate: float

    def line(self) -> str:
        """As `step: 10 / loss: 1.751291 / acc: 0.42969`."""
        return f"step: {self.step} / loss: {self.loss:.6f} / acc: {self.accuracy:.5f}"


@dataclass(frozen=True)
class Evaluated:
    """A look at a whole part of the data. part: "validation" or "test". best: whether it is the best
    validation so far; always False for the test part."""

    step: int
    samples: int
    part: str
    loss: float
    accuracy: float
    correct: int
    total: int
    best: bool

    def line(self) -> str:
        """As `step: 200 / validation: 0.96340 (4817 of 5000)`."""
        return f"step: {self.step} / {self.part}: {self.accuracy:.5f} ({self.correct} of {self.total})"


Event = Stepped | Logged | Evaluated
