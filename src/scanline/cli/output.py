"""What several commands print in the same way."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TextIO

import click

from scanline.errors import printable

_BLOCKS = "".join(chr(0x2581 + level) for level in range(8))  # an eighth of a line to a whole one
_HIGHEST = 1e290  # that is drawn: differences and sums of such numbers are finite
NAME_WIDTH = 40  # of a name in a table


def print_json(value: dict[str, Any]) -> None:
    """`value` on standard output, with a schema number in front."""
    click.echo(json.dumps({"schema": 1} | value, indent=2))


def bar_of(share: float, width: int = 20) -> str:
    """A bar for a share of 1, at most `width` wide."""
    return ("#" if _lacks(sys.stdout, _BLOCKS) else _BLOCKS[-1]) * round(width * share)


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of `values` in a line of at most `width` characters, for standard error."""
    levels = ".:-=+*#%" if _lacks(sys.stderr, _BLOCKS) else _BLOCKS
    values = [float(max(-_HIGHEST, min(_HIGHEST, value))) for value in values]
    low, high = min(values), max(values)
    size = min(width, len(values))
    # Of more values than there is room for, each character shows the mean of its share.
    ends = [index * len(values) // size for index in range(size + 1)]
    groups = [values[first:end] for first, end in pairwise(ends)]
    means = [min(high, max(low, sum(group) / len(group))) for group in groups]  # sums are rounded
    places = [(mean - low) / ((high - low) or 1) for mean in means]
    return "".join(levels[round(place * (len(levels) - 1))] for place in places)


def _lacks(stream: TextIO | None, text: str) -> bool:
    """Whether some character of `text` cannot be written to `stream`."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def shown_name(name: object, width: int | None = None) -> str:
    """`name` as a part of a line: line breaks and tabs as \\n and \\t, other controls \\x1b.

    width: where it is cut. Strangers may have chosen it: it must not make lines or columns of its own.
    """
    text = printable(str(name).replace("\n", "\\n").replace("\t", "\\t"))
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def print_text(text: str, err: bool = False) -> None:
    """Lines on standard output. What a name in them would do to a terminal is escaped, but for tabs."""
    lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    click.echo("\n".join(lines), err=err)


def say(line: str) -> None:
    """A message, on standard error: one line."""
    click.echo(printable(line), err=True)


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
