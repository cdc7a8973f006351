"""scanline compare"""

from __future__ import annotations

from typing import Any

import click

from scanline.cli.output import NAME_WIDTH, download_bar, print_json, print_text, shown_name

SHOWN = 10


@click.command(name="compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--data",
    metavar="DATA",
    help="Judge all on this.  [default: what each was trained on, if it is the same]",
)
@click.option("--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with every disagreement.")
def command(runs: tuple[str, ...], data: str | None, device: str, as_json: bool) -> None:
    """Compare RUNS, run folders or bundles, on the same test sequences.

    Prints accuracy, size, speed and cost of training of each, and of each two the difference of their
    accuracies with its 95 % interval, the exact McNemar test, and where they disagree.
    """
    from scanline.device import choose_device
    from scanline.evaluation.comparison import compare_runs

    with download_bar() as on_progress:
        found = compare_runs(runs, data, choose_device(device), on_progress).to_json()
    if as_json:
        print_json(found)
        return
    print_text(f"{found['n']:,} test sequences of {shown_name(found['data'])}")
    for sheet in found["runs"]:
        print_text("\n".join(_sheet(sheet)))
    for pair in found["pairs"]:
        print_text("\n".join(_pair(pair)))


def _sheet(sheet: dict[str, Any]) -> list[str]:
    low, high = sheet["ci95"]
    seen = f", {sheet['view']}" if sheet["view"] else ""
    lines = [
        "",
        f"{shown_name(sheet['run'])}: {sheet['network']}{seen}",
        f"  {sheet['correct']:,} right, accuracy {sheet['accuracy']:.4f} ({low:.4f} to {high:.4f})",
        f"  cross-entropy {sheet['loss']:.4f}, calibration error {sheet['calibration_error']:.4f}",
        f"  {sheet['parameters']:,} weights, {sheet['weights_bytes'] / 1e6:.2f} MB; "
        f"predicts {sheet['sequences_per_s']:,.0f} sequences a second",
    ]
    seconds, samples = sheet["training_seconds"], sheet["training_samples"]
    cost = ([] if seconds is None else [f"for {seconds:,.1f} s"]) + (
        [] if samples is None else [f"on {samples:,} sequences"]
    )
    return [*lines, f"  trained {' '.join(cost)}"] if cost else lines


def _pair(pair: dict[str, Any]) -> list[str]:
    low, high = pair["ci95"]
    told = "it may be chance" if pair["mcnemar_p"] > 0.05 else "hardly chance"
    lines = [
        "",
        f"{shown_name(pair['first'])} less {shown_name(pair['second'])}",
        f"  accuracy {pair['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}",
        f"  McNemar p = {pair['mcnemar_p']:.3g}: {told}",
        f"  right: both {pair['both_right']:,}, the first alone {pair['first_alone_right']:,}, "
        f"the second alone {pair['second_alone_right']:,}, neither {pair['neither_right']:,}",
        f"  they answer differently on {pair['disagreements']:,}",
    ]
    for each in pair["disagree_on"][:SHOWN]:
        name = shown_name(each["sequence"], NAME_WIDTH)
        true, first, second = (shown_name(each[key], NAME_WIDTH) for key in ("true", "first", "second"))
        lines.append(f"    sequence {name}: {true} is {first} or {second}")
    if pair["disagreements"] > SHOWN:
        lines.append(f"    and {pair['disagreements'] - SHOWN:,} more (--json lists them)")
    return lines
