"""Answers for picture files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scanline.data.images import save_picture
from scanline.device import choose_device
from scanline.errors import ScanlineError, UsageError
from scanline.evaluation.model import load


def predict_files(
    run: str | Path, files: Sequence[str], device: str = "cpu", save_input: str | None = None
) -> Iterator[dict[str, Any] | ScanlineError]:
    """For each picture file its answer, or what is wrong with it.

    An answer is {"file", "label", "probability", "probabilities" by class name}.
    save_input: where to write what the network saw: a .png file for a single picture, otherwise a folder.
    Raises ModelError if the run cannot be used, UsageError if it reads no pictures.
    """
    model = load(run, choose_device(device))
    targets = _targets(files, save_input)
    for target in targets:
        if target is not None and any(_same(target, Path(file)) for file in files):
            raise UsageError(f"--save-input would overwrite the picture {target}: name another place")
    for file, target in zip(files, targets, strict=True):
        try:
            prepared = model.prepare(file)
            if target is not None and model.bundle.picture is not None:
                save_picture(prepared, target, model.bundle.picture.levels)
        except UsageError:
            raise
        except ScanlineError as error:
            yield error
            continue
        shares = model.predict_proba(prepared)[0]
        best = int(shares.argmax())
        yield {
            "file": file,
            "label": model.bundle.classes[best],
            "probability": float(shares[best]),
            "probabilities": {
                str(name): float(p) for name, p in zip(model.bundle.classes, shares, strict=True)
            },
        }


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
