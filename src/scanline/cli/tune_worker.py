"""The command `scanline tune worker`."""

from __future__ import annotations

import click

from scanline.cli.output import print_text, say, shown_name
from scanline.cli.tune import cores


@click.command(name="worker")
@click.argument("study")
@click.option("--storage", metavar="URL", help="Database of the trials.  [default: as the study says]")
@click.option("--data", metavar="DATA", help="Where the data are here.  [default: as the study says]")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="K",
    help="Number of trials at a time on this machine, one core each.  [default: all cores]",
)
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
def command(study: str, storage: str | None, data: str | None, workers: int | None, device: str) -> None:
    """Work on the trials of STUDY, the name or folder of a search that runs on another machine.

    The machines share a PostgreSQL database (--storage), or a folder with the study. Without a shared folder
    a trial whose machine is lost is trained from its beginning, with the same result.

    \b
    scanline tune worker sensors --storage postgresql://user@host/studies --data sensors.csv
    """
    from scanline.search import check_installed

    check_installed()
    from scanline.search.joining import join

    say(f"working on {shown_name(study)}")
    name, url = join(study, storage, data, workers or cores(), device)
    print_text(f"the search has ended: {shown_name(name)} in {shown_name(url)}")
