"""scanline predict"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import ScanlineError, UsageError


@click.command(name="predict")
@click.argument("run", type=click.Path())
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--save-input",
    metavar="PNG|DIR",
    help="Write what the network saw: a file for one picture, else a folder.",
)
@click.option(
    "--stream", is_flag=True, help="Read steps from standard input (FILES is -), answer after each."
)
@click.option("--calibrated", is_flag=True, help="Probabilities after temperature scaling.")
@click.option("--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    run: str,
    files: tuple[str, ...],
    save_input: str | None,
    stream: bool,
    calibrated: bool,
    device: str,
    as_json: bool,
) -> int:
    """Name what FILES hold: pictures of any size, or sequences in the formats that training reads.

    A picture (PNG, JPEG, PGM, .npy) is prepared as the training pictures were, dark on light or light on
    dark. A .ts, CSV, Parquet or .npz file may have labels, which are not looked at, or none. RUN is a run
    folder or a bundle.

    With --stream FILES is -: each line of standard input is a step, as CSV or as a JSON list or object, and
    is answered at once; an empty line ends a sequence. With --json every answer is a line of JSON.
    """
    if stream or files == ("-",):
        if files != ("-",) or not stream or save_input:
            raise UsageError("a stream is read as `scanline predict RUN - --stream`, without --save-input")
        return _stream(run, calibrated, device, as_json)
    from scanline.evaluation.predict_files import predict_files

    answers, errors, code = [], [], 0
    for answer in predict_files(run, files, device, save_input, calibrated):
        if isinstance(answer, ScanlineError):
            say(f"scanline: {answer}")
            errors.append(str(answer))
            code = code or answer.exit_code
            continue
        answers.append(answer.to_json())
        if not as_json:
            print_text(_line(answers[-1]))
    if as_json:
        print_json({"run": run, "predictions": answers, "errors": errors})
    return code


def _stream(run: str, calibrated: bool, device: str, as_json: bool) -> int:
    from scanline.device import choose_device
    from scanline.evaluation.predict_lines import predict_lines
    from scanline.model.artifact import load

    model = load(run, choose_device(device), calibrated)
    for answer in predict_lines(model, _input_lines()):
        if as_json:
            click.echo(json.dumps({"schema": 1} | answer.to_json()))
        else:
            label, probability = shown_name(answer.prediction.label), answer.prediction.probability
            ending = "" if probability is None else f"\t{probability:.4f}"
            print_text(f"{answer.sequence}\t{answer.step}\t{label}{ending}")
        sys.stdout.flush()
    return 0


def _input_lines() -> Iterator[str]:
    """The lines of standard input as they come; of a line that is too long no more than shows that it is."""
    from scanline.evaluation.predict_lines import LINE_LIMIT

    if sys.stdin is None:  # the caller closed it
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    while line := sys.stdin.readline(LINE_LIMIT + 2):
        yield line


def _line(answer: dict[str, Any]) -> str:
    file, label = shown_name(answer["file"]), shown_name(answer["label"])
    if "sequence" in answer:
        ending = f" ({answer['probability']:.4f})" if "probability" in answer else ""
        return f"{file}: {shown_name(answer['sequence'])}: {label}{ending}"
    if "probabilities" not in answer:
        return f"{file}: {label}"
    ranked = "  ".join(f"{shown_name(name)}: {share:.4f}" for name, share in answer["probabilities"].items())
    return f"{file}: {label}\n  {ranked}"
