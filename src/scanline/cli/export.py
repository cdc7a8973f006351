"""scanline export"""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.output import print_json, print_text, shown_name
from scanline.errors import UsageError


@click.command(name="export")
@click.argument("run", type=click.Path())
@click.option(
    "--output", required=True, metavar="FILE", help="What to write: .onnx or .keras, as its name ends."
)
@click.option("--step", is_flag=True, help="ONNX for one step, with the states going in and out.")
@click.option("--logits-only", is_flag=True, help="Leave out the probabilities.")
@click.option("--calibrated", is_flag=True, help="Probabilities after temperature scaling.")
@click.option("--opset", type=int, metavar="N", help="Of ONNX.  [default: one that most programs know]")
@click.option("--json", "as_json", is_flag=True, help="Print what was checked as JSON.")
def command(
    run: str,
    output: str,
    step: bool,
    logits_only: bool,
    calibrated: bool,
    opset: int | None,
    as_json: bool,
) -> None:
    """Write the model of RUN, a run folder or a bundle, for other programs.

    An ONNX file takes batches of any size, with steps and lengths of any number, and has the preprocessing
    inside. What is written is run first, over random lengths and batches, and its answers are compared with
    Scanline's own: the largest difference is printed, and above 1e-4 nothing is written.
    """
    from scanline.model.artifact import load

    model, target = load(run, calibrated=calibrated), Path(output)
    kind = target.suffix.lower()
    if kind == ".onnx":
        from scanline.interchange.onnx.write import DEFAULT_OPSET, export_onnx, export_step_graph

        write = export_step_graph if step else export_onnx
        found = write(model, target, probabilities=not logits_only, opset=opset or DEFAULT_OPSET)
    elif kind == ".keras":
        if step or opset:
            raise UsageError("--step and --opset are for .onnx files")
        from scanline.interchange.keras.write import export_keras

        found = export_keras(model, target, probabilities=not logits_only)
    else:
        raise UsageError(f"--output must end in .onnx or .keras, got {output}")
    if as_json:
        print_json({"run": run} | found)
        return
    click.echo(f"largest difference from Scanline's own answers: {found['difference']:.1e}")
    print_text(f"wrote {shown_name(target)}")
