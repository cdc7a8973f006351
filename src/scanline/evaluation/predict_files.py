"""Predictions for picture files and for files of sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scanline import formats
from scanline.data.checks import check_values
from scanline.data.readers.recordings import is_recording
from scanline.data.readers.tables import SUFFIXES
from scanline.data.reading import TO_PREDICT, read_sources
from scanline.device import choose_device
from scanline.errors import ScanlineError, UsageError
from scanline.formats.png import encode_levels
from scanline.model.artifact import TrainedModel
from scanline.model.loading import load
from scanline.storage.atomic import write_atomic
from scanline.tasks.base import DecodedPrediction, JsonObject


@dataclass(frozen=True)
class FilePrediction:
    """The prediction for a picture or a WAV file, or for one sequence of a file.

    Attributes:
        file: The file as it was given.
        prediction: The prediction.
        sequence: Identifier or index of the sequence, for files that may hold several; None for
            pictures and WAV files.
        step: Number of the step in its sequence, counted from 1; None if sequences have one prediction each.
    """

    file: str
    prediction: DecodedPrediction
    sequence: int | str | None = None
    step: int | None = None

    def to_json(self) -> JsonObject:
        """Return the prediction as a JSON object, without "sequence" or "step" if that is None."""
        place = {"sequence": self.sequence, "step": self.step}
        given = {name: value for name, value in place.items() if value is not None}
        return {"file": self.file} | given | self.prediction.to_json()


@dataclass(frozen=True)
class Categories:
    """How many categories of a file the model does not know; yielded where it is not 0.

    Attributes:
        file: The file as it was given.
        n: Number of categories that are not missing.
        unknown: Number of those that the model does not know.
    """

    file: str
    n: int
    unknown: int


def predict_files(
    run: str | Path,
    files: Sequence[str],
    device: str = "cpu",
    save_input: str | None = None,
    calibrated: bool = False,
    reading: Mapping[str, str | int] | None = None,
) -> Iterator[FilePrediction | Categories | ScanlineError]:
    """Yield a prediction for each picture, or for each sequence of each file.

    A file that cannot be read yields its error instead, and the next one is read. The predictions of a file
    follow the count of categories that the model does not know, if there are any.

    Args:
        run: A run directory or a model folder.
        files: Pictures, if the model reads pictures; otherwise, or if the name ends like that of a table, an
            .npz or a .ts file, anything that a dataset can be read from, with targets or without.
        device: "auto", "cpu", "cuda" or "cuda:N".
        save_input: Where to write the prepared pictures: a .png file for a single picture,
            otherwise a folder.
        calibrated: Whether probabilities are calibrated.
        reading: As for `Model.with_reading`.

    Raises:
        ModelError: If the run has no usable model.
        UsageError: If the arguments do not fit together.
    """
    model = load(run, choose_device(device), calibrated).with_reading(**(reading or {}))
    targets = _targets(files, save_input)
    if save_input is not None and model.preprocessing.picture is None:
        raise UsageError("--save-input is for models of pictures, this one reads sequences")
    # Checked for all files before the first is written.
    for target in targets:
        if target is not None and any(_is_same_file(target, Path(file)) for file in files):
            raise UsageError(f"--save-input would overwrite the picture {target}: name another place")
    for file, target in zip(files, targets, strict=True):
        try:
            if model.preprocessing.picture is None or holds_several(file):
                yield from _predict_sequences(model, file)
            else:
                yield _predict_picture(model, file, target)
        # A wrong request concerns every file, so it ends the command; other errors concern one file.
        except UsageError:
            raise
        except ScanlineError as error:
            yield error


def holds_several(file: str) -> bool:
    """Return whether `file` is named like a file or folder of sequences, and not like a picture."""
    path = Path(file)
    return (
        path.name.lower().endswith((".npz", *SUFFIXES)) or formats.for_path(path) is not None or path.is_dir()
    )


def _predict_picture(model: TrainedModel, file: str, target: Path | None) -> FilePrediction:
    prepared, form = model.prepare(file), model.preprocessing.picture
    if target is not None and form is not None:
        write_atomic(target, encode_levels(prepared, form.levels))
    return FilePrediction(file, model.task.decode(model.predict_proba(prepared)[0]))


def _predict_sequences(model: TrainedModel, file: str) -> Iterator[FilePrediction | Categories]:
    form = model.preprocessing
    # One source at a time, so that predictions appear before the next split of the file is processed.
    for source in read_sources(Path(file), form.settings, TO_PREDICT).values():
        check_values(source, form.missing != "error", trained=True)
        steps = model.steps(source)
        unknown, present = model.unknown(steps)
        if unknown:
            yield Categories(file, present, unknown)
        probabilities = model.probabilities_of_steps(steps)
        if not model.task.per_step:
            for index, row in enumerate(probabilities):
                name = None if is_recording(Path(file)) else source.identifier(index)
                yield FilePrediction(file, model.task.decode(row), name)
            continue
        rows = iter(probabilities)
        for index, length in enumerate(source.lengths.tolist()):
            for step in range(1, length + 1):
                yield FilePrediction(file, model.task.decode(next(rows)), source.identifier(index), step)


def _is_same_file(one: Path, other: Path) -> bool:
    # `samefile` compares inodes, so links and different spellings of a path are recognised.
    return one.exists() and other.exists() and one.samefile(other)


def _targets(files: Sequence[str], save_input: str | None) -> list[Path | None]:
    """Return the path for the prepared input of each file, or None."""
    if save_input is None:
        return [None] * len(files)
    target = Path(save_input)
    if target.suffix.lower() == ".png" and not target.is_dir():
        if len(files) > 1:
            raise UsageError(f"--save-input must be a folder for {len(files)} pictures, got {save_input}")
        return [target]
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--save-input: cannot make the folder {target}: {reason}") from error
    names = [f"{Path(file).stem}.png" for file in files]
    # Files of different folders may share a name; the second would silently replace the first.
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--save-input: two pictures would both be written as {target / twice[0]}")
    return [target / name for name in names]
