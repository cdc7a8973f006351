"""The command `scanline tune`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Literal

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.errors import UsageError

if TYPE_CHECKING:
    from scanline.search.records import StudyRecord
    from scanline.search.study import Found, Search
    from scanline.training.run_files import SplitMetrics


@click.command(name="tune")
@click.argument("data", required=False)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Number of trials.")
@click.option(
    "--minutes", type=float, metavar="N", help="Duration of the search; then the winner is trained."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="K",
    help="Number of trials at a time, one core each.  [default: all cores of the machine or cluster]",
)
@click.option(
    "--recipe", metavar="NAME|FILE", help="What the trials change; its table [search] is what is searched."
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting for all trials."
)
@click.option(
    "--study",
    metavar="NAME|DIR",
    help="Study to begin or continue.  [default: the next studies/DATA-RECIPE-NNN]",
)
@click.option(
    "--storage",
    metavar="URL",
    help="Database of the trials: postgresql://...  [default: SQLite]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the search.")
@click.option(
    "--folds",
    type=click.IntRange(0, 100),
    metavar="K",
    help="Validate by K folds, 0: by one split.  [default: folds if there are few sequences]",
)
@click.option(
    "--async",
    "unordered",
    is_flag=True,
    help="Ask for a trial whenever a worker is free: a little faster, and not reproducible.",
)
@click.option(
    "--ensemble",
    type=click.IntRange(min=2),
    metavar="N",
    help="Also make an ensemble of the N best trials.",
)
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="Also measure plain baselines at the end.  [default: baselines]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Train trials on this machine, or on a Ray cluster.",
)
@click.option(
    "--address",
    metavar="local|auto|HOST:PORT",
    help="Ray cluster: a new one on this machine, the one of this machine, or another.  [default: auto]",
)
@data_options
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    data: str | None,
    trials: int | None,
    minutes: float | None,
    workers: int | None,
    recipe: str | None,
    settings: tuple[str, ...],
    study: str | None,
    storage: str | None,
    seed: int,
    folds: int | None,
    unordered: bool,
    ensemble: int | None,
    baselines: bool,
    engine: Literal["local", "ray"],
    address: str | None,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Search for the settings that suit DATA, train a model with the best ones, and test it.

    Every trial is an ordinary run, validated on training data only. Trials that are worse than others are
    paused early. The best settings are then trained again on training and validation sequences, and only
    that model is tested, once.

    After an interruption, the same command with --study continues the search. The trials do not depend on
    the number of workers, nor on interruptions.

    \b
    scanline tune sensors.csv --minutes 10
    scanline tune show studies/sensors.csv-sequences-001
    """
    from scanline.recipe import parse_setting
    from scanline.search import check_installed

    check_installed()
    from scanline.search.request import Request
    from scanline.search.study import Search

    if address is not None and engine != "ray":
        raise UsageError("--address requires --engine ray")
    changes = dict(map(parse_setting, settings)) | chosen_settings(options)
    request = Request(
        data=data,
        recipe=recipe,
        settings=changes,
        trials=trials,
        minutes=minutes,
        workers=workers or (cores() if engine == "local" else 0),
        study=study,
        storage=storage,
        seed=seed,
        folds=folds,
        ordered=not unordered,
        ensemble=ensemble or 0,
        baselines=baselines,
        device=device,
        engine=engine,
        address=address or "auto",
    )
    with download_bar() as on_progress:
        search = Search.begin(request, on_progress)
    with contextlib.closing(search):
        for note in search.notes:
            say(note)
        _opening(search)
        ended = search.run(_Watch(search.definition.metric))
        if not ended:
            say("the time is up: training the model with the best settings")
        found = search.finish()
    for note in found.notes:
        say(note)
    if as_json:
        print_json(found.to_json())
        return
    _print(found)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _opening(search: Search) -> None:
    definition = search.definition
    size = [f"{search.request.trials:,} trials"] if search.request.trials else []
    size += [f"{search.request.minutes:g} minutes"] if search.request.minutes else []
    settings = ", ".join(definition.space.parameters)
    say(f"searching {' or '.join(size)} for {shown_name(definition.data)}: {settings}")
    say(f"study {shown_name(search.files.folder)}; trials are validated on {definition.validated()}")
    if not definition.ordered:
        say(
            "--async: the trials depend on which worker is free first, so that the search is not reproducible"
        )


class _Watch:
    """Prints a line for each trial that is better than all before, and at times for the others."""

    def __init__(self, metric: str) -> None:
        self._metric, self._shown = metric, 0
        self._best: tuple[int, float, float, int] | None = None

    def __call__(self, study: StudyRecord) -> None:
        ended = sum(each.state in ("complete", "stopped", "diverged", "invalid") for each in study.trials)
        best = study.best
        if best is None or (best.order == self._best and ended < self._shown + 8):
            return
        self._best, self._shown = best.order, ended
        score = best.scores[-1]
        say(
            f"{ended:,} trials: best {self._metric} {score.score:.4f} after {score.fraction:.0%} of the "
            f"training (trial {best.number})"
        )


def _print(found: Found) -> None:
    study, best, test = found.study, found.winner, found.result.test
    last = best.scores[-1]
    states = [each.state for each in study.trials]
    complete, stopped = states.count("complete"), states.count("stopped")
    print_text(f"{len(states):,} trials: {complete:,} complete, {stopped:,} stopped early")
    print_text(f"best: trial {best.number}, validation {study.metric} {last.score:.4f}")
    for key, value in best.settings.items():
        print_text(f"  {key} = {shown_name(str(value))}")
    _print_metrics("test", test)
    _print_metrics("test of the ensemble", found.ensemble)
    print_text(f"model:  {shown_name(found.folder / 'winner')}")
    print_text(f"recipe: {shown_name(found.folder / 'winner.toml')}")
    say(f"next: scanline tune show {shown_name(found.folder)}")


def _print_metrics(name: str, test: SplitMetrics | None) -> None:
    if test is not None and test.accuracy is not None and test.ci95 is not None:
        print_text(
            f"{name}: {test.correct:,} of {test.n:,} correct, accuracy {test.accuracy:.4f}, "
            f"95 % interval {test.ci95[0]:.4f} to {test.ci95[1]:.4f}"
        )
    elif test is not None:
        print_text(f"{name}: {test.n:,} sequences, loss {test.loss:.4f}")
