"""A process that trains with others and leaves the run directory to one of them."""

from __future__ import annotations

from pathlib import Path

from scanline.model.predictor import Abandoned
from scanline.training.completion import final_metrics
from scanline.training.events import Stepped
from scanline.training.interruption import Interruption
from scanline.training.preparation import Prepared
from scanline.training.state import TrainState
from scanline.training.team import Team
from scanline.training.trainer import Trainer


class Follower:
    """The training in a process that does not write the run.

    Attributes:
        run: The run directory, which another process writes.
        interrupted_by: Number of the signal that stopped the training, or None.
        received: Number of the signal that this process itself received, or None.
    """

    def __init__(self, run: Path, prepared: Prepared, state: TrainState, team: Team) -> None:
        self.run, self._prepared, self._state, self._team = run, prepared, state, team
        self.interrupted_by: int | None = None
        self.received: int | None = None

    def train(self) -> None:
        """Train to the end, or until a process is told to stop.

        Raises:
            Diverged: If the loss becomes NaN.
            LostConnection: If another process is gone.
        """
        prepared, state, team = self._prepared, self._state, self._team
        with Interruption() as interruption:
            team.listen_to(interruption)
            trainer = Trainer(
                state, prepared.recipe, prepared.data, prepared.task, interruption.is_overdue, team
            )
            try:
                for event in trainer.events():
                    stops = isinstance(event, Stepped) and team.signal is not None
                    if stops and not state.done(prepared.recipe):
                        self.interrupted_by = team.signal
                        break
                else:
                    final_metrics(prepared, state, team, interruption.is_overdue)
            except Abandoned:
                self.interrupted_by = team.signal or interruption.signal_number or 2
            self.received = interruption.signal_number
        if self.interrupted_by is None:
            team.finish()
