"""What a run writes while it trains: metrics.jsonl, log.txt, TensorBoard events and checkpoints."""

from __future__ import annotations

import time

from scanline.recipe import TrainSettings
from scanline.training import checkpoint
from scanline.training.checkpoint_state import Position
from scanline.training.checkpoint_writer import CheckpointWriter
from scanline.training.events import Evaluated, Logged, Stepped
from scanline.training.run_directory import RunDirectory
from scanline.training.run_files import metrics_line
from scanline.training.state import TrainState
from scanline.training.tensorboard import TensorBoardWriter


class Recorder:
    """Writes the events of a run and its checkpoints.

    Invariant: a checkpoint counts exactly the lines of the steps that are complete in it. A run resumed
    from it cuts the files back to these sizes and writes the following lines again, so no line is lost or
    written twice.
    """

    def __init__(
        self,
        directory: RunDirectory,
        settings: TrainSettings,
        tensorboard: TensorBoardWriter | None = None,
        saved: tuple[int, bool] | None = None,
    ) -> None:
        """Start recording.

        Args:
            directory: The run directory.
            settings: How often checkpoints are made and how many are kept.
            tensorboard: Writer of event files, if they are wanted.
            saved: Step and pending evaluation of the newest checkpoint, if there is one.
        """
        self._directory, self._settings, self._tensorboard = directory, settings, tensorboard
        self._writer = CheckpointWriter()
        self._saved, self._saved_at = saved, time.monotonic()
        self._has_new_best = False
        # Sizes of the files before the first line of an incomplete step; None between two steps.
        self._sizes: tuple[int, int] | None = None

    def write(self, event: Logged | Evaluated, seconds: float) -> None:
        """Write an event to all files.

        Args:
            event: The event.
            seconds: Duration of the training so far.
        """
        if self._sizes is None:
            self._sizes = self._directory.log_sizes()
        # Called from the training thread only; the writer thread syncs these files but never appends.
        self._directory.append_metrics(metrics_line(event, seconds))
        self._directory.append_log(event.line())
        if self._tensorboard is not None:
            self._tensorboard.write(event)
        if isinstance(event, Evaluated) and event.best:
            self._has_new_best = True

    def complete_step(self, event: Stepped, state: TrainState, seconds: float) -> None:
        """Count the lines written so far as complete, and make a checkpoint if one is due.

        Raises:
            ScanlineError: If an earlier checkpoint could not be written.
        """
        self._sizes = None
        self._writer.check()
        settings, elapsed = self._settings, time.monotonic() - self._saved_at
        overdue = 0 < settings.checkpoint_seconds <= elapsed
        if self._has_new_best or overdue or event.step % settings.checkpoint_every == 0:
            self.save(state, seconds)
            self._has_new_best = False

    def save(self, state: TrainState, seconds: float) -> None:
        """Make a checkpoint in the background, unless the newest one has this state.

        Args:
            state: The training state; it may change as soon as this returns.
            seconds: Duration of the training so far.
        """
        stands = state.step, state.pending_evaluation
        if self._saved == stands:
            return
        # In an incomplete step the sizes are those before its first line: a resume repeats its events.
        metrics, log = self._sizes or self._directory.log_sizes()
        position = Position(metrics_bytes=metrics, log_bytes=log, seconds=seconds)
        taken, keep = checkpoint.snapshot(state, position), self._settings.keep_checkpoints

        def write() -> None:
            # The lines must be on the disk before a checkpoint that counts their bytes.
            self._directory.sync_logs()
            checkpoint.save(self._directory.checkpoints, taken, keep)

        self._writer.submit(write)
        # Set when the write begins; if it fails, `check` or `wait` raises and the run ends.
        self._saved, self._saved_at = stands, time.monotonic()

    def wait(self) -> None:
        """Wait until the last checkpoint is written, and raise what writing raised."""
        self._writer.wait()

    def close(self) -> None:
        """Wait for the write in progress and close all files."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._writer.close()
