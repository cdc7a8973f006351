"""The command `scanline export`."""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.output import print_json, print_text, shown_name
from scanline.errors import UsageError


@click.command(name="export")
@click.argument("run", type=click.Path())
@click.option("--output", required=True, metavar="FILE", help="File to write, ending in .onnx or .keras.")
@click.option("--step", is_flag=True, help="ONNX graph of one step with states as inputs and outputs.")
@click.option("--logits-only", is_flag=True, help="Leave out the softmax.")
@click.option("--calibrated", is_flag=True, help="Use calibrated probabilities (temperature scaling).")
@click.option("--opset", type=int, metavar="N", help="ONNX opset.  [default: a widely supported one]")
@click.option("--json", "as_json", is_flag=True, help="Print the verification as JSON.")
def command(
    run: str,
    output: str,
    step: bool,
    logits_only: bool,
    calibrated: bool,
    opset: int | None,
    as_json: bool,
) -> None:
    """Export the model of RUN, a run or model directory, to ONNX or Keras.

    An ONNX file accepts any batch size and any number of steps, and includes the preprocessing. Before it
    is written, the exported model is run on random batches and compared with Scanline: the largest
    difference is printed, and above 1e-4 nothing is written.
    """
    from scanline.api import export
    from scanline.model.loading import load

    model, target = load(run, calibrated=calibrated), Path(output)
    if target.suffix.lower() not in (".onnx", ".keras"):
        raise UsageError(f"--output must end in .onnx or .keras, got {output}")
    if (step or opset) and target.suffix.lower() == ".keras":
        raise UsageError("--step and --opset are for .onnx files")
    verification = export(model, target, step=step, probabilities=not logits_only, opset=opset)
    if as_json:
        print_json({"run": run} | verification)
        return
    click.echo(f"largest difference from Scanline's predictions: {verification['difference']:.1e}")
    print_text(f"wrote {shown_name(target)}")
    if "vocabulary" in verification:
        print_text(f"wrote {shown_name(verification['vocabulary'])}, the names of the ids")
