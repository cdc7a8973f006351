"""A process that trains with others and leaves the run directory to one of them."""

from __future__ import annotations

from pathlib import Path

from scanline.errors import Interrupted
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
        team: The processes that train together.
    """

    def __init__(self, run: Path, prepared: Prepared, state: TrainState, team: Team) -> None:
        self.run, self._prepared, self._state, self.team = run, prepared, state, team

    def train(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: If a process has received a signal to stop.
            Diverged: If the loss becomes NaN.
            LostConnection: If another process is gone.
        """
        prepared, state, team = self._prepared, self._state, self.team
        with Interruption() as interruption:
            team.listen_to(interruption)
            trainer = Trainer(
                state,
                prepared.recipe,
                prepared.data,
                prepared.task,
                interruption.is_overdue,
                team,
                prepared.preprocessing.windows,
            )
            try:
                for event in trainer.events():
                    stops = isinstance(event, Stepped) and team.signal is not None
                    if stops and not state.done(prepared.recipe):
                        raise Interrupted("stopped", team.signal or 2)
                final_metrics(prepared, state, team, interruption.is_overdue)
            except Abandoned:
                raise Interrupted("stopped", team.signal or team.received() or 2) from None
        team.finish()
