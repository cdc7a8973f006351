"""The command `scanline predict`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from scanline.cli.data_options import dialect_options
from scanline.cli.output import print_json, print_text, say, say_unknown, shown_name
from scanline.errors import DataError, ScanlineError, UsageError


@click.command(name="predict")
@click.argument("run", type=click.Path())
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Predict this text; may be repeated.")
@click.option(
    "--save-input",
    metavar="PNG|DIR",
    help="Save the prepared pictures: a file for one picture, else a folder.",
)
@click.option(
    "--stream", is_flag=True, help="Read steps from standard input (FILES is -) and predict after each."
)
@click.option("--to", metavar="FILE", help="Write the predictions to this .parquet or .csv file.")
@dialect_options
@click.option("--calibrated", is_flag=True, help="Use calibrated probabilities (temperature scaling).")
@click.option(
    "--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print the predictions as JSON.")
def command(
    run: str,
    files: tuple[str, ...],
    texts: tuple[str, ...],
    save_input: str | None,
    stream: bool,
    to: str | None,
    calibrated: bool,
    device: str,
    as_json: bool,
    reading: dict[str, str | int],
) -> int:
    """Predict the class, or the number, of FILES with the model of RUN, a run or model directory.

    FILES are pictures (PNG, JPEG, PGM, .npy) of any size, dark on light or light on dark, which are prepared
    like the training pictures; .ts, CSV, Parquet or .npz files of sequences; or packed data sets (a folder or
    a URI), which are read piece by piece. Labels in them are ignored.

    Texts are given with --text, or as lines of standard input (FILES is -), to a model that reads texts.

    With --stream, FILES is - and each line of standard input is a step, as CSV or as a JSON list or object.
    A prediction is printed after each step; an empty line ends a sequence. With --json, each prediction is a
    line of JSON.
    """
    if bool(files) == bool(texts):
        raise UsageError("expected FILES or --text" + (", found both" if files else ", found neither"))
    if texts or (files == ("-",) and not stream):
        if stream or save_input or to:
            raise UsageError("--stream, --save-input and --to are not for --text and lines of text")
        return _texts(run, texts, calibrated, device, as_json)
    if stream:
        if files != ("-",) or not stream or save_input or to:
            raise UsageError(
                "expected `scanline predict RUN - --stream` for a stream, without --save-input and --to"
            )
        return _stream(run, calibrated, device, as_json, reading)
    from scanline.evaluation.predict_files import Categories
    from scanline.scoring.predict import FaultySequence, predict, write_predictions

    results = predict(run, files, device, save_input, calibrated, reading)
    if to is not None:
        results = write_predictions(run, files, results, to, calibrated)
    predictions, errors, categories, count, code = [], [], [], 0, 0
    for result in results:
        if isinstance(result, FaultySequence | ScanlineError):
            error = result.error if isinstance(result, FaultySequence) else result
            place = f"{shown_name(result.file)}: " if isinstance(result, FaultySequence) else ""
            say(f"scanline: {place}{error}")
            errors.append(place + str(error))
            # The first error decides the exit code; the remaining files are still predicted.
            code = code or error.exit_code
            continue
        if isinstance(result, Categories):
            say_unknown(result.file, result.unknown, result.n)
            categories.append({"file": result.file, "n": result.n, "unknown": result.unknown})
            continue
        count += 1
        if to is None and as_json:
            predictions.append(result.to_json())
        elif to is None:
            print_text(_line(result.to_json()))
    if as_json:
        found = {"predictions": predictions} if to is None else {"to": to, "n": count}
        counted = {"categories": categories} if categories else {}
        print_json({"run": run, **found, **counted, "errors": errors})
    elif to is not None:
        print_text(f"{count:,} predictions written to {shown_name(to)}")
    return code


def _texts(run: str, texts: tuple[str, ...], calibrated: bool, device: str, as_json: bool) -> int:
    """Predict texts, or the lines of standard input if there are none."""
    from scanline.device import choose_device
    from scanline.evaluation.predict_texts import check_reads_text, predict_texts
    from scanline.model.loading import load

    model = load(run, choose_device(device), calibrated)
    check_reads_text(model, bool(texts))
    predictions, unknown, count = [], 0, 0
    for result in predict_texts(model, texts or _lines()):
        unknown, count = unknown + result.unknown, count + result.tokens
        if as_json:
            predictions.append(result.to_json())
        else:
            print_text(_line({"file": shown_name(result.text, 60)} | result.prediction.to_json()))
    if unknown:
        say_unknown("the texts", unknown, count)
    if as_json:
        counted = {"categories": [{"file": "texts", "n": count, "unknown": unknown}]} if unknown else {}
        print_json({"run": run, "predictions": predictions, **counted, "errors": []})
    return 0


def _lines() -> Iterator[str]:
    """Yield the lines of standard input that hold a text."""
    from scanline.evaluation.predict_lines import LINE_LIMIT

    for number, line in enumerate(_input_lines(), 1):
        if len(line.rstrip("\r\n")) > LINE_LIMIT:
            raise DataError(f"line {number}: expected at most {LINE_LIMIT:,} characters, found more")
        if line.strip():
            yield line.strip()


def _stream(run: str, calibrated: bool, device: str, as_json: bool, reading: dict[str, str | int]) -> int:
    from scanline.device import choose_device
    from scanline.evaluation.predict_lines import predict_lines
    from scanline.model.loading import load

    # Loaded before the first line is read, so that a wrong run is reported without input.
    model = load(run, choose_device(device), calibrated).with_reading(**reading)
    for result in predict_lines(model, _input_lines()):
        if as_json:
            click.echo(json.dumps({"schema": 1} | result.to_json()))
        else:
            prediction = result.prediction
            label, ending = _shown_label(prediction.label, prediction.probability), ""
            if prediction.probability is not None:
                ending = f"\t{prediction.probability:.4f}"
            elif prediction.low is not None:
                ending = f"\t{prediction.low:.6g}\t{prediction.high:.6g}"
            print_text(f"{result.sequence}\t{result.step}\t{label}{ending}")
        # A reader at the other end of a pipe expects each prediction as soon as it exists.
        sys.stdout.flush()
    return 0


def _input_lines() -> Iterator[str]:
    """Yield the lines of standard input as they arrive, cut just above the limit if they are too long."""
    from scanline.evaluation.predict_lines import LINE_LIMIT

    if sys.stdin is None:  # closed by the caller
        return
    # The locale must not decide how data are decoded; invalid bytes then fail as values, with a line
    # number. "utf-8-sig" skips a byte-order mark, as in files.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
    # `readline` with a limit: iterating over stdin would read a line of any length into memory. Two more
    # characters, so that a line above the limit is still recognised after its line break is removed.
    while line := sys.stdin.readline(LINE_LIMIT + 2):
        yield line


def _shown_label(label: object, probability: float | None) -> str:
    """Return a class as it is, and a predicted number, which has no probability, with seven digits."""
    is_number = isinstance(label, float) and probability is None
    # Of several classes none may be predicted.
    return f"{label:.7g}" if is_number else shown_name(label) or "-"


def _line(result: dict[str, Any]) -> str:
    file, label = shown_name(result["file"]), _shown_label(result["label"], result.get("probability"))
    interval = f" ({result['low']:.6g} to {result['high']:.6g})" if "low" in result else ""
    if "sequence" in result:
        ending = f" ({result['probability']:.4f})" if "probability" in result else interval
        step = f", step {result['step']}" if "step" in result else ""
        return f"{file}: {shown_name(result['sequence'])}{step}: {label}{ending}"
    if "probabilities" not in result:
        return f"{file}: {label}{interval}"
    probabilities = result["probabilities"].items()
    ranked = "  ".join(f"{shown_name(name)}: {probability:.4f}" for name, probability in probabilities)
    return f"{file}: {label}\n  {ranked}"
