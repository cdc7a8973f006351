"""The events that the training loop yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stepped:
    """A training step is complete: all other events of this step have been yielded before.

    Attributes:
        step: Steps done.
        samples: Sequences trained on, repetitions included.
        loss: Loss of the step's batch, before the update and with dropout.
    """

    step: int
    samples: int
    loss: float


@dataclass(frozen=True)
class Logged:
    """Loss and accuracy of the batch just trained on, after the update and without dropout.

    Attributes:
        step: Steps done.
        samples: Sequences trained on, repetitions included.
        loss: Mean loss of the batch.
        accuracy: Fraction of the batch that is predicted correctly.
        learning_rate: Learning rate of the step.
    """

    step: int
    samples: int
    loss: float
    accuracy: float
    learning_rate: float

    def line(self) -> str:
        """Return the log line, as `step: 10 / loss: 1.751291 / acc: 0.42969`."""
        return f"step: {self.step} / loss: {self.loss:.6f} / acc: {self.accuracy:.5f}"


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of the validation or test split.

    Attributes:
        step: Steps done.
        samples: Sequences trained on, repetitions included.
        split: "validation" or "test".
        loss: Mean loss of the split.
        accuracy: Fraction of the split that is predicted correctly.
        correct: Number of correct predictions.
        total: Number of sequences.
        best: Whether this is the best validation so far; always False for the test split.
    """

    step: int
    samples: int
    split: str
    loss: float
    accuracy: float
    correct: int
    total: int
    best: bool

    def line(self) -> str:
        """Return the log line, as `step: 200 / validation: 0.96340 (4817 of 5000)`."""
        return f"step: {self.step} / {self.split}: {self.accuracy:.5f} ({self.correct} of {self.total})"


Event = Stepped | Logged | Evaluated
