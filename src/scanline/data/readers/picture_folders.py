"""Reads folders of picture files, each class in a sub-folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_names
from scanline.data.dataset import ALL, SPLITS
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.name_patterns import divide, refuse_split_patterns
from scanline.data.readers.pictures import picture_format, settled
from scanline.data.readers.split_names import find_split_folders
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError, UsageError, join_names, printable
from scanline.formats.images import read_pixels
from scanline.recipe import DataSettings

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


@dataclass(frozen=True)
class _Content:
    """What is in a folder and not hidden, in natural order."""

    folders: list[Path]
    pictures: list[Path]
    others: list[Path]


def is_picture_folder(folder: Path) -> bool:
    """Whether `folder` has sub-folders with pictures, or a train folder and others that have such."""
    return _holds_classes(folder) or bool(split_folders(folder))


def read_picture_folder(
    folder: Path, settings: DataSettings, to_train: bool = True, skip: Collection[str] = ()
) -> dict[str, MemorySource]:
    """Read a folder of picture files.

    Each class has a sub-folder of its name, in `folder` itself or in its train/, test/ and validation/.
    Pictures are read in the natural order of their class names and file names, 2.png before 10.png. They are
    fitted to `settings.picture`, or must all have one size. Other files are ignored, with a note.

    Args:
        folder: The folder.
        settings: Size, colour and fit of the pictures.
        to_train: Whether two classes are needed, and a training split if there are splits.
        skip: Splits that are not read.

    Returns:
        {"all": source}, or {"train": source, "test": source}, perhaps with "validation".

    Raises:
        DataError: If a file is not a picture or has another size, or there are too few classes.
        UsageError: If two folders may be the same split, or the settings exclude pictures.
    """
    # Without a limit, each split is one piece.
    return dict(picture_pieces(folder, settings, to_train, skip=skip))


def picture_pieces(
    folder: Path,
    settings: DataSettings,
    to_train: bool = True,
    piece_bytes: int | None = None,
    skip: Collection[str] = (),
) -> Iterator[tuple[str, MemorySource]]:
    """Yield the pictures of a folder as `read_picture_folder` returns them, in pieces.

    Args:
        folder: The folder.
        settings: Size, colour and fit of the pictures.
        to_train: As for `read_picture_folder`.
        piece_bytes: Largest size of a piece in memory; None: each split is one piece.
        skip: Splits that are not read.

    Yields:
        (split, source), the splits in the order of `read_picture_folder`.

    Raises:
        DataError: As for `read_picture_folder`.
        UsageError: As for `read_picture_folder`.
    """
    if settings.picture == "none":
        raise UsageError(f"data.picture must be empty or a size for {folder}, which has pictures, got none")
    folders = split_folders(folder)
    if not folders:
        listed = _list_classes(folder, settings, to_train)
        if piece_bytes is not None:  # a piece may have files of one split only
            refuse_split_patterns(settings, str(folder), "which is packed in pieces; use folders of splits")
        for piece in _read_listed(listed, settings, listed.files[0], piece_bytes):
            yield from divide(piece, settings, to_train).items()
        return
    refuse_split_patterns(settings, str(folder), "which has folders of splits")
    if to_train and "train" not in folders:
        names = " and ".join(child.name for child in folders.values())
        raise DataError(f"{folder}: expected a folder train with pictures beside {names}, found none")
    # Notes about ignored files are attached to the first piece only, so that they are shown once.
    content = _content(folder)
    ignored = [path for path in (*content.folders, *content.pictures) if path not in folders.values()]
    notes = _ignored(folder, ignored)
    like: Path | None = None
    for split in SPLITS:
        if split not in folders or split in skip:
            continue
        listed = _list_classes(folders[split], settings, to_train and split == "train")
        # All splits must have the size of the first picture of the first split.
        like = like or listed.files[0]
        for piece in _read_listed(listed, settings, like, piece_bytes):
            piece = divide(piece, settings, to_train)[ALL]
            yield split, replace(piece, info=replace(piece.info, notes=(*piece.info.notes, *notes)))
            notes = ()


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of the splits that have pictures. Raises UsageError if two may be the same split."""
    return find_split_folders(folder, _content(folder).folders, _holds_classes)


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


@dataclass(frozen=True, eq=False)
class _Listed:
    """The pictures of a folder of classes, in the order in which they are read.

    labels: (N,) the class of each of the N files. notes: what was ignored, for the user.
    """

    folder: Path
    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    notes: tuple[str, ...]


def _list_classes(folder: Path, settings: DataSettings, several: bool) -> _Listed:
    """List the pictures in the sub-folders of `folder`, a class each.

    Args:
        folder: The folder.
        settings: How labels are read.
        several: Whether at least two classes are needed.
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
    files = [files[index] for index in order]
    return _Listed(folder, files, labels[order], classes, _ignored(folder, ignored))


def _read_listed(
    listed: _Listed, settings: DataSettings, like: Path, piece_bytes: int | None
) -> Iterator[MemorySource]:
    """Yield pictures as sequences, in pieces of at most `piece_bytes`; None: in one piece.

    Args:
        listed: The pictures.
        settings: Size, colour and fit of the pictures.
        like: The picture whose size all must have if no size is set.
        piece_bytes: As for `picture_pieces`.
    """
    folder, channels = listed.folder, 3 if settings.colour else 1
    height, width = settings.picture_size or read_pixels(like, settings.colour, settings.white).shape[:2]
    form = picture_format(height, width, channels, settings)
    count = len(listed.files)
    size = count if piece_bytes is None else max(1, piece_bytes // (height * width * channels))
    fitted = 0
    for first in range(0, count, size):
        files = listed.files[first : first + size]
        values, changed = _read_files(folder, files, settings, form, like)
        fitted += changed
        notes: tuple[str, ...] = ()
        if first + size >= count:  # how many were fitted is known with the last of them
            notes = (*_size_notes(folder, settings, form, fitted, count), *listed.notes)
        yield _picture_source(
            folder, files, listed, slice(first, first + size), values, form, settings, notes
        )


def _picture_source(
    folder: Path,
    files: list[Path],
    listed: _Listed,
    piece: slice,
    values: NDArray[np.uint8],
    form: PictureFormat,
    settings: DataSettings,
    notes: tuple[str, ...],
) -> MemorySource:
    def locate(index: int, step: int = 0, /) -> str:
        return str(files[index].relative_to(folder))

    return MemorySource(
        values.reshape(-1, form.width * form.channels),
        np.full(len(files), form.height, np.int64),
        listed.labels[piece],
        listed.classes,
        str(folder),
        ids=np.array([printable(str(path.relative_to(folder))) for path in files], dtype=object),
        info=SourceInfo(
            settled(settings, form.height, form.width, form.channels),
            locate,
            notes=notes,
            full_scale=255.0,
            picture=form,
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
    folder: Path, files: list[Path], settings: DataSettings, form: PictureFormat, like: Path
) -> tuple[NDArray[np.uint8], int]:
    """Read pictures: (N, height, width, channels), and how many of them had another size."""
    height, width = form.height, form.width
    try:
        # One allocation for all pictures; each is decoded into its place and released.
        values = np.empty((len(files), height, width, form.channels), np.uint8)
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
            if settings.picture_size is None:
                raise DataError(
                    f"{path}: expected a picture of {height} x {width} pixels as {like}, found "
                    f"{pixels.shape[0]} x {pixels.shape[1]}; give the size to which all are fitted, "
                    "such as --picture 28x28"
                )
        values[index] = fit_picture(pixels, form, str(path)).reshape(values.shape[1:])
    return values, fitted


def _size_notes(
    folder: Path, settings: DataSettings, form: PictureFormat, fitted: int, count: int
) -> tuple[str, ...]:
    size = f"{form.height} x {form.width}"
    if settings.picture_size is None:
        return (f"{folder}: pictures of {size}, the size of all files",)
    if fitted:
        return (f"{folder}: {fitted:,} of {count:,} pictures fitted to {size} ({form.fit})",)
    return ()


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
        paths.sort(key=natural_order)
    return content


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def natural_order(path: Path) -> list[Any]:
    """Return a sort key that puts 2.png before 10.png."""
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", path.name)]
