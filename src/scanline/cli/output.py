"""Output that several commands share: JSON, text, bars, names from untrusted files."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TextIO

import click

from scanline.errors import printable

_BLOCKS = "".join(chr(0x2581 + level) for level in range(8))  # one to eight eighths of a line
_HIGHEST = 1e290  # larger values are clipped, so that differences and sums stay finite
NAME_WIDTH = 40  # characters of a name in a table


def print_json(value: dict[str, Any]) -> None:
    """Print `value` as JSON on standard output, preceded by a schema number."""
    click.echo(json.dumps({"schema": 1} | value, indent=2))


def bar_of(fraction: float, width: int = 20) -> str:
    """Return a bar of at most `width` characters for a fraction from 0 to 1."""
    return ("#" if _lacks(sys.stdout, _BLOCKS) else _BLOCKS[-1]) * round(width * fraction)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a line of at most `width` characters that plots `values`, for standard error."""
    levels = ".:-=+*#%" if _lacks(sys.stderr, _BLOCKS) else _BLOCKS
    values = [float(max(-_HIGHEST, min(_HIGHEST, value))) for value in values]
    low, high = min(values), max(values)
    # Integer boundaries: every value is in exactly one group, and no group is empty.
    size = min(width, len(values))
    # With more values than characters, each character shows the mean of a group.
    ends = [index * len(values) // size for index in range(size + 1)]
    groups = [values[first:end] for first, end in pairwise(ends)]
    means = [min(high, max(low, sum(group) / len(group))) for group in groups]  # rounding may leave the range
    places = [(mean - low) / ((high - low) or 1) for mean in means]
    return "".join(levels[round(place * (len(levels) - 1))] for place in places)


def _lacks(stream: TextIO | None, text: str) -> bool:
    """Return whether `stream` cannot encode some character of `text`."""
    try:
        # The stream is None if the caller closed it, and its encoding may be unknown to Python.
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def shown_name(name: object, width: int | None = None) -> str:
    r"""Return a name from an untrusted file as part of a line.

    Line breaks and tabs become \n and \t, other control characters escapes such as \x1b.

    Args:
        name: The name.
        width: Length to which it is cut; None does not cut it.
    """
    text = printable(str(name).replace("\n", "\\n").replace("\t", "\\t"))
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def print_text(text: str, err: bool = False) -> None:
    """Print lines on standard output, with control characters escaped except tabs."""
    # Escape sequences in untrusted names could otherwise control the terminal.
    lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    click.echo("\n".join(lines), err=err)


def say(line: str) -> None:
    """Print a message of one line on standard error."""
    # Standard error, so that standard output holds only results and can be piped.
    click.echo(printable(line), err=True)


@contextlib.contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Yield a callback (received, total) that draws a progress bar if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda received, total: None
        return
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    # Hidden until the first bytes arrive: usually nothing is downloaded.
    task = bar.add_task("download", visible=False)
    with bar:
        yield lambda received, total: bar.update(task, completed=received, total=total, visible=True)


def say_unknown(name: str, unknown: int, present: int) -> None:
    """Print how many categories the model does not know to stderr, if there are any."""
    if unknown:
        counts = f"{unknown:,} of {present:,} categories ({100 * unknown / present:.1f} %)"
        say(f"{shown_name(name)}: {counts} are unknown to the model")
