"""Pictures as sequences of rows: from values that are grey levels, and from folders of picture files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, first_wrong, name_classes
from scanline.data.frame import fit_picture
from scanline.data.images import read_pixels
from scanline.data.prepare import PictureFormat
from scanline.data.sequences import ClassName, Sequences
from scanline.data.splits import PARTS
from scanline.errors import DataError
from scanline.recipe import DataSettings

ENDINGS = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp")
PART_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def picture_format(height: int, width: int, channels: int, settings: DataSettings) -> PictureFormat:
    """How a picture file gets to look like pictures of this size. settings: what was said of the fit."""
    box = max(1, round(20 / 28 * min(height, width)))  # as in MNIST
    return PictureFormat(
        height, width, box, 255, "mass", 3 if channels == 3 else 1, settings.fit or "contain"
    )


def as_pictures(found: Found, size: tuple[int, int], guessed: str = "", channels: int = 1) -> Found:
    """`found`, whose sequences hold pixels in reading order, as pictures of `size` (height, width).

    channels: values a pixel, 1 for grey levels, 3 for colours. guessed: why they are taken for pictures, if
    nobody said so.
    Raises DataError naming the first value that is no grey level.
    """
    part, (height, width) = found.sequences, size
    wanted = height * width * channels
    if not part.uniform or part.steps * part.features != wanted:
        raise DataError(
            f"{part.source}: expected {wanted:,} values a sequence, pictures of {height} x {width}, "
            f"found {part.lengths.min() * part.features:,} to {part.steps * part.features:,}"
        )
    values = part.flat
    if values.dtype != np.uint8:
        place = first_wrong(values, lambda v: ~((v >= 0) & (v <= 255) & (v % 1 == 0)))
        if place is not None:
            value = values[place]
            seen = "nothing" if np.isnan(value) else f"{value:g}"
            found.fail(*place, f"expected a grey level, a whole number from 0 to 255, found {seen}")
        values = values.astype(np.uint8)
    lengths = np.full(len(part), height, np.int64)
    note = f"pictures of {height} x {width} pixels, {guessed} (data.picture=none: they are not)"
    return replace(
        found,
        sequences=replace(part, flat=values.reshape(-1, width * channels), lengths=lengths),
        settings=found.settings.model_copy(update={"picture": f"{height}x{width}"}),
        features=(),
        notes=(*found.notes, note) if guessed else found.notes,
        scale=255.0,
        picture=picture_format(height, width, channels, found.settings),
    )


def is_picture_folder(folder: Path) -> bool:
    """Whether there are pictures in its sub-folders, or in theirs."""
    return any(_pictures_in(child) for child in _folders(folder)) or any(
        _pictures_in(grandchild)
        for child in _folders(folder)
        if child.name.lower() in PART_FOLDERS
        for grandchild in _folders(child)
    )


def read_picture_folder(folder: Path, settings: DataSettings) -> dict[str, Found]:
    """A folder of picture files: {"all": ...}, or {"train": ..., "test": ...}, perhaps with "validation".

    Each class has a sub-folder of its name, in `folder` itself or in its train/, test/ and validation/.
    Pictures are read in the order of their classes' and their own names, 2.png before 10.png. They are
    fitted to settings.picture, or must all have one size.
    Raises DataError naming the file that is no picture or has another size, and if there are no two classes.
    """
    parts = {
        PART_FOLDERS[child.name.lower()]: child
        for child in _folders(folder)
        if child.name.lower() in PART_FOLDERS and any(map(_pictures_in, _folders(child)))
    }
    if not parts:
        return {"all": _read_classes(folder, settings)}
    found: dict[str, Found] = {}
    for part in PARTS:
        if part in parts:
            found[part] = _read_classes(parts[part], settings, part == "train")
            settings = settings.model_copy(update={"picture": found[part].settings.picture})
    return found


def _read_classes(folder: Path, settings: DataSettings, several: bool = True) -> Found:
    named = {child.name: _pictures_in(child) for child in _folders(folder)}
    named = {name: files for name, files in named.items() if files}
    if len(named) < 2 and several:
        raise DataError(
            f"{folder}: expected at least two sub-folders with pictures, one for each class, "
            f"found {', '.join(named) or 'none'}"
        )
    files = [path for paths in named.values() for path in paths]
    codes = np.repeat(np.arange(len(named)), [len(paths) for paths in named.values()])

    def where(index: int, step: int = 0) -> str:
        return str(files[index].relative_to(folder))

    classes: tuple[ClassName, ...]
    classes, labels = name_classes(list(named), codes, str(folder), where)
    order = np.argsort(labels, kind="stable")  # 2 before 10, also where the classes are numbers
    files, labels = [files[index] for index in order], labels[order]
    values, notes = _read_files(files, settings)
    n, height, width, channels = values.shape
    sequences = Sequences(
        values.reshape(-1, width * channels),
        np.full(n, height, np.int64),
        labels,
        classes,
        str(folder),
        ids=np.array([str(path.relative_to(folder)) for path in files], dtype=object),
    )
    chosen = settings.model_copy(update={"picture": f"{height}x{width}"})
    form = picture_format(height, width, channels, settings)
    return Found(sequences, chosen, where, notes=notes, scale=255.0, picture=form)


def _read_files(files: list[Path], settings: DataSettings) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(N, height, width, channels), and what was guessed."""
    channels = 3 if settings.colour else 1
    size = settings.picture_size
    first = read_pixels(files[0], settings.colour)
    height, width = size or first.shape[:2]
    form = picture_format(height, width, channels, settings)
    values = np.empty((len(files), height, width, channels), np.uint8)
    for index, path in enumerate(files):
        pixels = first if index == 0 else read_pixels(path, settings.colour)
        if size is None and pixels.shape[:2] != (height, width):
            raise DataError(
                f"{path}: expected a picture of {height} x {width} pixels as {files[0].name}, found "
                f"{pixels.shape[0]} x {pixels.shape[1]}; say to which size all are fitted, as "
                "--picture 28x28"
            )
        values[index] = fit_picture(pixels, form, str(path)).reshape(values.shape[1:])
    notes = () if size else (f"{files[0].parent.parent}: pictures of {height} x {width}, the size of all",)
    return values, notes


def _folders(folder: Path) -> list[Path]:
    return sorted(
        (Path(e) for e in _entries(folder) if e.is_dir() and not e.name.startswith(".")), key=_natural
    )


def _pictures_in(folder: Path) -> list[Path]:
    files = (e for e in _entries(folder) if e.name.lower().endswith(ENDINGS) and not e.name.startswith("."))
    return sorted((Path(entry) for entry in files), key=_natural)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _natural(path: Path) -> list[Any]:
    """2.png before 10.png."""
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", path.name)]
