"""Progress of training: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scanline.cli.output import say, shown_name, sparkline
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun
from scanline.training.run_files import EvaluatedLine, LoggedLine, Result, read_metrics


def watch(training: TrainingRun, report: Callable[[], None] = lambda: None) -> Result:
    """Train to the end, showing progress on standard error, and return the result.

    Args:
        training: The run.
        report: Called after each log line, to show messages of other threads.
    """
    state, settings, data = training.state, training.recipe.train, training.data
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    opening = (
        f"training {training.recipe.name} on {shown_name(data.name)}: {len(data.train):,} sequences, "
        f"{settings.total_steps:,} steps of {settings.batch_size}, run {shown_name(training.directory.path)}"
    )
    # Plain lines for logs and pipes: a bar would fill them with control characters.
    if not console.is_terminal:
        say(opening)
        for event in training.events():
            if not isinstance(event, Stepped):
                say(event.line())
                report()
        return training.finished()

    # Columns are ordered by importance, as narrow windows drop the last ones.
    rate, best = TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[best]}")
    columns = [BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(), best, rate]
    if console.width < 60:
        columns = columns[:4]
    console.print(opening)
    first, started = state.step, time.perf_counter()
    with Progress(*columns, console=console, expand=True, transient=True) as bar:
        task = bar.add_task("train", total=settings.total_steps, completed=state.step, rate="", best="")
        for event in training.events():
            if isinstance(event, Stepped):
                # Counted from the step at which this process began: a resumed run must not count earlier
                # steps.
                speed = (event.step - first) * settings.batch_size / (time.perf_counter() - started)
                best_so_far = f"best {state.best.accuracy:.4f}" if state.best.step else ""
                bar.update(task, completed=event.step, rate=f"{speed:,.0f} samples/s", best=best_so_far)
            else:
                console.print(shown_name(event.line()))
                report()
    return training.finished()


def curve(metrics: Path) -> list[str]:
    """Return the learning curve in two lines of text.

    Args:
        metrics: The run's metrics.jsonl.

    Returns:
        The loss of the training batches, on a logarithmic scale, and the score on the validation split, for a
        classification the accuracy; each only if it was measured more than once.
    """
    lines = read_metrics(metrics)
    losses = [line.loss for line in lines if isinstance(line, LoggedLine)]
    evaluated = [line for line in lines if isinstance(line, EvaluatedLine) and line.part == "validation"]
    scores = [line.value for line in evaluated]
    columns = min(shutil.get_terminal_size().columns, 80)
    split = " (validation)" if columns >= 60 else ""
    width = max(
        8, columns - 29 - len(split)
    )  # leaves room for the labels and for numbers of up to nine digits
    drawn_lines = []
    if len(losses) > 1:
        # The lower bound keeps a loss of 0 finite.
        drawn = sparkline([math.log(max(loss, 1e-9)) for loss in losses], width)
        drawn_lines.append(f"loss:     {losses[0]:.4f} {drawn} {losses[-1]:.4f}")
    if len(scores) > 1:
        drawn = sparkline(scores, width)
        title = f"{evaluated[0].score_name}:"
        drawn_lines.append(f"{title:<9} {scores[0]:.4f} {drawn} {scores[-1]:.4f}{split}")
    return drawn_lines
