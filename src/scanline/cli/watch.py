"""Training as it is watched: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scanline.cli.output import say
from scanline.experiment import Experiment
from scanline.training.records import Stepped


def watch(experiment: Experiment) -> None:
    """Train to the end, showing what happens on standard error."""
    state, settings, data = experiment.state, experiment.recipe.train, experiment.data
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    opening = (
        f"training {experiment.recipe.name} on {data.name}: {len(data.train):,} sequences, "
        f"{settings.total_steps:,} steps of {settings.batch_size}, run {experiment.folder.path}"
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
                console.print(record.line())
