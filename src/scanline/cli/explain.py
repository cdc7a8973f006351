"""scanline explain"""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.output import bar_of, print_json, print_text, say, shown_name


@click.command(name="explain")
@click.argument("run", type=click.Path())
@click.argument("given", metavar="INPUT")
@click.option(
    "--sequence",
    metavar="NAME",
    help="Which sequence of a file, by its name or number.  [default: the first]",
)
@click.option(
    "--save",
    "targets",
    multiple=True,
    metavar="FILE",
    help="Write it too: .png and .svg the picture, .gif a film, .json and .npz every number.",
)
@click.option("--calibrated", is_flag=True, help="Probabilities after temperature scaling.")
@click.option("--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON.")
def command(
    run: str,
    given: str,
    sequence: str | None,
    targets: tuple[str, ...],
    calibrated: bool,
    device: str,
    as_json: bool,
) -> None:
    """Tell why RUN answers as it does for INPUT.

    INPUT is a picture, a file of sequences, or the number of a test sequence as `scanline evaluate` names
    it. Prints what it would have answered after each step, and when it made up its mind. With --save every
    gate and state of every layer, and which values the answer rests on (integrated gradients).
    """
    from scanline.device import choose_device
    from scanline.explanation.attribution import TOLERANCE
    from scanline.explanation.explain import explain_input
    from scanline.explanation.save import check_suffix, save
    from scanline.model.artifact import load

    for target in targets:  # before anything is computed, or written
        check_suffix(Path(target))
    model = load(run, choose_device(device), calibrated)
    found = explain_input(model, run, given, sequence)
    for target in targets:
        save(found, Path(target))
        say(f"wrote {target}")
    if as_json:
        print_json({"run": run} | found.to_json())
        return
    print_text("\n".join(map(shown_name, found.lines())))
    trace = found.trace
    for step, shares in enumerate(trace.probabilities, 1):
        first, *others = shares.argsort()[::-1][:2]
        bar = bar_of(shares[first])
        line = f"  {step:>4}  {shown_name(trace.classes[first]):<12.12} {shares[first]:.4f} {bar:<20} "
        for second in others:  # none beside the only class
            line += f"{shown_name(trace.classes[second]):.12} {shares[second]:.4f}"
        print_text(line.rstrip())
    click.echo(
        f"  the values' shares add up to {found.attribution.values.sum():.4f}, the difference of logits is "
        f"{found.attribution.difference:.4f}"
    )
    if found.attribution.error > TOLERANCE:
        say(f"the attributions are rough: they should add up to that within {TOLERANCE}")
