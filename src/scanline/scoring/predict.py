"""The predictions of `scanline predict`, also for packed data sets, one after another or in a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.data.packed.location import Location, is_uri
from scanline.data.packed_data import is_packed
from scanline.device import choose_device
from scanline.errors import ScanlineError, UsageError
from scanline.evaluation.predict_files import Categories, FilePrediction, predict_files
from scanline.scoring.columns import require_pyarrow
from scanline.scoring.output import FileFormat, format_of, table_writer
from scanline.scoring.scorer import Scorer
from scanline.scoring.work import PackedWork
from scanline.storage.atomic import atomic_file

_BATCH_ROWS = 2**13


@dataclass(frozen=True)
class FaultySequence:
    """A sequence of a packed data set that the model cannot read.

    Attributes:
        file: The data set as it was given.
        sequence: Identifier of the sequence.
        error: What is wrong with it.
    """

    file: str
    sequence: str | None
    error: ScanlineError


Result = FilePrediction | Categories | FaultySequence | ScanlineError


def predict(
    run: str,
    files: Sequence[str],
    device: str = "cpu",
    save_input: str | None = None,
    calibrated: bool = False,
    reading: Mapping[str, str | int] | None = None,
) -> Iterator[Result]:
    """Yield a prediction for each picture, or for each sequence of each file.

    Packed data sets are read row group by row group, and a faulty sequence does not end them. For the
    arguments, other files and errors see `predict_files`; for the errors of packed data sets see `Scorer`.
    """
    # All files in one call, so that clashes among them are found before the first is predicted.
    if not any(map(is_packed, files)):
        yield from predict_files(run, files, device, save_input, calibrated, reading)
        return
    if save_input is not None:
        raise UsageError("--save-input is for picture files, not for packed data sets")
    # Files keep their order; the model is loaded once for files of the same kind that follow each other.
    for packed, group in itertools.groupby(files, is_packed):
        if not packed:
            yield from predict_files(run, list(group), device, None, calibrated, reading)
            continue
        scorer = Scorer.open(run, calibrated, device=choose_device(device))
        for file in group:
            try:
                yield from _predict_packed(scorer, file)
            except UsageError:
                raise
            except ScanlineError as error:
                yield error


def _predict_packed(scorer: Scorer, file: str) -> Iterator[Result]:
    work = PackedWork.open(Location.parse(file))
    work.check(scorer.model.preprocessing, scorer.model.data)
    for unit in work.units:
        for name, found in scorer.predictions(work.read(unit)):
            if isinstance(found, ScanlineError):
                yield FaultySequence(file, name, found)
            else:
                yield FilePrediction(file, found, name or "")


def write_predictions(
    run: str, files: Sequence[str], results: Iterable[Result], to: str, calibrated: bool = False
) -> Iterator[Result]:
    """Write predictions to a file, which appears when all are written, and yield them.

    Args:
        run: A run directory or a model folder.
        files: The files that are predicted, none of which may be overwritten.
        results: The predictions.
        to: A file that ends in .parquet or .csv. It has the columns file, id, prediction, probability,
            probabilities and error; step if each step has a prediction; low and high if predictions have
            intervals.
        calibrated: Whether probabilities are calibrated.

    Raises:
        UsageError: If the file cannot be the result; says why.
        ScanlineError: If it cannot be written.
    """
    kind = _check_target(to, files)
    pa = require_pyarrow("--to")
    scorer = Scorer.open(run, calibrated)
    fields = [each for each in scorer.schema if each.name != "split"]
    if scorer.model.task.per_step:
        fields.insert(1, pa.field("step", pa.int64()))
    schema = pa.schema([pa.field("file", pa.string()), *fields], metadata=scorer.schema.metadata)
    with atomic_file(Path(to)) as file, table_writer(file, kind, schema) as writer:
        for batch in _batched(results):
            rows = [_row(each) for each in batch if not isinstance(each, Categories)]
            writer.write(pa.Table.from_pylist(rows, schema=schema))
            yield from batch


def _check_target(to: str, files: Sequence[str]) -> FileFormat:
    kind = format_of(to)
    if is_uri(to):
        raise UsageError(f"--to: expected a file on this machine, got {to}; `scanline score` writes to URIs")
    for file in map(Path, files):
        if Path(to).exists() and file.exists() and file.samefile(to):
            raise UsageError(f"--to would overwrite {file}: name another file")
    return kind


def _batched(results: Iterable[Result]) -> Iterator[list[Result]]:
    iterator = iter(results)
    while batch := list(itertools.islice(iterator, _BATCH_ROWS)):
        yield batch


def _row(result: FilePrediction | FaultySequence | ScanlineError) -> dict[str, Any]:
    """Return a result as a row of the file. An error of a file has no id."""
    if isinstance(result, ScanlineError):
        return {"error": str(result)}
    name = None if result.sequence is None else str(result.sequence)
    row: dict[str, Any] = {"file": result.file, "id": name}
    if isinstance(result, FaultySequence):
        return row | {"error": str(result.error)}
    if result.step is not None:
        row["step"] = result.step
    found = result.prediction
    label = found.label if isinstance(found.label, float) and found.probability is None else str(found.label)
    named = found.probabilities
    probabilities = None if named is None else list(named.values())
    ends = {"low": found.low, "high": found.high}
    return (
        row
        | ends
        | {
            "prediction": label,
            "probability": found.probability,
            "probabilities": probabilities,
        }
    )
