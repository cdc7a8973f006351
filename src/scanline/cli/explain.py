"""The command `scanline explain`."""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.data_options import dialect_options
from scanline.cli.output import bar_of, print_json, print_text, say, shown_name


@click.command(name="explain")
@click.argument("run", type=click.Path())
@click.argument("given", metavar="INPUT", required=False)
@click.option("--text", metavar="TEXT", help="Explain the prediction for this text, in place of INPUT.")
@click.option(
    "--sequence",
    metavar="NAME",
    help="Name or number of a sequence in a file of several.  [default: the first]",
)
@click.option(
    "--class", "output", metavar="NAME", help="Explain this class.  [default: the one that is predicted]"
)
@click.option(
    "--save",
    "targets",
    multiple=True,
    metavar="FILE",
    help="Also save a figure (.png, .svg), an animation (.gif) or every number (.json, .npz).",
)
@dialect_options
@click.option("--calibrated", is_flag=True, help="Use calibrated probabilities (temperature scaling).")
@click.option(
    "--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON.")
def command(
    run: str,
    given: str | None,
    text: str | None,
    sequence: str | None,
    output: str | None,
    targets: tuple[str, ...],
    calibrated: bool,
    device: str,
    as_json: bool,
    reading: dict[str, str | int],
) -> None:
    """Explain the prediction of RUN, a run or model directory, for INPUT.

    INPUT is a picture, a file of sequences, or the number of a test sequence as `scanline evaluate` prints
    it; --text gives a text to a model that reads texts. The output is the prediction after each step, and the
    step from which on it does not change. --save adds every gate and state of every layer, and the
    attribution of each input value (integrated gradients).
    """
    from scanline.device import choose_device
    from scanline.errors import UsageError
    from scanline.evaluation.predict_texts import check_reads_text
    from scanline.explanation.attribution import TOLERANCE
    from scanline.explanation.explain import explain, explain_input
    from scanline.explanation.save import check_suffix, save
    from scanline.model.loading import load

    for target in targets:  # before anything is computed or written
        check_suffix(Path(target))
    model = load(run, choose_device(device), calibrated).with_reading(**reading)
    if (given is None) == (text is None):
        raise UsageError("expected INPUT or --text" + (", found both" if given else ", found neither"))
    if text is not None:
        if sequence is not None:
            raise UsageError("--sequence applies to files of several sequences, not to --text")
        check_reads_text(model, given=True)
        explanation = explain(model, text, "the text", output)
    else:
        assert given is not None
        explanation = explain_input(model, run, given, sequence, output)
    for target in targets:
        save(explanation, Path(target))
        say(f"wrote {target}")
    if as_json:
        print_json({"run": run} | explanation.to_json())
        return
    print_text("\n".join(map(shown_name, explanation.lines())))
    trace, shares = explanation.trace, explanation.attribution.values.sum(1)
    for step, probabilities in enumerate(trace.probabilities, 1):
        # The two most probable classes.
        first, *others = probabilities.argsort()[::-1][:2]
        bar = bar_of(probabilities[first])
        token = ""
        if explanation.tokens:  # with what it contributes to the predicted class
            token = f"{shown_name(explanation.tokens[step - 1], 16):<16} {shares[step - 1]:+.3f}  "
        name = shown_name(trace.classes[first])
        line = f"  {step:>4}  {token}{name:<12.12} {probabilities[first]:.4f} {bar:<20} "
        for second in others:  # none if there is only one class
            line += f"{shown_name(trace.classes[second]):.12} {probabilities[second]:.4f}"
        print_text(line.rstrip())
    of = f" of {shown_name(output)}" if output is not None else ""
    click.echo(
        f"  the attributions{of} add up to {explanation.attribution.values.sum():.4f}; "
        f"the difference of logits is {explanation.attribution.difference:.4f}"
    )
    if explanation.attribution.error > TOLERANCE:
        say(f"the attributions are approximate: the sums differ by more than {TOLERANCE}")
