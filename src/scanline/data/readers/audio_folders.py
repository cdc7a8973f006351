"""Reads folders of WAV files, each class in a sub-folder."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scanline.data.class_names import check_names
from scanline.data.dataset import ALL, SPLITS
from scanline.data.memory import MemorySource
from scanline.data.readers.name_patterns import divide, refuse_split_patterns
from scanline.data.readers.picture_folders import natural_order
from scanline.data.readers.recordings import ENDINGS, at_rate, mixing_note, settled
from scanline.data.readers.split_names import find_split_folders
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.errors import DataError, join_names, printable
from scanline.formats.wav import read_wav
from scanline.recipe import DataSettings

# Recordings that are not read: they are refused by name instead of being overlooked.
_OTHER_AUDIO = (
    *(".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".aifc", ".au"),
    *(".snd", ".amr", ".sph", ".nist", ".raw", ".pcm", ".w64", ".caf"),
)


@dataclass
class _Content:
    """What is in a folder and its sub-folders: files in natural order, and how many were hidden."""

    recordings: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    hidden: int = 0


def is_audio_folder(folder: Path) -> bool:
    """Whether a sub-folder of `folder` has WAV files, at any depth."""
    return any(_has_recording(child) for child in _children(folder))


def audio_split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits that have WAV files in sub-folders, by the name of the split.

    Raises:
        UsageError: If two may be the same split.
    """
    return find_split_folders(folder, _children(folder), is_audio_folder)


def read_audio_folder(
    folder: Path, settings: DataSettings, to_train: bool = True, skip: Collection[str] = ()
) -> dict[str, MemorySource]:
    """Read a folder of WAV files as sequences of samples, (S, 1) from -1 to 1.

    Each class has a sub-folder of its name, in `folder` itself or in its train/, test/ and validation/; its
    files may be in further sub-folders. They are read in the natural order of their paths. All have one rate,
    `settings.sample_rate` or that of the first file, unless `settings.resample` is true. Hidden files are
    skipped and counted.

    Args:
        folder: The folder.
        settings: Rate, and patterns of file names.
        to_train: Whether two classes are needed, and a training split if there are splits.
        skip: Splits that are not read.

    Returns:
        {"all": source}, or the sources of the splits.

    Raises:
        DataError: If a file is not a WAV file or has another rate, or there are too few classes.
        UsageError: If two folders may be the same split, or a pattern does not fit.
    """
    folders = audio_split_folders(folder)
    if not folders:
        return divide(_read_classes(folder, settings, to_train, ""), settings, to_train)
    refuse_split_patterns(settings, str(folder), "which has folders of splits")
    if to_train and "train" not in folders:
        names = " and ".join(child.name for child in folders.values())
        raise DataError(f"{folder}: expected a folder train with WAV files beside {names}, found none")
    sources: dict[str, MemorySource] = {}
    like = ""
    for split in SPLITS:
        if split not in folders or split in skip:
            continue
        source = _read_classes(folders[split], settings, to_train and split == "train", like)
        sources |= {split: divide(source, settings, to_train)[ALL]}
        # All splits have the rate of the first.
        settings, like = source.info.settings or settings, like or f"those of {folders[split].name}"
    return sources


def _read_classes(folder: Path, settings: DataSettings, several: bool, like: str) -> MemorySource:
    """Read the WAV files in the sub-folders of `folder`, a class each; see `read_audio_folder`."""
    inside = {child: _content(child) for child in _children(folder)}
    _check_other_audio(inside)
    named = {child.name: each.recordings for child, each in inside.items() if each.recordings}
    if several and len(named) < 2:
        raise DataError(
            f"{folder}: expected at least two sub-folders with WAV files, one for each class, "
            f"found {', '.join(named) or 'none'}"
        )
    files = [path for paths in named.values() for path in paths]
    codes = np.repeat(np.arange(len(named)), [len(paths) for paths in named.values()])

    def place(index: int, step: int = 0, /) -> str:
        return str(files[index].relative_to(folder))

    classes, labels = encode_labels(list(named), codes, str(folder), place, settings)
    check_names(classes, str(folder))
    # Folder names sort as text; labels sort as numbers. A stable sort keeps the order of files in a class.
    order = np.argsort(labels, kind="stable")
    files = [files[index] for index in order]
    source, mixed = _read_files(folder, files, settings, like)
    top = _content(folder, deep=False)
    hidden = top.hidden + sum(each.hidden for each in inside.values())
    ignored = [*top.recordings, *top.others, *(path for each in inside.values() for path in each.others)]
    notes = (*mixing_note(str(folder), mixed, len(files)), *_ignored(folder, ignored, hidden))
    info = SourceInfo(source.info.settings, place, notes=notes, sample_rate=source.info.sample_rate)
    return MemorySource(
        source.concatenated, source.lengths, labels[order], classes, str(folder), ids=source.ids, info=info
    )


def _read_files(
    folder: Path, files: list[Path], settings: DataSettings, like: str
) -> tuple[MemorySource, int]:
    """Read WAV files as one source without labels, and return how many of them had two channels."""
    rate, mixed, samples = settings.sample_rate, 0, []
    for path in files:
        recording = read_wav(path)
        if not rate:
            rate, like = recording.rate, str(path.relative_to(folder))
        mixed += recording.channels - 1
        samples.append(at_rate(recording, rate, settings.resample, str(path), like)[:, None])
    ids = np.array([printable(path.relative_to(folder).as_posix()) for path in files], object)
    source = MemorySource.from_list(samples, np.zeros(len(files), np.int64), (), str(folder))
    info = SourceInfo(settled(settings, rate), sample_rate=rate)
    return MemorySource(source.concatenated, source.lengths, source.targets, (), ids=ids, info=info), mixed


def _check_other_audio(inside: dict[Path, _Content]) -> None:
    """Check that no recording is overlooked. Raises DataError naming the folder and the first file."""
    for child, each in inside.items():
        other = [path for path in each.others if path.suffix.lower() in _OTHER_AUDIO]
        if other:
            raise DataError(
                where=child,
                expected=f"recordings in WAV files ({', '.join(ENDINGS)})",
                found=f"{len(other):,} other files ({other[0].relative_to(child)})",
                remedy="convert them to WAV, or remove them",
            )


def _ignored(folder: Path, paths: list[Path], hidden: int) -> tuple[str, ...]:
    notes = []
    if paths:
        names = [str(path.relative_to(folder)) for path in paths]
        notes.append(f"{folder}: ignored, as not a WAV file in the folder of a class: {join_names(names)}")
    if hidden:
        notes.append(f"{folder}: {hidden:,} hidden {'file' if hidden == 1 else 'files'} skipped")
    return tuple(notes)


def _children(folder: Path) -> list[Path]:
    """Return the sub-folders that are not hidden, in natural order."""
    try:
        found = [Path(each) for each in os.scandir(folder) if each.name[:1] != "." and _is_folder(each)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    return sorted(found, key=natural_order)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _has_recording(folder: Path) -> bool:
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[:1] != "."]
        if any(name.lower().endswith(ENDINGS) and name[:1] != "." for name in names):
            return True
    return False


def _content(folder: Path, deep: bool = True) -> _Content:
    """Return the files of a folder; with `deep`, also those of its sub-folders, but for links to folders."""
    content = _Content()

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror or error})") from error

    for path, folders, names in os.walk(folder, onerror=fail):
        content.hidden += sum(name[:1] == "." for name in names)
        folders[:] = [name for name in folders if name[:1] != "."] if deep else []
        folders.sort(key=lambda name: natural_order(Path(name)))
        shown = sorted((Path(path, name) for name in names if name[:1] != "."), key=natural_order)
        content.recordings += [each for each in shown if each.name.lower().endswith(ENDINGS)]
        content.others += [each for each in shown if not each.name.lower().endswith(ENDINGS)]
    return content
