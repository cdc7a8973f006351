"""scanline bench"""

from __future__ import annotations

from typing import Any

import click

from scanline.cli.output import print_json, say
from scanline.errors import UsageError, did_you_mean


@click.command(name="bench")
@click.argument("names", nargs=-1, metavar="[WORK]...")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "both"]),
    default="both",
    show_default=True,
    help="The class of precision to compare in.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=9, show_default=True, help="Turns of each.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each.  [default: one a core]")
@click.option(
    "--markdown", type=click.Path(dir_okay=False), metavar="FILE", help="Write the page of figures."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(
    names: tuple[str, ...],
    precision: str,
    rounds: int,
    threads: int | None,
    markdown: str | None,
    as_json: bool,
) -> None:
    """Measure the LSTM beside torch's, and beside Keras, JAX and ONNX Runtime where they are installed.

    WORK is rows, rows-1024, stacked, pixels, lengths, inference or latency; without it all are measured.
    Leave the machine alone meanwhile: whatever else runs is measured too.
    """
    import os
    from pathlib import Path

    from scanline.storage.files import write_whole
    from scanline.training.environment import describe
    from scanline_bench.report import markdown as page
    from scanline_bench.runner import run_work, versions
    from scanline_bench.works import WORKS

    known = [work.name for work in WORKS]
    for name in names:
        if name not in known:
            raise UsageError(
                f"unknown work {name!r}: expected one of {', '.join(known)}" + did_you_mean(name, known)
            )
    threads = threads or os.cpu_count() or 1
    rows = []
    for work in WORKS:
        if names and work.name not in names:
            continue
        for each in ("float32", "bfloat16") if precision == "both" else (precision,):
            say(f"{work.name}, {each} ...")
            rows.append(run_work(work, each, threads, rounds, say))
            if not as_json:
                _show(rows[-1])
    chosen = " ".join(("scanline bench", *names))
    result = {"command": chosen, "threads": threads, "machine": describe("cpu"), "versions": versions()}
    result["works"] = rows
    if markdown:
        write_whole(Path(markdown), page(result).encode())
    if as_json:
        print_json(result)


def _show(row: dict[str, Any]) -> None:
    click.echo(f"{row['about']}, {row['precision']} (matrix rate {row['matrix_gflops']:g} GFLOP/s)")
    width = max(len(each["name"]) for each in row["contestants"])
    for each in row["contestants"]:
        low, high = each["quartiles_ms"]
        click.echo(
            f"  {each['name']:<{width}}  {each['median_ms']:8.3f} ms  ({low:.3f} to {high:.3f})  "
            f"{each['gflops']:6.1f} GFLOP/s  {100 * each['share_of_matrix_rate']:4.0f} %  "
            f"{each['peak_mb']:5.0f} MB"
        )
    click.echo(f"  {row['ratio']:.2f} times as fast as {row['fastest_peer']}")
