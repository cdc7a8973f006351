"""scanline train"""

from __future__ import annotations

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.errors import UsageError


@click.command(name="train")
@click.argument("data", required=False)
@click.option("--recipe", metavar="NAME|FILE", help="What to train and how; `scanline recipes` lists them.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one value, as train.batch_size=64."
)
@click.option(
    "--run", metavar="DIR", help="The run folder to make.  [default: the next runs/DATA-RECIPE-NNN]"
)
@data_options
@click.option("--seed", type=click.IntRange(min=0), help="Short for --set seed=N.")
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --run; only more steps may be --set.")
@click.option("--tensorboard", is_flag=True, help="Write event files for TensorBoard too.")
@click.option("--report", "wants_report", is_flag=True, help="Write the report when training has finished.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    data: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    run: str | None,
    seed: int | None,
    device: str,
    resume: bool,
    tensorboard: bool,
    wants_report: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Train a classifier, test it, and keep the run.

    DATA is a data set's name (`scanline data list`), a .ts, CSV, Parquet or .npz file, a folder of pictures
    or of IDX files, or the NAME of NAME_TRAIN and NAME_TEST files. Without it Scanline takes MNIST if it is
    at hand or can be fetched, and otherwise the small digits that come with scikit-learn.
    """
    changes = _changes(settings, seed) | chosen_settings(options)
    if resume and (data or not run):
        raise UsageError("--resume needs --run DIR and takes the data from there: give none")

    from scanline.cli.watch import curve, watch
    from scanline.training.run import TrainingRun

    if wants_report:
        from scanline.reporting.page import check_installed

        check_installed()
    with download_bar() as on_progress:
        start = TrainingRun.resume if resume else TrainingRun.begin
        training = start(data, recipe, changes, run, device, tensorboard, on_progress)
    for note in training.notes:
        say(note)
    result = watch(training)
    path = training.directory.path
    for line in curve(training.directory.metrics):
        say(line)
    page = None
    if wants_report:
        from scanline.reporting.report import report

        page = report(path, device=device)
    if as_json:
        told = {"run": str(path)} | ({"report": str(page)} if page else {})
        print_json(told | result.to_json())
        return
    test = result.test
    if test is None:
        click.echo("test: there is no test part")
    elif test.accuracy is None or test.ci95 is None:
        click.echo(f"test: {test.n:,} sequences, loss {test.loss:.4f}")
    else:
        click.echo(
            f"test: {test.correct:,} of {test.n:,} right, accuracy {test.accuracy:.4f}, "
            f"95 % interval {test.ci95[0]:.4f} to {test.ci95[1]:.4f}"
        )
    print_text(f"run:  {shown_name(path)}")
    if page:
        print_text(f"report: {shown_name(page)}")
    for number, line in enumerate(training.next_commands()):
        say(f"{'      ' if number else 'next: '}{line}")


def _changes(settings: tuple[str, ...], seed: int | None) -> dict[str, object]:
    from scanline.recipe import parse_setting

    changes = dict(parse_setting(text) for text in settings)
    if seed is not None:
        changes["seed"] = seed
    return changes
