"""Event files for TensorBoard, an optional dependency."""

from __future__ import annotations

from pathlib import Path

from scanline.errors import MissingExtraError
from scanline.training.events import Evaluated, Logged


class TensorBoardWriter:
    """Writes events to `<run>/events.out.tfevents...`."""

    def __init__(self, run: Path, steps_done: int) -> None:
        """Open a new event file.

        Args:
            run: The run directory.
            steps_done: Steps of the run so far; events of later steps in older files are hidden.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run), purge_step=steps_done + 1 if steps_done else None)

    @staticmethod
    def check_installed() -> None:
        """Raise MissingExtraError naming the extra to install if TensorBoard is absent."""
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise MissingExtraError("writing event files", ["tensorboard"], "tensorboard") from None

    def write(self, event: Logged | Evaluated) -> None:
        """Add the numbers of an event at its step."""
        split = event.split if isinstance(event, Evaluated) else "train"
        values = {f"{split}/{name}": value for name, value in event.score.to_json().items()}
        if isinstance(event, Logged):
            values["train/learning_rate"] = event.learning_rate
        for name, value in values.items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
