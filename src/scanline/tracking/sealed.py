"""What may be published of a run's metrics: the lines that its newest checkpoint counts.

A run that is killed and resumed makes the steps after that checkpoint, and their lines, again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from scanline.errors import ModelError
from scanline.storage.json_files import read_bounded, read_sealed_json
from scanline.training.checkpoint_folders import checkpoint_folders, folder_name
from scanline.training.checkpoint_state import CheckpointState
from scanline.training.records import read
from scanline.training.run_files import EvaluatedLine, MetricsLine, Result, parse_metrics

_ATTEMPTS, _PAUSE_S = 5, 0.05  # to read a checkpoint that is being replaced
_TEXTS = ("event", "step", "part", "score")  # keys of a line that are no metrics


class Point(NamedTuple):
    """A value of a metric.

    Attributes:
        key: Name of the metric, such as "train/loss".
        value: Its value.
        step: Training step.
        offset_ms: Duration of the training up to it, in milliseconds.
    """

    key: str
    value: float
    step: int
    offset_ms: int


@dataclass(frozen=True)
class Sealed:
    """The state of a run at its newest checkpoint.

    Attributes:
        step: Steps done; None if there is no checkpoint.
        content: The lines of metrics.jsonl up to it.
        result: Content of result.json if it belongs to this state, otherwise None.
    """

    step: int | None
    content: bytes
    result: Result | None

    def points(self, first: int = 0) -> list[Point]:
        """Return the points of the lines from byte `first` on, in their order."""
        return [point for line in parse_metrics(self.content[first:]) for point in line_points(line)]


def read_sealed(run: Path) -> Sealed:
    """Read the state of a run that may be training.

    Args:
        run: The run directory.

    Raises:
        ModelError: If a file is damaged.
    """
    state = _newest_state(run)
    result = read(Result, run / "result.json") if (run / "result.json").is_file() else None
    metrics = run / "metrics.jsonl"
    content = read_bounded(metrics, "COURSE_BYTES") if metrics.is_file() else b""
    if state is None:
        # Checkpoints that were removed to save room: all lines of a run that has ended are final.
        ended = result is not None and result.training.has_ended
        return Sealed(None, content if ended else b"", result if ended else None)
    # A run that is resumed keeps the result of its former end until the new one.
    is_current = result is not None and result.training.steps == state.step
    return Sealed(state.step, content[: state.position.metrics_bytes], result if is_current else None)


def _newest_state(run: Path) -> CheckpointState | None:
    """Return the state of the newest whole checkpoint, from which a run is resumed; None without any."""
    for _ in range(_ATTEMPTS):
        folders = checkpoint_folders(run / "checkpoints")
        if not folders:
            return None
        state = _read_state(folders[-1])
        if state is not None:
            return state
        # It was just replaced by a newer one, or it is damaged.
        time.sleep(_PAUSE_S)
    whole = (state for folder in reversed(folders) if (state := _read_state(folder)) is not None)
    return next(whole, None)


def _read_state(folder: Path) -> CheckpointState | None:
    """Return the state of a checkpoint; None if it is not whole."""
    try:
        state = CheckpointState.model_validate(read_sealed_json(folder / "state.json"))
    except (ModelError, ValidationError):
        return None
    # The files of a checkpoint that is no longer kept are written over by a newer one, perhaps while they
    # are read.
    return state if folder_name(state.step) == folder.name else None


def line_points(line: MetricsLine) -> list[Point]:
    """Return the points of a line of metrics.jsonl: all of its numbers."""
    split = line.part if isinstance(line, EvaluatedLine) else "train"
    offset = round(line.seconds * 1000)
    return [
        Point(f"{split}/{key}", float(value), line.step, offset)
        for key, value in line.to_json().items()
        if key not in _TEXTS and isinstance(value, int | float)
    ]


def final_points(result: Result) -> list[Point]:
    """Return the points of a result: the metrics of the test and validation split, and the throughput."""
    offset, points = round(result.training.seconds * 1000), []
    for name in ("test", "validation"):
        metrics = getattr(result, name)
        if metrics is None:
            continue
        numbers = {key: value for key, value in metrics.to_json().items() if isinstance(value, int | float)}
        if metrics.ci95 is not None:
            numbers |= {"ci95_low": metrics.ci95[0], "ci95_high": metrics.ci95[1]}
        points += [(f"final/{name}/{key}", value) for key, value in numbers.items()]
    if result.training.samples_per_s is not None:
        points.append(("final/samples_per_s", result.training.samples_per_s))
    points.append(("final/seconds", result.training.seconds))
    return [Point(key, float(value), result.training.steps, offset) for key, value in points]
