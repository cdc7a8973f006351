"""Answers for picture files, and for files of sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scanline.data.found import check_values
from scanline.data.readers.tables import SUFFIXES
from scanline.data.reading import TO_PREDICT, read_source
from scanline.device import choose_device
from scanline.errors import ScanlineError, UsageError
from scanline.formats.images import save_picture
from scanline.model.artifact import Model, load


def predict_files(
    run: str | Path,
    files: Sequence[str],
    device: str = "cpu",
    save_input: str | None = None,
    calibrated: bool = False,
) -> Iterator[dict[str, Any] | ScanlineError]:
    """For each picture, or each sequence of each file, its answer; or what is wrong with the file.

    files: pictures, if the model reads pictures; otherwise, or where the name ends like a table's, an .npz's
    or a .ts file's, whatever a data set can be read from, with labels or without.
    An answer is {"file", "label", "probability", "probabilities" by class name}, with "sequence", its name or
    number, where a file may have several.
    save_input: where to write what the network saw: a .png file for a single picture, otherwise a folder.
    calibrated: probabilities after temperature scaling.
    Raises ModelError if the run cannot be used, UsageError if the request makes no sense.
    """
    model = load(run, choose_device(device), calibrated)
    targets = _targets(files, save_input)
    if save_input is not None and model.preprocessing.picture is None:
        raise UsageError("--save-input is for models of pictures: this one reads sequences")
    for target in targets:
        if target is not None and any(_same(target, Path(file)) for file in files):
            raise UsageError(f"--save-input would overwrite the picture {target}: name another place")
    for file, target in zip(files, targets, strict=True):
        try:
            if model.preprocessing.picture is None or holds_several(file):
                yield from _sequences(model, file)
            else:
                yield _picture(model, file, target)
        except UsageError:
            raise
        except ScanlineError as error:
            yield error


def holds_several(file: str) -> bool:
    """Whether the name of `file` is one of a file or folder of sequences, and not of a picture."""
    return file.lower().endswith((".ts", ".npz", *SUFFIXES)) or Path(file).is_dir()


def _picture(model: Model, file: str, target: Path | None) -> dict[str, Any]:
    prepared, form = model.prepare(file), model.preprocessing.picture
    if target is not None and form is not None:
        save_picture(prepared, target, form.levels)
    return {"file": file} | model.told(model.predict_proba(prepared)[0])


def _sequences(model: Model, file: str) -> Iterator[dict[str, Any]]:
    form = model.preprocessing
    for found in read_source(Path(file), form.settings, TO_PREDICT).values():
        check_values(found, form.missing != "error")
        part = found.sequences
        for index, shares in enumerate(model.answer(part)):
            yield {"file": file, "sequence": part.identifier(index)} | model.told(shares)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _targets(files: Sequence[str], save_input: str | None) -> list[Path | None]:
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
        raise UsageError(
            f"--save-input: cannot make the folder {target}: {error.strerror or error}"
        ) from error
    names = [f"{Path(file).stem}.png" for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--save-input: two pictures would both be written as {target / twice[0]}")
    return [target / name for name in names]
