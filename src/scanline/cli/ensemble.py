"""The command `scanline ensemble`."""

from __future__ import annotations

import click

from scanline.cli.output import download_bar, print_json, print_text, say, shown_name


@click.command(name="ensemble")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--output", required=True, metavar="DIR", help="Folder to create.")
@click.option(
    "--data",
    metavar="DATA",
    help="Data to calibrate with: their validation split, or all of them.  "
    "[default: the runs' own validation split, if they share it]",
)
@click.option(
    "--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def command(runs: tuple[str, ...], output: str, data: str | None, device: str, as_json: bool) -> None:
    """Make one model of RUNS, run or model directories, or ensembles, whose members are taken.

    Its probabilities are the mean of those of its members, which may have different cells, sizes and views,
    but the same classes and input. It is calibrated on their validation split; the test split is not read:
    `scanline evaluate DIR` does so. DIR is used like a run: to predict, evaluate, serve, export and report.
    """
    from scanline.device import choose_device
    from scanline.evaluation.ensembling import ensemble_runs

    with download_bar() as on_progress:
        made = ensemble_runs(runs, output, data, choose_device(device), on_progress)
    for note in made.notes:
        say(note)
    model = made.model
    validation = model.provenance.parts.get("validation")
    if as_json:
        members = [each.model_dump() for each in model.describe().members]
        calibration = {"temperature": model.temperature, "n": validation.n if validation else 0}
        print_json({"output": output, "members": members, **calibration, "notes": list(made.notes)})
        return
    print_text(repr(model))
    if model.temperature is not None and validation is not None:
        click.echo(f"temperature {model.temperature:.4f}, fitted on {validation.n:,} validation sequences")
    print_text(f"wrote {shown_name(output)}")
