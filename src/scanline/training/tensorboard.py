"""Event files for TensorBoard, an extra."""

from __future__ import annotations

from pathlib import Path

from scanline.errors import MissingExtraError
from scanline.training.events import Evaluated, Logged


class Events:
    """Writes what the loop tells into `<run>/events.out.tfevents...`."""

    def __init__(self, run: Path, steps_done: int) -> None:
        """steps_done: what an earlier writer told of later steps is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run), purge_step=steps_done + 1 if steps_done else None)

    @staticmethod
    def check() -> None:
        """Raises MissingExtraError naming the extra to install where TensorBoard is absent."""
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise MissingExtraError("writing event files", ["tensorboard"], "tensorboard") from None

    def write(self, record: Logged | Evaluated) -> None:
        """Add the record's figures at its step."""
        part = record.part if isinstance(record, Evaluated) else "train"
        values = {f"{part}/loss": record.loss, f"{part}/accuracy": record.accuracy}
        if isinstance(record, Logged):
            values["train/learning_rate"] = record.learning_rate
        for name, value in values.items():
            self._writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
