"""scanline predict"""

from __future__ import annotations

from typing import Any

import click

from scanline.cli.output import print_json, say
from scanline.errors import ScanlineError


@click.command(name="predict")
@click.argument("run", type=click.Path())
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--save-input",
    metavar="PNG|DIR",
    help="Write what the network saw: a file for one picture, else a folder.",
)
@click.option("--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(run: str, files: tuple[str, ...], save_input: str | None, device: str, as_json: bool) -> int:
    """Name what FILES hold: pictures of any size, or sequences in the formats that training reads.

    A picture (PNG, JPEG, PGM, .npy) is prepared as the training pictures were, dark on light or light on
    dark. A .ts, CSV, Parquet or .npz file may have labels, which are not looked at, or none. RUN is a run
    folder or a bundle.
    """
    from scanline.evaluation.answers import predict_files

    answers, errors, code = [], [], 0
    for answer in predict_files(run, files, device, save_input):
        if isinstance(answer, ScanlineError):
            say(f"scanline: {answer}")
            errors.append(str(answer))
            code = code or answer.exit_code
            continue
        answers.append(answer)
        if not as_json:
            click.echo(_line(answer))
    if as_json:
        print_json({"run": run, "predictions": answers, "errors": errors})
    return code


def _line(answer: dict[str, Any]) -> str:
    if "sequence" in answer:
        return f"{answer['file']}: {answer['sequence']}: {answer['label']} ({answer['probability']:.4f})"
    ranked = "  ".join(f"{name}: {share:.4f}" for name, share in answer["probabilities"].items())
    return f"{answer['file']}: {answer['label']}\n  {ranked}"
