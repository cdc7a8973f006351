"""The events of a run as plain dictionaries, for programs that report them elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from scanline.training.events import Evaluated, Event, Logged
from scanline.training.run import TrainingRun

OnEvent = Callable[[dict[str, Any]], object]


class Dictionaries:
    """Calls a function with each event of a run, between a first and a last one of its own."""

    def __init__(self, training: TrainingRun, on_event: OnEvent) -> None:
        self._training, self._call = training, on_event

    def start(self) -> None:
        """Report the beginning: run directory, recipe and the steps done before."""
        training = self._training
        self._call(
            {
                "event": "start",
                "run": str(training.directory.path),
                "step": training.state.step,
                "recipe": training.recipe.model_dump(mode="json"),
            }
        )

    def event(self, event: Event) -> None:
        """Report an event of the training."""
        self._call(event_dictionary(event))

    def end(self) -> None:
        """Report the end: run directory and the content of result.json."""
        training = self._training
        self._call(
            {
                "event": "end",
                "run": str(training.directory.path),
                "step": training.state.step,
                "result": training.finished().to_json(),
            }
        )


def event_dictionary(event: Event) -> dict[str, Any]:
    """Return an event as a dictionary.

    Returns:
        "event", "step" and "samples", and for the event
        "stepped": "loss";
        "logged": "loss", the score by its name ("accuracy"), "learning_rate";
        "evaluated": "split", "loss", the score, "correct" if the task counts correct ones, "total", "best".
    """
    if isinstance(event, Logged):
        return {"event": "logged", **event.to_json()}
    if isinstance(event, Evaluated):
        # On disk the split is called "part".
        return {"event": "evaluated", **_with_split(event.to_json())}
    return {"event": "stepped", **asdict(event)}


def _with_split(tree: dict[str, Any]) -> dict[str, Any]:
    return {"split" if key == "part" else key: value for key, value in tree.items()}
