"""The command `scanline data pack`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from scanline.cli.data_options import chosen_settings, reading_options
from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import Interrupted, UsageError

_STAGES = {"rows": "reading rows", "read": "reading sequences", "write": "writing"}


@click.command(name="pack")
@click.argument("source", nargs=-1, required=True)
@click.option("--to", required=True, metavar="URI", help="Folder to write: a path, s3://, gs:// or az://.")
@click.option(
    "--test",
    default="0.2",
    show_default=True,
    metavar="FRACTION|PATH",
    help="Test split: a fraction of all sequences (0: none), or data that are not stored with SOURCE.",
)
@click.option(
    "--validation",
    default="0.1",
    show_default=True,
    metavar="FRACTION|PATH",
    help="Validation split: a fraction of the sequences not in the test split (0: none), or data.",
)
@click.option(
    "--split-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of the splits and of the order.",
)
@click.option("--no-split", is_flag=True, help="Make one split of all sequences, to be scored.")
@click.option("--unlabelled", is_flag=True, help="The column of labels may be absent; with --no-split.")
@click.option("--keep-order", is_flag=True, help="Keep the order of SOURCE.  [default: shuffle]")
@click.option(
    "--row-group-mb",
    type=int,
    default=32,
    show_default=True,
    metavar="MB",
    help="Size of a row group, which is read as a whole.",
)
@click.option("--memory", default="2GB", show_default=True, metavar="SIZE", help="Limit of the memory used.")
@click.option(
    "--temp",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for temporary files, as large as the data.  [default: beside a local target]",
)
@click.option("--force", is_flag=True, help="Replace a packed data set, or start an unfinished one anew.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: tuple[str, ...],
    to: str,
    test: str,
    validation: str,
    split_seed: int,
    no_split: bool,
    unlabelled: bool,
    keep_order: bool,
    row_group_mb: int,
    memory: str,
    temp: Path | None,
    force: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Pack SOURCE, of any size, into a folder of Parquet files that training and scoring read in parts.

    SOURCE is what `scanline train` reads: a name, a file or a folder, or several files or patterns such as
    'data/*.csv', which are read as one. Rows of long tables may be in any order. The same command after an
    interruption continues where it ended.
    """
    from scanline import recipe
    from scanline.data.packing import pack

    fractions, paths = {}, {}
    for name, value in (("test", test), ("validation", validation)):
        fraction = _fraction(value)
        if fraction is None:
            paths[f"data.{name}"] = value
        fractions[name] = 0.0 if fraction is None else fraction
    settings = recipe.load(recipe.DEFAULT, {**chosen_settings(options), **paths}).data
    try:
        with _progress() as report:
            packed = pack(
                source,
                to,
                settings,
                test=fractions["test"],
                validation=fractions["validation"],
                split_seed=split_seed,
                split=not no_split,
                labelled=not unlabelled,
                keep_order=keep_order,
                row_group_mb=row_group_mb,
                memory=memory,
                temp=temp,
                force=force,
                report=report,
            )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command continues where it ended") from None
    for note in packed.manifest.notes:
        say(note)
    if as_json:
        print_json(packed.to_json())
        return
    print_text(f"{shown_name(packed.uri)}: packed in {packed.seconds:,.0f} s, {packed.bytes / 1e6:,.1f} MB")
    for name, split in packed.manifest.splits.items():
        files = len(split.row_groups)
        print_text(
            f"  {name}: {split.n:,} sequences, {split.steps:,} steps, "
            f"{files:,} {'row group' if files == 1 else 'row groups'}"
        )


def _fraction(text: str) -> float | None:
    """Return the fraction that a text spells, or None: then it is a path."""
    try:
        fraction = float(text.replace("_", "?"))
    except ValueError:
        return None
    if not 0 <= fraction < 1:
        raise UsageError(f"a split must be a fraction from 0 to below 1, or a path, got {text[:40]!r}")
    return fraction


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a callback (what, done, all) that draws a bar if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        begun = ""

        def report(what: str, done: int, total: int | None) -> None:
            nonlocal begun
            if what != begun:
                bar.reset(task, total=total, description=_STAGES[what])
                begun = what
            bar.update(task, completed=done)

        yield report
