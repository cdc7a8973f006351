"""The command `scanline train`."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.errors import UsageError


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
    "--processes",
    type=click.IntRange(min=1),
    metavar="K",
    help="Train in K processes on this machine; needs train.slices of at least K in all.",
)
@click.option(
    "--nodes",
    default="1",
    metavar="N|MIN:MAX",
    show_default=True,
    help="Number of machines that train together; all run the same command.",
)
@click.option("--rendezvous", metavar="HOST:PORT", help="Where the machines meet: HOST opens the port.")
@click.option("--job", metavar="NAME", help="Name of the training, the same on all machines.")
@click.option(
    "--join-timeout",
    default=300.0,
    type=click.FloatRange(min=1),
    metavar="S",
    show_default=True,
    help="Seconds to wait for the other machines.",
)
@click.option(
    "--peer-timeout",
    default=30.0,
    type=click.FloatRange(min=1),
    metavar="S",
    show_default=True,
    help="Seconds after which a process that does not answer counts as lost.",
)
@click.option(
    "--max-restarts",
    default=20,
    type=click.IntRange(min=0),
    metavar="N",
    show_default=True,
    help="How often processes are started again after a failure.",
)
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Train on machines that compute different bits; the result is then not reproducible.",
)
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
    wants_report: bool,
    as_json: bool,
    processes: int | None,
    nodes: str,
    rendezvous: str | None,
    job: str | None,
    join_timeout: float,
    peer_timeout: float,
    max_restarts: int,
    allow_mixed: bool,
    **options: str | None,
) -> int | None:
    """Train a classifier, test it, and store both in a run directory.

    DATA is the name of a data set (`scanline data list`), a .ts, CSV, Parquet or .npz file, a folder of
    pictures or of IDX files, or the common NAME of NAME_TRAIN and NAME_TEST files. The default is MNIST, or
    scikit-learn's small digits if MNIST can be neither found nor downloaded.
    """
    changes = _changes(settings, seed) | chosen_settings(options)
    if resume and not run:
        raise UsageError("--resume requires --run DIR, the run to continue")

    if wants_report:
        from scanline.reporting.page import check_installed

        # Before training: a missing package must not be discovered hours later.
        check_installed()
    least, most = _nodes(nodes, rendezvous)
    # Imported after the check of the options: this loads torch, which takes seconds.
    if (processes or rendezvous) and not is_member():
        from scanline.training.distributed.launch import Machines, launch

        machines = Machines(least, most, rendezvous or "", job or "", join_timeout, max_restarts)
        return launch(["-m", "scanline", *sys.argv[1:]], processes or 1, machines)

    from scanline.cli.watch import curve, watch
    from scanline.training.run import TrainingRun

    if is_member():
        from scanline.training.distributed.join import Request
        from scanline.training.distributed.worker import reported, take_part

        request = Request(data, recipe, changes, run, device, resume, tensorboard, peer_timeout, allow_mixed)
        training = take_part(request)
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
    with reporting:
        result = watch(training)
        for line in curve(training.directory.metrics):
            say(line)
        if wants_report:
            from scanline.reporting.report import report

            page = report(path, device=device)
    if as_json:
        paths = {"run": str(path)} | ({"report": str(page)} if page else {})
        print_json(paths | result.to_json())
        return None
    test = result.test
    if test is None:
        click.echo("test: there is no test split")
    elif test.accuracy is None or test.ci95 is None:
        click.echo(f"test: {test.n:,} sequences, loss {test.loss:.4f}")
    else:
        click.echo(
            f"test: {test.correct:,} of {test.n:,} correct, accuracy {test.accuracy:.4f}, "
            f"95 % interval {test.ci95[0]:.4f} to {test.ci95[1]:.4f}"
        )
    print_text(f"run:  {shown_name(path)}")
    if page:
        print_text(f"report: {shown_name(page)}")
    for number, line in enumerate(training.next_commands()):
        say(f"{'      ' if number else 'next: '}{line}")
    return None


def is_member() -> bool:
    """Return whether an elastic agent, of this command or of torchrun, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def _nodes(nodes: str, rendezvous: str | None) -> tuple[int, int]:
    """Return the smallest and the largest number of machines."""
    least, colon, most = nodes.partition(":")
    if not (least.isdecimal() and (not colon or most.isdecimal())):
        raise UsageError(f"--nodes: expected a number or MIN:MAX, got {nodes!r}")
    low, high = int(least), int(most or least)
    if not 1 <= low <= high:
        raise UsageError(f"--nodes: expected 1 or more, and MIN up to MAX, got {nodes}")
    if high > 1 and not rendezvous:
        raise UsageError("--nodes above 1 requires --rendezvous HOST:PORT, where the machines meet")
    return low, high


def _changes(settings: tuple[str, ...], seed: int | None) -> dict[str, object]:
    from scanline.recipe import parse_setting

    changes: dict[str, object] = {}
    for key, value in map(parse_setting, settings):
        changes.pop(key, None)  # a setting that is repeated takes the place of the last one
        changes[key] = value
    if seed is not None:
        changes["seed"] = seed
    return changes
