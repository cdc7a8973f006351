"""What several commands print in the same way."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import click


def print_json(value: dict[str, Any]) -> None:
    """`value` on standard output, with a schema number in front."""
    click.echo(json.dumps({"schema": 1} | value, indent=2))


def say(line: str) -> None:
    """A message, on standard error."""
    click.echo(line, err=True)


@contextlib.contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A callback (received, total) that draws a bar on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda received, total: None
        return
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("download", visible=False)
    with bar:
        yield lambda received, total: bar.update(task, completed=received, total=total, visible=True)
