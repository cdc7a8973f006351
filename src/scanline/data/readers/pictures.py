"""Pictures as sequences of rows: from values that are grey levels, and from folders of picture files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, check_names, first_wrong, name_classes, some
from scanline.data.memory import MemorySource
from scanline.data.splits import PARTS
from scanline.data.transforms.framing import fit_picture
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import DataError, UsageError, printable
from scanline.formats.images import read_pixels
from scanline.recipe import DataSettings

ENDINGS = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp")
SIDE_LIMIT = 4096  # pixels
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
    """How a picture file gets to look like pictures of this size. settings: what was said of the fit.

    Raises UsageError if they are too large, or coloured pictures are to be fitted by their ink.
    """
    if max(height, width) > SIDE_LIMIT:
        raise UsageError(
            f"pictures must be at most {SIDE_LIMIT} pixels high and wide, got {height} x {width}; say to "
            "which size all are fitted, as --picture 28x28"
        )
    if channels == 3 and settings.fit == "ink":
        raise UsageError("data.fit must be contain, cover or stretch for pictures in colour, got ink")
    box = max(1, round(20 / 28 * min(height, width)))  # as in MNIST
    return PictureFormat(
        height, width, box, 255, "mass", 3 if channels == 3 else 1, settings.fit or "contain"
    )


def as_pictures(found: Found, size: tuple[int, int], guessed: str = "", channels: int = 1) -> Found:
    """`found`, whose sequences hold pixels in reading order, as pictures of `size` (height, width).

    channels: values a pixel, 1 for grey levels, 3 for colours. guessed: why they are taken for pictures, if
    nobody said so.
    Raises DataError naming the first value that is no grey level, or if there are too many or too few.
    """
    part, (height, width) = found.sequences, size
    wanted = height * width * channels
    if not part.uniform or part.max_length * part.features != wanted:
        most = part.max_length * part.features
        counts = f"{most:,}" if part.uniform else f"{part.lengths.min() * part.features:,} to {most:,}"
        raise DataError(
            f"{part.name}: expected {wanted:,} values a sequence, pictures of {height} x {width}"
            + (" in colour" if channels == 3 else "")
            + f", found {counts}"
        )
    values = part.concatenated
    if values.dtype != np.uint8:
        place = first_wrong(values, lambda v: ~((v >= 0) & (v <= 255) & (np.trunc(v) == v)))
        if place is not None:
            value = values[place]
            seen = "nothing" if np.isnan(value) else f"{value:g}"
            found.fail(*place, f"expected a grey level, a whole number from 0 to 255, found {seen}")
        values = values.astype(np.uint8)
    lengths = np.full(len(part), height, np.int64)
    note = f"pictures of {height} x {width} pixels, {guessed} (data.picture=none: they are not)"
    return replace(
        found,
        sequences=replace(part, concatenated=values.reshape(-1, width * channels), lengths=lengths),
        settings=_settled(found.settings, height, width, channels),
        features=(),
        notes=(*found.notes, note) if guessed else found.notes,
        scale=255.0,
        picture=picture_format(height, width, channels, found.settings),
    )


def _settled(settings: DataSettings, height: int, width: int, channels: int) -> DataSettings:
    return settings.model_copy(update={"picture": f"{height}x{width}", "colour": channels == 3})


# --- folders


@dataclass(frozen=True)
class _Content:
    """What lies in a folder and is not hidden, each in natural order."""

    folders: list[Path]
    pictures: list[Path]
    others: list[Path]


def is_picture_folder(folder: Path) -> bool:
    """Whether there are pictures in its sub-folders, or in those of its train/, test/ and validation/."""
    return _holds_classes(folder) or bool(_part_folders(folder))


def read_picture_folder(folder: Path, settings: DataSettings, to_train: bool = True) -> dict[str, Found]:
    """A folder of picture files: {"all": ...}, or {"train": ..., "test": ...}, perhaps with "validation".

    Each class has a sub-folder of its name, in `folder` itself or in its train/, test/ and validation/.
    Pictures are read in the order of their classes' and their own names, 2.png before 10.png. They are
    fitted to settings.picture, or must all have one size. What else lies there is left out, which is noted.
    to_train: whether two classes, and a training part where there are parts, are needed.
    Raises DataError naming the file that is no picture or has another size, and if there are too few classes;
    UsageError if two folders may be the same part, or settings say that these are no pictures.
    """
    if settings.picture == "none":
        raise UsageError(f"data.picture must be empty or a size for {folder}, which has pictures, got none")
    parts = _part_folders(folder)
    if not parts:
        return {"all": _read_classes(folder, settings, to_train)}
    if to_train and "train" not in parts:
        names = " and ".join(child.name for child in parts.values())
        raise DataError(f"{folder}: expected a folder train with pictures beside {names}, found none")
    found: dict[str, Found] = {}
    like: Path | None = None
    for part in PARTS:
        if part in parts:
            found[part] = _read_classes(parts[part], settings, to_train and part == "train", like)
            like = like or parts[part] / _ids(found[part])[0]
    content, first = _content(folder), next(iter(found))
    left = [path for path in (*content.folders, *content.pictures) if path not in parts.values()]
    found[first] = replace(found[first], notes=(*found[first].notes, *_left_out(folder, left)))
    return found


def _ids(found: Found) -> NDArray[Any]:
    assert found.sequences.ids is not None
    return found.sequences.ids


def _part_folders(folder: Path) -> dict[str, Path]:
    """The folders of the parts that have pictures. Raises UsageError if two of them may be the same part."""
    parts: dict[str, Path] = {}
    for child in _content(folder).folders:
        part = PART_FOLDERS.get(child.name.lower())
        if part is None or not _holds_classes(child):
            continue
        if part in parts:
            raise UsageError(
                f"{folder}: which of these has the {part} part? Leave one: {parts[part].name}, {child.name}"
            )
        parts[part] = child
    return parts


def _holds_classes(folder: Path) -> bool:
    return any(_content(child).pictures for child in _content(folder).folders)


def _read_classes(folder: Path, settings: DataSettings, several: bool, like: Path | None = None) -> Found:
    """like: the picture whose size these must have if settings name none, or None: the first of them."""
    content = _content(folder)
    inside = {child: _content(child) for child in content.folders}
    named = {child.name: each.pictures for child, each in inside.items() if each.pictures}
    if several and len(named) < 2:
        raise DataError(
            f"{folder}: expected at least two sub-folders with pictures, one for each class, "
            f"found {', '.join(named) or 'none'}"
        )
    left = [child for child, each in inside.items() if not each.pictures] + content.pictures
    left += [path for each in inside.values() if each.pictures for path in (*each.folders, *each.others)]
    files = [path for paths in named.values() for path in paths]
    codes = np.repeat(np.arange(len(named)), [len(paths) for paths in named.values()])

    def where(index: int, step: int = 0) -> str:
        return str(files[index].relative_to(folder))

    classes, labels = name_classes(list(named), codes, str(folder), where)
    check_names(classes, str(folder))
    order = np.argsort(labels, kind="stable")  # 2 before 10, also where the classes are numbers
    files, labels = [files[index] for index in order], labels[order]
    values, notes = _read_files(folder, files, settings, like or files[0])
    n, height, width, channels = values.shape
    sequences = MemorySource(
        values.reshape(-1, width * channels),
        np.full(n, height, np.int64),
        labels,
        classes,
        str(folder),
        ids=np.array([printable(str(path.relative_to(folder))) for path in files], dtype=object),
    )
    return Found(
        sequences,
        _settled(settings, height, width, channels),
        where,
        notes=(*notes, *_left_out(folder, left)),
        scale=255.0,
        picture=picture_format(height, width, channels, settings),
    )


def _left_out(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    names = [str(path.relative_to(folder)) for path in paths]
    return (
        (f"{folder}: left out what is no picture in the folder of a class: {some(names)}",) if names else ()
    )


def _read_files(
    folder: Path, files: list[Path], settings: DataSettings, like: Path
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(N, height, width, channels), and what the user should know of their size."""
    channels = 3 if settings.colour else 1
    size = settings.picture_size
    height, width = size or read_pixels(like, settings.colour).shape[:2]
    form = picture_format(height, width, channels, settings)
    try:
        values = np.empty((len(files), height, width, channels), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{folder}: {len(files):,} pictures of {height} x {width} do not fit into memory; say to which "
            "size all are fitted, as --picture 28x28"
        ) from error
    fitted = 0
    for index, path in enumerate(files):
        pixels = read_pixels(path, settings.colour)
        if pixels.shape[:2] != (height, width):
            fitted += 1
            if size is None:
                raise DataError(
                    f"{path}: expected a picture of {height} x {width} pixels as {like}, found "
                    f"{pixels.shape[0]} x {pixels.shape[1]}; say to which size all are fitted, as "
                    "--picture 28x28"
                )
        values[index] = fit_picture(pixels, form, str(path)).reshape(values.shape[1:])
    if size is None:
        return values, (f"{folder}: pictures of {height} x {width}, the size of all",)
    if fitted:
        note = f"{folder}: {fitted:,} of {len(files):,} pictures fitted to {height} x {width} ({form.fit})"
        return values, (note,)
    return values, ()


def _content(folder: Path) -> _Content:
    found = _Content([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                picture = entry.name.lower().endswith(ENDINGS)
                kind = found.folders if _is_folder(entry) else found.pictures if picture else found.others
                kind.append(Path(entry))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for paths in (found.folders, found.pictures, found.others):
        paths.sort(key=_natural)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _natural(path: Path) -> list[Any]:
    """2.png before 10.png."""
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", path.name)]
