"""The command `scanline train`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.cli.process_options import ProcessOptions, is_member, process_options
from scanline.errors import UsageError

if TYPE_CHECKING:
    from scanline.tracking.target import Target
    from scanline.training.run_files import Result


@click.command(name="train")
@click.argument("data", required=False)
@click.option(
    "--recipe", metavar="NAME|FILE", help="Network and training settings; `scanline recipes` lists them."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, such as train.batch_size=64.",
)
@click.option(
    "--run", metavar="DIR", help="Run directory to create.  [default: the next runs/DATA-RECIPE-NNN]"
)
@data_options
@click.option("--seed", type=click.IntRange(min=0), help="Shorthand for --set seed=N.")
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --run. DATA and settings may be repeated, the number of steps raised.",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard event files.")
@click.option(
    "--track",
    metavar="mlflow:URI",
    help="Publish the run to a tracking server, such as mlflow:http://localhost:5000?experiment=NAME.",
)
@process_options
@click.option("--report", "wants_report", is_flag=True, help="Write a report after training.")
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
    track: str | None,
    wants_report: bool,
    as_json: bool,
    **options: Any,
) -> int | None:
    """Train a model, test it, and store both in a run directory.

    DATA is the name of a data set (`scanline data list`), a .ts, CSV, Parquet or .npz file, a folder of
    pictures or of IDX files, or the common NAME of NAME_TRAIN and NAME_TEST files. The default is MNIST, or
    scikit-learn's small digits if MNIST can be neither found nor downloaded.
    """
    processes = ProcessOptions.taken_from(options)
    changes = _changes(settings, seed) | chosen_settings(options)
    if resume and not run:
        raise UsageError("--resume requires --run DIR, the run to continue")
    processes.check()
    target = _target(track)
    if wants_report:
        from scanline.reporting.templates import check_installed

        # Before training: a missing package must not be discovered hours later.
        check_installed()
    if processes.wanted:
        return processes.launch()

    # Imported after the check of the options: this loads torch, which takes seconds.
    from scanline.cli.watch import curve, watch
    from scanline.tracking.publisher import publishing
    from scanline.training.run import TrainingRun

    if is_member():
        from scanline.training.distributed.join import Request
        from scanline.training.distributed.worker import reported, take_part

        timeout, mixed = processes.peer_timeout, processes.allow_mixed
        training = take_part(Request(data, recipe, changes, run, device, resume, tensorboard, timeout, mixed))
        reporting: contextlib.AbstractContextManager[None] = reported()
    else:
        with download_bar() as on_progress:
            # The bar covers this call only: data are downloaded when a run begins.
            start = TrainingRun.resume if resume else TrainingRun.begin
            training = start(data, recipe, changes, run, device, tensorboard, on_progress)
        reporting = contextlib.nullcontext()
    for note in training.notes:
        say(note)
    path, page = training.directory.path, None
    with reporting, publishing(path, target, say) as report_tracking:
        result = watch(training, report_tracking)
        for line in curve(training.directory.metrics):
            say(line)
        if wants_report:
            from scanline.reporting.report import report

            page = report(path, device=device)
    if as_json:
        paths = {"run": str(path)} | ({"report": str(page)} if page else {})
        print_json(paths | result.to_json())
        return None
    _print_test(result)
    print_text(f"run:  {shown_name(path)}")
    if page:
        print_text(f"report: {shown_name(page)}")
    _say_next(training.next_commands())
    return None


def _target(track: str | None) -> Target | None:
    """Return the tracking server; checked before training."""
    if track is None:
        return None
    from scanline.tracking.target import Target, check_installed

    target = Target.parse(track)
    check_installed()
    return target


def _say_next(commands: list[str]) -> None:
    for number, line in enumerate(commands):
        say(f"{'      ' if number else 'next: '}{line}")


def _print_test(result: Result) -> None:
    test = result.test
    if test is None:
        click.echo("test: there is no test split")
    elif test.accuracy is not None and test.ci95 is None:
        click.echo(f"test: {test.correct:,} of {test.n:,} correct, accuracy {test.accuracy:.4f}")
    elif test.accuracy is None or test.ci95 is None:
        click.echo(_numbers_line(test.to_json()))
    else:
        click.echo(
            f"test: {test.correct:,} of {test.n:,} correct, accuracy {test.accuracy:.4f}, "
            f"95 % interval {test.ci95[0]:.4f} to {test.ci95[1]:.4f}"
        )


def _numbers_line(test: dict[str, Any]) -> str:
    """Return the metrics of a task without accuracy in a line."""
    if "micro_f1" in test:
        line = f"test: {test['n']:,} sequences, micro F1 {test['micro_f1']:.4f}"
        if test["micro_f1_ci95"] is not None:
            low, high = test["micro_f1_ci95"]
            line += f", 95 % interval {low:.4f} to {high:.4f}"
        return f"{line}, macro F1 {test['macro_f1']:.4f}, subset accuracy {test['subset_accuracy']:.4f}"
    if "outputs" in test:
        each = (f"{shown_name(one['name'])} {one['metrics']['rmse']:.6g}" for one in test["outputs"])
        return f"test: {test['n']:,} sequences, RMSE {', '.join(each)}"
    if "rmse" not in test:
        return f"test: {test['n']:,} sequences, loss {test['loss']:.4f}"
    counted = "sequences" if "last" not in test else f"labelled steps of {test['sequences']:,} sequences"
    line = f"test: {test['n']:,} {counted}, RMSE {test['rmse']:.6g}"
    if test["rmse_ci95"] is not None:
        low, high = test["rmse_ci95"]
        line += f", 95 % interval {low:.4g} to {high:.4g}"
    line += "" if test["r2"] is None else f", R² {test['r2']:.4f}"
    if interval := test["interval"]:
        half_width = f"{100 * interval['level']:g} % interval (± {interval['half_width']:.4g})"
        line += f"; {interval['covered']:,} of {test['n']:,} inside their {half_width}"
    return line


def _changes(settings: tuple[str, ...], seed: int | None) -> dict[str, object]:
    from scanline.recipe import parse_setting

    changes: dict[str, object] = {}
    for key, value in map(parse_setting, settings):
        changes.pop(key, None)  # a setting that is repeated takes the place of the last one
        changes[key] = value
    if seed is not None:
        changes["seed"] = seed
    return changes
