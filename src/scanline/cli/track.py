"""The command `scanline track`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scanline.cli.output import print_json, print_text, shown_name

if TYPE_CHECKING:
    from scanline.tracking.publication import Tracked


@click.command(name="track")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--to",
    required=True,
    metavar="mlflow:URI",
    help="Tracking server, such as mlflow:http://localhost:5000?experiment=NAME. mlflow: alone takes "
    "MLFLOW_TRACKING_URI.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(runs: tuple[Path, ...], to: str, as_json: bool) -> None:
    """Publish RUNs to a tracking server (MLflow), or what is missing of them there.

    Published are the recipe, the metrics of all steps up to the newest checkpoint, digests of data and
    model, the files of the run, and the model as an MLflow model. Runs may be finished, interrupted or still
    in training. The same command again adds nothing twice. `scanline train --track` publishes while it
    trains.
    """
    from scanline.tracking.publisher import track
    from scanline.tracking.target import Target

    target = Target.parse(to)
    published = track(runs, target, None if as_json else _print)
    if as_json:
        print_json({"to": target.shown, "runs": [each.to_json() for each in published]})


def _print(tracked: Tracked) -> None:
    place = f", {tracked.url}" if tracked.url else ""
    print_text(
        f"{shown_name(tracked.run)}: {tracked.points:,} points added, {tracked.status}, "
        f"MLflow run {tracked.mlflow_run}{place}"
    )
