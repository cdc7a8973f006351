"""Reads pictures as sequences of rows: from grey levels, and from folders of picture files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import fail_at, first_wrong
from scanline.data.class_names import check_names
from scanline.data.dataset import SPLITS
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError, UsageError, join_names, printable
from scanline.formats.images import read_pixels
from scanline.recipe import DEFAULT_DATA, DataSettings

ENDINGS = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp")
# Suffixes of pictures that are not read, and of files that people keep beside pictures.
_OTHER_PICTURES = (
    *(".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".jfif", ".jpe", ".tga", ".ico", ".svg"),
    *(".dcm", ".eps", ".psd", ".dng", ".cr2", ".nef", ".arw", ".pcx", ".xbm", ".xpm", ".exr", ".hdr"),
)
_NOTES = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".toml", ".ini", ".html"),
    *(".log", ".pdf", ".py", ".ipynb", ".db", ".zip", ".gz", ".tar"),
)
SIDE_LIMIT = 4096  # pixels
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def picture_format(height: int, width: int, channels: int, settings: DataSettings) -> PictureFormat:
    """Return how a picture file becomes a picture of this size.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        channels: Values of a pixel, 1 or 3.
        settings: How pictures are fitted.

    Raises:
        UsageError: If the size is too large, or pictures in colour are to be fitted by their ink.
    """
    if max(height, width) > SIDE_LIMIT:
        raise UsageError(
            f"pictures must be at most {SIDE_LIMIT} pixels high and wide, got {height} x {width}; give "
            "the size to which all are fitted, such as --picture 28x28"
        )
    if channels == 3 and settings.fit == "ink":
        raise UsageError("data.fit must be contain, cover or stretch for pictures in colour, got ink")
    # The format is needed for the fit "ink" only; other fits ignore `box`.
    box = max(1, round(20 / 28 * min(height, width)))  # as in MNIST
    return PictureFormat(
        height, width, box, 255, "mass", 3 if channels == 3 else 1, settings.fit or "contain"
    )


def as_pictures(
    source: MemorySource, size: tuple[int, int], reason: str = "", channels: int = 1
) -> MemorySource:
    """Return sequences that hold pixels in reading order as pictures.

    Args:
        source: Sequences as they were read.
        size: (height, width) of the pictures.
        reason: Why they are taken for pictures, if that was inferred; "" if the user stated it.
        channels: Values of a pixel, 1 for grey levels, 3 for colours.

    Raises:
        DataError: If a value is not a grey level, naming its place; or there are too many or too few.
    """
    height, width = size
    wanted = height * width * channels
    # Only the number of values matters: a row of pixels may be one step or one value a step.
    if not source.uniform or source.max_length * source.features != wanted:
        largest = source.max_length * source.features
        counts = f"{largest:,}"
        if not source.uniform:
            counts = f"{source.lengths.min() * source.features:,} to {largest:,}"
        raise DataError(
            f"{source.name}: expected {wanted:,} values a sequence, pictures of {height} x {width}"
            + (" in colour" if channels == 3 else "")
            + f", found {counts}"
        )
    values = source.concatenated
    if values.dtype != np.uint8:
        place = first_wrong(values, lambda v: ~((v >= 0) & (v <= 255) & (np.trunc(v) == v)))
        if place is not None:
            found = "nothing" if np.isnan(values[place]) else f"{values[place]:g}"
            fail_at(source, *place, f"expected a grey level, an integer from 0 to 255, found {found}")
        values = values.astype(np.uint8)
    info, settings = source.info, source.info.settings or DEFAULT_DATA
    if values.size and values.max() == 1:
        doubt = (
            "the largest grey level is 1 of 255; if 1 is white, save booleans or multiply the values by 255"
        )
        info = replace(info, notes=(*info.notes, f"{source.name}: {doubt}"))
    note = f"pictures of {height} x {width} pixels, {reason} (data.picture=none reads them as numbers)"
    return replace(
        source,
        concatenated=values.reshape(-1, width * channels),
        lengths=np.full(len(source), height, np.int64),
        info=replace(
            info,
            settings=_settled(settings, height, width, channels),
            feature_names=(),
            notes=(*info.notes, note) if reason else info.notes,
            full_scale=255.0,
            picture=picture_format(height, width, channels, settings),
        ),
    )


def _settled(settings: DataSettings, height: int, width: int, channels: int) -> DataSettings:
    return settings.model_copy(update={"picture": f"{height}x{width}", "colour": channels == 3})


# --- folders


@dataclass(frozen=True)
class _Content:
    """What is in a folder and not hidden, in natural order."""

    folders: list[Path]
    pictures: list[Path]
    others: list[Path]


def is_picture_folder(folder: Path) -> bool:
    """Whether `folder` has sub-folders with pictures, or a train folder and others that have such."""
    return _holds_classes(folder) or bool(_split_folders(folder))


def read_picture_folder(
    folder: Path, settings: DataSettings, to_train: bool = True
) -> dict[str, MemorySource]:
    """Read a folder of picture files.

    Each class has a sub-folder of its name, in `folder` itself or in its train/, test/ and validation/.
    Pictures are read in the natural order of their class names and file names, 2.png before 10.png. They are
    fitted to `settings.picture`, or must all have one size. Other files are ignored, with a note.

    Args:
        folder: The folder.
        settings: Size, colour and fit of the pictures.
        to_train: Whether two classes are needed, and a training split if there are splits.

    Returns:
        {"all": source}, or {"train": source, "test": source}, perhaps with "validation".

    Raises:
        DataError: If a file is not a picture or has another size, or there are too few classes.
        UsageError: If two folders may be the same split, or the settings exclude pictures.
    """
    if settings.picture == "none":
        raise UsageError(f"data.picture must be empty or a size for {folder}, which has pictures, got none")
    folders = _split_folders(folder)
    if not folders:
        return {"all": _read_classes(folder, settings, to_train)}
    if to_train and "train" not in folders:
        names = " and ".join(child.name for child in folders.values())
        raise DataError(f"{folder}: expected a folder train with pictures beside {names}, found none")
    sources: dict[str, MemorySource] = {}
    like: Path | None = None
    for split in SPLITS:
        if split in folders:
            # All splits must have the size of the first picture of the first split.
            source = _read_classes(folders[split], settings, to_train and split == "train", like)
            like = like or folders[split] / str(source.identifier(0))
            sources[split] = source
    # Notes about ignored files are attached to one split only, so that they are shown once.
    content, first = _content(folder), next(iter(sources))
    ignored = [path for path in (*content.folders, *content.pictures) if path not in folders.values()]
    info = sources[first].info
    info = replace(info, notes=(*info.notes, *_ignored(folder, ignored)))
    sources[first] = replace(sources[first], info=info)
    return sources


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders of the splits that have pictures. Raises UsageError if two may be the same split."""
    folders: dict[str, Path] = {}
    for child in _content(folder).folders:
        split = SPLIT_NAMES.get(child.name.lower())
        if split is None or not _holds_classes(child):
            continue
        if split in folders:
            raise UsageError(
                f"{folder}: expected one folder of the {split} split, got {folders[split].name} and "
                f"{child.name}; remove one"
            )
        folders[split] = child
    return folders


def _holds_classes(folder: Path) -> bool:
    inside = [_content(child) for child in _content(folder).folders]
    # Formats that are not read count, too: they are refused by name instead of being overlooked.
    return any(each.pictures or _ending(each.others, _OTHER_PICTURES) for each in inside)


def _ending(paths: list[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in suffixes]


def _check_lost(folder: Path, inside: dict[Path, _Content]) -> None:
    """Check that no class is lost because its folder has files, but no picture that is read.

    Raises:
        DataError: Names the folder and its files.
    """
    for child, each in inside.items():
        lost = [path for path in each.others if path.suffix.lower() not in _NOTES and path.is_file()]
        # A link back to the folder itself has the other classes inside it.
        above = child.resolve() == folder.resolve()
        deeper = [path for path in each.folders if not above and _content(path).pictures]
        if each.pictures or not (lost or deeper):
            continue
        endings = sorted({path.suffix.lower() or "no suffix" for path in lost})
        found = f"{len(lost):,} other files ({join_names(endings)})" if lost else f"pictures in {deeper[0]}"
        remedy = "convert them to PNG" if lost else f"move them to {child}"
        raise DataError(
            f"{child}: expected pictures ({', '.join(ENDINGS)}) of the class {child.name}, found only "
            f"{found}; {remedy}, or remove the folder"
        )


def _read_classes(
    folder: Path, settings: DataSettings, several: bool, like: Path | None = None
) -> MemorySource:
    """Read the sub-folders of `folder`, a class each.

    Args:
        folder: The folder.
        settings: Size, colour and fit of the pictures.
        several: Whether at least two classes are needed.
        like: The picture whose size all must have if no size is set; None: the first.
    """
    content = _content(folder)
    inside = {child: _content(child) for child in content.folders}
    _check_lost(folder, inside)
    named = {child.name: each.pictures for child, each in inside.items() if each.pictures}
    if several and len(named) < 2:
        raise DataError(
            f"{folder}: expected at least two sub-folders with pictures, one for each class, "
            f"found {', '.join(named) or 'none'}"
        )
    ignored = [child for child, each in inside.items() if not each.pictures] + content.pictures
    ignored += [path for each in inside.values() if each.pictures for path in (*each.folders, *each.others)]
    files = [path for paths in named.values() for path in paths]
    codes = np.repeat(np.arange(len(named)), [len(paths) for paths in named.values()])

    def locate(index: int, step: int = 0, /) -> str:
        return str(files[index].relative_to(folder))

    classes, labels = encode_labels(list(named), codes, str(folder), locate, settings)
    check_names(classes, str(folder))
    # Folder names sort as text; labels sort as numbers. A stable sort keeps the order of files in a class.
    order = np.argsort(labels, kind="stable")  # class 2 before class 10
    files, labels = [files[index] for index in order], labels[order]
    values, notes = _read_files(folder, files, settings, like or files[0])
    n, height, width, channels = values.shape
    return MemorySource(
        values.reshape(-1, width * channels),
        np.full(n, height, np.int64),
        labels,
        classes,
        str(folder),
        ids=np.array([printable(str(path.relative_to(folder))) for path in files], dtype=object),
        info=SourceInfo(
            _settled(settings, height, width, channels),
            locate,
            notes=(*notes, *_ignored(folder, ignored)),
            full_scale=255.0,
            picture=picture_format(height, width, channels, settings),
        ),
    )


def _ignored(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    names = [str(path.relative_to(folder)) for path in paths]
    return (
        (f"{folder}: ignored, as not a picture in the folder of a class: {join_names(names)}",)
        if names
        else ()
    )


def _read_files(
    folder: Path, files: list[Path], settings: DataSettings, like: Path
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read pictures: (N, height, width, channels), and notes about their size for the user."""
    channels = 3 if settings.colour else 1
    size = settings.picture_size
    height, width = size or read_pixels(like, settings.colour, settings.white).shape[:2]
    form = picture_format(height, width, channels, settings)
    try:
        # One allocation for all pictures; each is decoded into its place and released.
        values = np.empty((len(files), height, width, channels), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{folder}: {len(files):,} pictures of {height} x {width} do not fit into memory; give the "
            "size to which all are fitted, such as --picture 28x28"
        ) from error
    fitted = 0
    for index, path in enumerate(files):
        pixels = read_pixels(path, settings.colour, settings.white)
        if pixels.shape[:2] != (height, width):
            fitted += 1
            if size is None:
                raise DataError(
                    f"{path}: expected a picture of {height} x {width} pixels as {like}, found "
                    f"{pixels.shape[0]} x {pixels.shape[1]}; give the size to which all are fitted, "
                    "such as --picture 28x28"
                )
        values[index] = fit_picture(pixels, form, str(path)).reshape(values.shape[1:])
    if size is None:
        return values, (f"{folder}: pictures of {height} x {width}, the size of all files",)
    if fitted:
        note = f"{folder}: {fitted:,} of {len(files):,} pictures fitted to {height} x {width} ({form.fit})"
        return values, (note,)
    return values, ()


def _content(folder: Path) -> _Content:
    content = _Content([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                picture = entry.name.lower().endswith(ENDINGS)
                kind = (
                    content.folders if _is_folder(entry) else content.pictures if picture else content.others
                )
                kind.append(Path(entry))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for paths in (content.folders, content.pictures, content.others):
        paths.sort(key=_natural)
    return content


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _natural(path: Path) -> list[Any]:
    """Sort key that puts 2.png before 10.png."""
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", path.name)]
