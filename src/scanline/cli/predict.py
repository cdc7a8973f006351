"""scanline predict"""

from __future__ import annotations

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
    """Name what is on FILES: PNG, JPEG, PGM or .npy pictures of any size, dark on light or light on dark.

    Each is prepared as the training pictures were. RUN is a run folder or a bundle.
    """
    from scanline.evaluation.pictures import predict_files

    answers, errors, code = [], [], 0
    for answer in predict_files(run, files, device, save_input):
        if isinstance(answer, ScanlineError):
            say(f"scanline: {answer}")
            errors.append(str(answer))
            code = code or answer.exit_code
            continue
        answers.append(answer)
        if not as_json:
            ranked = "  ".join(f"{name}: {share:.4f}" for name, share in answer["probabilities"].items())
            click.echo(f"{answer['file']}: {answer['label']}\n  {ranked}")
    if as_json:
        print_json({"run": run, "predictions": answers, "errors": errors})
    return code
