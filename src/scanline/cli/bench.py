"""The command `scanline bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scanline.cli.output import print_json, say
from scanline.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from scanline_bench.results import BenchResult, WorkloadResult
    from scanline_bench.workloads import Workload


@click.command(name="bench")
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "both"]),
    default="both",
    show_default=True,
    help="Precision of the matrix products.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=9, show_default=True, help="Turns of each.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each.  [default: one per core]")
@click.option(
    "--markdown", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with all figures."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--from",
    "saved",
    type=click.Path(dir_okay=False, exists=True),
    metavar="FILE",
    help="Measure nothing: show results that --json printed.",
)
def command(
    names: tuple[str, ...],
    precision: str,
    rounds: int,
    threads: int | None,
    markdown: str | None,
    as_json: bool,
    saved: str | None,
) -> None:
    """Time recurrent layers beside torch's, and beside Keras, JAX and ONNX Runtime if they are installed.

    WORKLOAD is one of these; all by default:

    \b
    LSTM training steps  rows rows-1024 stacked pixels lengths single
                         bidirectional bidirectional-4
    GRU and RNN          gru gru-lengths rnn
    predictions          inference latency stream gru-inference gru-latency
    a whole training     training

    Times are compared with the processor's limits, measured in the same run. Other programs that run at the
    same time change the figures.
    """
    # Imported here, so that `--help` does not import torch.
    import dataclasses

    from scanline.storage.atomic import write_atomic
    from scanline_bench.report import markdown as page
    from scanline_bench.results import from_json

    if saved is None:
        result = _measured(_chosen(names), names, precision, rounds, threads, show=not as_json)
    elif names:
        raise UsageError(f"--from measures nothing: leave out {', '.join(names)}")
    else:
        result = from_json(_content(Path(saved)), saved)
        for row in () if as_json else result.workloads:
            _show(row)
    if markdown:
        write_atomic(Path(markdown), page(result).encode())
    if as_json:
        print_json(dataclasses.asdict(result))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _measured(
    workloads: list[Workload],
    names: tuple[str, ...],
    precision: str,
    rounds: int,
    threads: int | None,
    show: bool,
) -> BenchResult:
    import os

    from scanline.training.environment import describe
    from scanline_bench.peers import precisions_of, versions
    from scanline_bench.results import BenchResult
    from scanline_bench.runner import run_workload

    count = threads or os.cpu_count() or 1
    # Results are shown as they arrive, since all workloads together take minutes.
    results = []
    for workload in workloads:
        for each in precisions_of(workload):
            if precision not in (each, "both"):
                continue
            say(f"{workload.name}, {each} ...")
            results.append(run_workload(workload, each, count, rounds, say))
            if show:
                _show(results[-1])
    machine = describe("cpu")
    return BenchResult(
        command=" ".join(("scanline bench", *names, *(["--threads", str(threads)] if threads else []))),
        threads=count,
        processor=machine.processor,
        cores=machine.cores,
        system=machine.platform.partition("-")[0],
        python=machine.python,
        versions=versions(),
        kernels=machine.native.kernels,
        workloads=tuple(results),
    )


def _chosen(names: tuple[str, ...]) -> list[Workload]:
    """Return the named workloads, all if none is named. Raises UsageError for an unknown name."""
    from scanline_bench.workloads import WORKLOADS

    known = [workload.name for workload in WORKLOADS]
    for name in names:
        if name not in known:
            raise UsageError(
                f"unknown workload {name!r}: expected one of {', '.join(known)}" + did_you_mean(name, known)
            )
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def _show(row: WorkloadResult) -> None:
    from scanline_bench.report import limit_text, percent

    click.echo(f"{row.about}, {row.precision}")
    for limit in row.limits:
        click.echo(f"  {limit_text(limit)}")
    width = max(len(each.name) for each in row.implementations)
    for each in row.implementations:
        low, high = each.quartiles_ms
        click.echo(
            f"  {each.name:<{width}}  {each.median_ms:8.3f} ms  ({low:.3f} to {high:.3f})  "
            f"{each.gflops:6.1f} GFLOP/s  {percent(each):>5}  {each.peak_mb:5.0f} MB"
        )
    click.echo(f"  {row.ratios()} times as fast as {row.fastest_peer}")
