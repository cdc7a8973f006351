"""Training as it is watched: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scanline.cli.output import say, shown_name, sparkline
from scanline.training.events import Stepped
from scanline.training.experiment import Experiment
from scanline.training.run_directory import training_history


def watch(experiment: Experiment) -> None:
    """Train to the end, showing what happens on standard error."""
    state, settings, data = experiment.state, experiment.recipe.train, experiment.data
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    opening = (
        f"training {experiment.recipe.name} on {shown_name(data.name)}: {len(data.train):,} sequences, "
        f"{settings.total_steps:,} steps of {settings.batch_size}, run {shown_name(experiment.folder.path)}"
    )
    if not console.is_terminal:
        say(opening)
        for record in experiment.records():
            if not isinstance(record, Stepped):
                say(record.line())
        return

    # Narrow windows keep what matters most: columns are left out from the right.
    rate, best = TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[best]}")
    columns = [BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(), best, rate]
    if console.width < 60:
        columns = columns[:4]
    console.print(opening)
    first, started = state.step, time.perf_counter()
    with Progress(*columns, console=console, expand=True, transient=True) as bar:
        task = bar.add_task("train", total=settings.total_steps, completed=state.step, rate="", best="")
        for record in experiment.records():
            if isinstance(record, Stepped):
                speed = (record.step - first) * settings.batch_size / (time.perf_counter() - started)
                found = f"best {state.best_accuracy:.4f}" if state.best_accuracy >= 0 else ""
                bar.update(task, completed=record.step, rate=f"{speed:,.0f} samples/s", best=found)
            else:
                console.print(shown_name(record.line()))


def curve(metrics: Path) -> list[str]:
    """The course of training in two lines: the loss of the batches, on a logarithmic scale, and how accurate
    the answers to the validation part were. metrics: the run's metrics.jsonl."""
    course = training_history(metrics)
    losses = [entry["loss"] for entry in course if entry["event"] == "logged"]
    accuracies = [entry["accuracy"] for entry in course if entry.get("part") == "validation"]
    columns = min(shutil.get_terminal_size().columns, 80)
    part = " (validation)" if columns >= 60 else ""
    width = max(8, columns - 29 - len(part))  # beside the words, and numbers of up to nine digits
    lines = []
    if len(losses) > 1:
        drawn = sparkline([math.log(max(loss, 1e-9)) for loss in losses], width)
        lines.append(f"loss:     {losses[0]:.4f} {drawn} {losses[-1]:.4f}")
    if len(accuracies) > 1:
        drawn = sparkline(accuracies, width)
        lines.append(f"accuracy: {accuracies[0]:.4f} {drawn} {accuracies[-1]:.4f}{part}")
    return lines
