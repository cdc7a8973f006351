"""The command `scanline score`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Literal

import click

from scanline.cli.data_options import dialect_options
from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import Interrupted, UsageError

_SECONDS = 10.0  # between lines about the progress, where there is no terminal


@click.command(name="score")
@click.argument("model", type=click.Path())
@click.argument("source")
@click.option(
    "--to", required=True, metavar="URI", help="Folder of the scores: a path, s3://, gs:// or az://."
)
@click.option(
    "--split", "splits", multiple=True, metavar="NAME", help="Score this split only; may be repeated."
)
@click.option("--calibrated", is_flag=True, help="Use calibrated probabilities (temperature scaling).")
@click.option(
    "--stop-at",
    type=float,
    metavar="P",
    help="Add the first step after which a class has probability P, and the prediction there.",
)
@click.option("--order", type=click.Choice(["id"]), help="Also write one file with all scores, sorted by id.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["parquet", "csv"]),
    help="Format of that file.  [default: parquet]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Score on this machine, or on a Ray cluster.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    show_default=True,
    help="Number of processes, or of Ray actors.",
)
@click.option(
    "--address",
    metavar="local|auto|HOST:PORT",
    help="Ray cluster: a new one on this machine, the one of this machine, or another.  [default: auto]",
)
@dialect_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str,
    source: str,
    to: str,
    splits: tuple[str, ...],
    calibrated: bool,
    stop_at: float | None,
    order: Literal["id"] | None,
    file_format: Literal["parquet", "csv"] | None,
    engine: Literal["local", "ray"],
    processes: int,
    address: str | None,
    as_json: bool,
    reading: dict[str, str | int],
) -> None:
    """Score SOURCE with MODEL, a run or model directory: one row of predictions for each sequence.

    SOURCE is a packed data set (`scanline data pack`), or a file or folder that `scanline predict` reads.
    Labels in it are ignored. The scores of each row group are a Parquet file in the folder --to, with the
    columns id, split, prediction, probability, probabilities (in the order of the classes) and error. A
    sequence that the model cannot read has its error there; it does not end the command.

    The same command after an interruption continues where it ended.
    """
    if file_format is not None and order is None:
        raise UsageError("--format requires --order id: it is the format of the sorted file")
    if address is not None and engine != "ray":
        raise UsageError("--address requires --engine ray")
    from scanline.scoring.score_data import score

    try:
        with _progress() as on_progress:
            scored = score(
                model,
                source,
                to,
                engine=engine,
                processes=processes,
                address=address or "auto",
                calibrated=calibrated,
                stop_at=stop_at,
                splits=splits,
                order=order,
                file_format=file_format or "parquet",
                reading=reading,
                on_progress=on_progress,
            )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command continues the job") from None
    if as_json:
        print_json({"model": model, "source": source, **scored.to_json()})
        return
    n, before = scored.scores.n, f", {scored.before:,} of them before" if scored.before else ""
    print_text(f"{n:,} sequences scored{before}; {scored.scores.errors:,} have an error, no prediction")
    files = "1 file" if len(scored.scores.parts) == 1 else f"{len(scored.scores.parts):,} files"
    print_text(f"scores: {shown_name(scored.target.file('part-*.parquet'))} ({files})")
    if scored.sorted_file is not None:
        print_text(f"sorted: {shown_name(scored.sorted_file)}")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (scored, all) that draws a bar on a terminal, otherwise prints a line at times."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS:
                last = time.monotonic()
                say(f"scored {done:,} of {total:,} sequences")

        yield line
        return
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("scoring")
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)
