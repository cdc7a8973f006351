"""The events that the training loop yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

# For types only, so that programs that read a run's files do not import torch.
if TYPE_CHECKING:
    from scanline.tasks import Score


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
    """Loss and score of the batch just trained on, after the update and without dropout.

    Attributes:
        step: Steps done.
        samples: Sequences trained on, repetitions included.
        score: Loss and score of the batch; for a classification the score is the accuracy.
        learning_rate: Learning rate of the step.
    """

    step: int
    samples: int
    score: Score
    learning_rate: float

    def line(self) -> str:
        """Return the log line, as `step: 10 / loss: 1.751291 / acc: 0.42969`."""
        return f"step: {self.step} / {self.score.batch_text()}"

    def to_json(self) -> dict[str, object]:
        """Return the numbers of the event as a JSON object."""
        score = self.score.to_json()
        return {"step": self.step, "samples": self.samples, **score, "learning_rate": self.learning_rate}


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of the validation or test split.

    Attributes:
        step: Steps done.
        samples: Sequences trained on, repetitions included.
        split: "validation" or "test".
        score: Loss and score of the split; for a classification the score is the accuracy.
        best: Whether this is the best validation so far; always False for the test split.
    """

    step: int
    samples: int
    split: str
    score: Score
    best: bool

    def line(self) -> str:
        """Return the log line, as `step: 200 / validation: 0.96340 (4817 of 5000)`."""
        return f"step: {self.step} / {self.split}: {self.score.split_text()}"

    def to_json(self) -> dict[str, object]:
        """Return the numbers of the event as a JSON object."""
        counts = {} if self.score.correct is None else {"correct": self.score.correct}
        return {
            "step": self.step,
            "samples": self.samples,
            "part": self.split,
            **self.score.to_json(),
            **counts,
            "total": self.score.total,
            "best": self.best,
        }


Event = Stepped | Logged | Evaluated
