"""The results as a Markdown page."""

from __future__ import annotations

from scanline_bench.results import BenchResult, Measurement, WorkloadResult

HEAD = """# Speed

Made by `{command}`. Each implementation runs in a process of its own. The processes take turns (A B C A B C
...), so that two never compute at once; every figure is the median of all runs, with its quartiles. All start
from the same weights and data, and their losses are compared before anything is timed. A training step is
forward, loss, backward, gradient clipping and Adam. Each gate has one bias, as in Keras.

Operations are 2 x multiply-adds of the forward pass and, in training, of the gradient through the recurrence
and between layers and of the weights' gradient. The matrix rate is that of torch's product of two 2048 x 2048
matrices, measured in the same run; a share above 100 % means that torch's product does not use the whole
processor.

{machine}
"""


def markdown(result: BenchResult) -> str:
    """Return the page for a run of `scanline bench`."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    kernels = ", ".join(f"{name}: {kernel}" for name, kernel in result.kernels.items())
    machine = [
        f"- {result.processor}, {result.cores} cores, {result.threads} threads",
        f"- {result.system}, Python {result.python}",
        f"- {versions}",
        f"- Scanline's kernels: {kernels or 'none'}",
    ]
    lines = [HEAD.format(command=result.command, machine="\n".join(machine))]
    lines.append("## Against the fastest peer\n")
    lines.append("| workload | precision | Scanline | fastest peer | ratio | share of the matrix rate |")
    lines.append("|---|---|---|---|---|---|")
    lines += [_summary(each) for each in result.workloads]
    lines.append("\n## Every implementation\n")
    for each in result.workloads:
        lines += [*_details(each), ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(each: WorkloadResult) -> str:
    ours, peer = each.scanline, each.peer
    share = "" if each.kind == "latency" else f"{100 * ours.share_of_matrix_rate:.0f} %"
    return (
        f"| {each.about} | {each.precision} | {_ms(ours)} | {_ms(peer)} ({peer.name}) "
        f"| {each.ratio:.2f} | {share} |"
    )


def _details(each: WorkloadResult) -> list[str]:
    infers = each.kind == "infer"
    lines = [
        f"### {each.about}, {each.precision}\n",
        f"{each.gflop:g} GFLOP; matrix rate {each.matrix_gflops:g} GFLOP/s\n",
        "| | median | quartiles | GFLOP/s | peak memory | above imports |" + (" batch |" if infers else ""),
        "|---|---|---|---|---|---|" + ("---|" if infers else ""),
    ]
    for one in each.implementations:
        low, high = one.quartiles_ms
        lines.append(
            f"| {one.name} | {_ms(one)} | {low:.3g} to {high:.3g} ms | {one.gflops:g} "
            f"| {one.peak_mb:.0f} MB | {one.above_imports_mb:.0f} MB |"
            + (f" {one.batch} |" if infers else "")
        )
    return lines


def _ms(one: Measurement) -> str:
    return f"{one.median_ms:.3g} ms"
