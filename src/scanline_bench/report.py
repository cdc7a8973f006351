"""The figures as a Markdown page."""

from __future__ import annotations

from typing import Any

HEAD = """# Speed

Made by `{command}`. Two processes never compute at once: the contestants, each in a process of its own, take
turns (A B C A B C ...), and every figure is the median of all their runs, with its quartiles. All start from
the same weights and data, and before anything is timed their losses are compared. A training step is forward,
loss, backward, clipping and Adam. Bias: one a layer, as in Keras.

Work is counted as 2 x multiply-adds of the forward pass and, in training, of the gradient through the
recurrence and between layers and of the weights' gradient. The matrix rate is torch's product of two
2048 x 2048 matrices, measured in the same run; a share above 100 % says that torch's own product leaves part
of the processor unused.

{machine}
"""


def markdown(result: dict[str, Any]) -> str:
    """The page for what `scanline bench --json` prints."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    kernels = ", ".join(f"{name}: {kernel}" for name, kernel in machine["native"].get("kernels", {}).items())
    lines = [
        f"- {machine['processor']}, {machine['cores']} cores, {result['threads']} threads",
        f"- {machine['platform'].partition('-')[0]}, Python {machine['python']}",
        f"- {versions}",
        f"- Scanline's kernels: {kernels or 'none'}",
    ]
    parts = [HEAD.format(command=result["command"], machine="\n".join(lines))]
    parts.append("## Against the fastest peer\n")
    parts.append("| work | precision | Scanline | fastest peer | ratio | share of the matrix rate |")
    parts.append("|---|---|---|---|---|---|")
    for row in result["works"]:
        ours = row["contestants"][0]
        peer = next(each for each in row["contestants"] if each["name"] == row["fastest_peer"])
        share = "" if row["work"] == "latency" else f"{100 * ours['share_of_matrix_rate']:.0f} %"
        parts.append(
            f"| {row['about']} | {row['precision']} | {_ms(ours)} | {_ms(peer)} ({peer['name']}) "
            f"| {row['ratio']:.2f} | {share} |"
        )
    parts.append("\n## Every contestant\n")
    for row in result["works"]:
        parts.append(f"### {row['about']}, {row['precision']}\n")
        parts.append(f"{row['gflop']:g} GFLOP; matrix rate {row['matrix_gflops']:g} GFLOP/s\n")
        batch = row["kind"] == "infer"
        parts.append(
            "| | median | quartiles | GFLOP/s | peak memory | above imports |" + (" batch |" if batch else "")
        )
        parts.append("|---|---|---|---|---|---|" + ("---|" if batch else ""))
        for each in row["contestants"]:
            low, high = each["quartiles_ms"]
            parts.append(
                f"| {each['name']} | {_ms(each)} | {low:.3g} to {high:.3g} ms | {each['gflops']:g} "
                f"| {each['peak_mb']:.0f} MB | {each['above_imports_mb']:.0f} MB |"
                + (f" {each['batch']} |" if batch else "")
            )
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _ms(figure: dict[str, Any]) -> str:
    return f"{figure['median_ms']:.3g} ms"
