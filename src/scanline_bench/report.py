"""The results as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from scanline_bench.results import BenchResult, Limit, Measurement, WorkloadResult

HEAD = """# Speed

Made by `{command}`. Each implementation runs in a process of its own. The processes take turns (A B C A B C
...), so that two never compute at once; every figure is the median of all runs, with its quartiles. All start
from the same weights and data, and their losses are compared before anything is timed. A training step is
forward, loss, backward, gradient clipping and Adam. Each gate has one bias, as in Keras; a GRU's have two.

`scanline` is a layer of `scanline.nn` and a head of torch, `scanline predictor` the native call that owns
packed weights, and `scanline model` that call through `Model.predict_proba`, which checks its input.

Operations are 2 x multiply-adds of the forward pass and, in training, of the gradient through the recurrence
and between layers and of the weights' gradient. The measured peak is the processor's own: multiply-adds in
registers, without any loads, timed between the turns of the same run. For one sequence, the limit is loading
the weights: the recurrent ones at every step, the others once. It is the time that this takes at the measured
rate of loads from blocks as large as each thread's weights. No program that computes on the vector units can
exceed 100 %; matrix units such as AMX are not measured.

{machine}
"""


def markdown(result: BenchResult) -> str:
    """Return the page for a run of `scanline bench`."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    kernels = ", ".join(f"{name}: {kernel}" for name, kernel in result.kernels.items())
    threads = f"{result.threads} thread" + ("" if result.threads == 1 else "s")
    machine = [
        f"- {result.processor}, {result.cores} cores, {threads}",
        f"- {result.system}, Python {result.python}",
        f"- {versions}",
        f"- Scanline's kernels: {kernels or 'none'}",
    ]
    lines = [HEAD.format(command=result.command, machine="\n".join(machine))]
    lines.append("## Against the fastest peer\n")
    lines.append("| workload | precision | Scanline | fastest peer | ratio | share of the measured peak |")
    lines.append("|---|---|---|---|---|---|")
    lines += [_summary(each) for each in result.workloads]
    lines.append("\n## Every implementation\n")
    for each in result.workloads:
        lines += [*_details(each), ""]
    return "\n".join(lines).rstrip() + "\n"


def percent(one: Measurement) -> str:
    """Return the share of the limit in percent, or nothing without one."""
    return "" if one.share is None else f"{100 * one.share:.0f} %"


def limit_text(limit: Limit) -> str:
    """Return a limit as a phrase."""
    if limit.name == "loads":
        amount, rate = f"{_figure(limit.amount * 1e3)} MB of weights", f"{limit.rate:g} GB/s"
    else:
        amount, rate = f"{_figure(limit.amount)} GFLOP", f"{limit.rate:g} GFLOP/s"
    return f"{amount} at the measured {rate} of {limit.name}: at least {_figure(limit.bound_ms)} ms"


def _summary(each: WorkloadResult) -> str:
    ours, peer = each.scanline, each.peer
    time = each.of_every_way(_ms)
    share = percent(ours) + (" of the loads" if each.limits and each.limits[0].name == "loads" else "")
    cells = (each.about, each.precision, time, f"{_ms(peer)} ({peer.name})", each.ratios(), share)
    return _line(cells)


def _details(each: WorkloadResult) -> list[str]:
    heads = [
        "",
        "median",
        "quartiles",
        "fastest peer / this",
        "GFLOP/s",
        "share",
        "peak memory",
        "above imports",
    ]
    heads += ["batch"] * (each.kind == "infer")
    limits = "; ".join(map(limit_text, each.limits)) or f"{each.gflop:g} GFLOP; no limit was measured"
    lines = [f"### {each.about}, {each.precision}\n", f"{limits}\n", _line(heads), "|---" * len(heads) + "|"]
    for one in each.implementations:
        low, high = one.quartiles_ms
        row = [
            one.name,
            _ms(one),
            f"{_figure(low)} to {_figure(high)} ms",
            f"{each.peer.median_ms / one.median_ms:.2f}",
        ]
        row += [f"{one.gflops:g}", percent(one), f"{one.peak_mb:.0f} MB", f"{one.above_imports_mb:.0f} MB"]
        row += [str(one.batch or "its own")] * (each.kind == "infer")
        lines.append(_line(row))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ms(one: Measurement) -> str:
    return f"{_figure(one.median_ms)} ms"


def _figure(value: float) -> str:
    """Return a number with three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
