"""scanline report"""

from __future__ import annotations

import click

from scanline.cli.output import download_bar, print_json, print_text, shown_name


@click.command(name="report")
@click.argument("run", type=click.Path())
@click.option("--output", metavar="FILE", help="The page to write.  [default: RUN/report.html]")
@click.option("--against", metavar="RUN", help="A second run to set beside it.")
@click.option(
    "--data", metavar="DATA", help="A data set's name or path.  [default: what the run was trained on]"
)
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
)
@click.option("--json", "as_json", is_flag=True, help="Print where the two files lie as JSON.")
def command(
    run: str, output: str | None, against: str | None, data: str | None, device: str, as_json: bool
) -> None:
    """Write one HTML page that shows RUN, a run folder or a bundle.

    What it is worth, how it learnt, what it takes for what with the pictures behind it, its worst mistakes
    and what it looked at, how far to trust it, what its gates do, and how to repeat it. The page needs no
    network; every number in it lies in a JSON file beside it. A run that was interrupted is judged on its
    validation part.
    """
    from scanline.reporting.report import report

    with download_bar() as on_progress:
        page = report(run, output, against=against, data=data, device=device, on_progress=on_progress)
    if as_json:
        print_json({"run": run, "page": str(page), "numbers": str(page.with_suffix(".json"))})
    else:
        print_text(f"report: {shown_name(page)}")
