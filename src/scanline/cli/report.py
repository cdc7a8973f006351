"""The command `scanline report`."""

from __future__ import annotations

import click

from scanline.cli.output import download_bar, print_json, print_text, shown_name


@click.command(name="report")
@click.argument("run", type=click.Path())
@click.option("--output", metavar="FILE", help="HTML file to write.  [default: RUN/report.html]")
@click.option("--against", metavar="RUN", help="Second run to compare with.")
@click.option("--data", metavar="DATA", help="Name or path of a data set.  [default: the run's own]")
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print the paths of the two files as JSON.")
def command(
    run: str, output: str | None, against: str | None, data: str | None, device: str, as_json: bool
) -> None:
    """Write an HTML page with the results of RUN, a run or model directory.

    The page shows accuracy, learning curve, confusion matrix with examples, most confident errors,
    calibration, accuracy by steps read, gate activity, and how to reproduce the run. It needs no network. A
    JSON file beside it contains every number. An unfinished run is evaluated on its validation split.
    """
    from scanline.reporting.report import report

    with download_bar() as on_progress:
        page = report(run, output, against=against, data=data, device=device, on_progress=on_progress)
    if as_json:
        print_json({"run": run, "page": str(page), "numbers": str(page.with_suffix(".json"))})
    else:
        print_text(f"report: {shown_name(page)}")
