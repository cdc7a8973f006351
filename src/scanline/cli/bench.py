"""The command `scanline bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scanline.cli.output import print_json, say
from scanline.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from scanline_bench.results import WorkloadResult
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
def command(
    names: tuple[str, ...],
    precision: str,
    rounds: int,
    threads: int | None,
    markdown: str | None,
    as_json: bool,
) -> None:
    """Time the LSTM beside torch's, and beside Keras, JAX and ONNX Runtime if they are installed.

    WORKLOAD is rows, rows-1024, stacked, pixels, lengths, inference or latency; all by default. Other
    programs that run at the same time change the figures.
    """
    # Imported here, so that `--help` does not import torch.
    import dataclasses
    import os
    from pathlib import Path

    from scanline.storage.atomic import write_atomic
    from scanline.training.environment import describe
    from scanline_bench.peers import versions
    from scanline_bench.report import markdown as page
    from scanline_bench.results import BenchResult
    from scanline_bench.runner import run_workload

    threads = threads or os.cpu_count() or 1
    # Results are shown as they arrive, since all workloads together take minutes.
    results = []
    for workload in _chosen(names):
        for each in ("float32", "bfloat16") if precision == "both" else (precision,):
            say(f"{workload.name}, {each} ...")
            results.append(run_workload(workload, each, threads, rounds, say))
            if not as_json:
                _show(results[-1])
    machine = describe("cpu")
    result = BenchResult(
        command=" ".join(("scanline bench", *names)),
        threads=threads,
        processor=machine.processor,
        cores=machine.cores,
        system=machine.platform.partition("-")[0],
        python=machine.python,
        versions=versions(),
        kernels=machine.native.kernels,
        workloads=tuple(results),
    )
    if markdown:
        write_atomic(Path(markdown), page(result).encode())
    if as_json:
        print_json(dataclasses.asdict(result))


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
    click.echo(f"{row.about}, {row.precision} (matrix rate {row.matrix_gflops:g} GFLOP/s)")
    width = max(len(each.name) for each in row.implementations)
    for each in row.implementations:
        low, high = each.quartiles_ms
        click.echo(
            f"  {each.name:<{width}}  {each.median_ms:8.3f} ms  ({low:.3f} to {high:.3f})  "
            f"{each.gflops:6.1f} GFLOP/s  {100 * each.share_of_matrix_rate:4.0f} %  "
            f"{each.peak_mb:5.0f} MB"
        )
    click.echo(f"  {row.ratio:.2f} times as fast as {row.fastest_peer}")
