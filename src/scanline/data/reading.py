"""Reads sequences from a path: chooses the reader and locates the files of one data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from scanline import formats
from scanline.data.class_names import without_unused_classes
from scanline.data.dataset import ALL, SPLITS, Dataset
from scanline.data.memory import MemorySource
from scanline.data.padding import padding_note, without_padding
from scanline.data.readers.array_files import read_npy, read_npz
from scanline.data.readers.audio_folders import audio_split_folders, is_audio_folder, read_audio_folder
from scanline.data.readers.idx_files import is_idx_folder, is_idx_stem
from scanline.data.readers.idx_folder import read_idx_folder
from scanline.data.readers.name_patterns import refuse_patterns
from scanline.data.readers.picture_folders import is_picture_folder, read_picture_folder, split_folders
from scanline.data.readers.recordings import is_recording, read_recording
from scanline.data.readers.sequence_files import read_sequence_file
from scanline.data.readers.split_files import named_like, pair_in
from scanline.data.readers.spreadsheets import is_spreadsheet, read_spreadsheet
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.readers.tables import SUFFIXES
from scanline.data.readers.text_folders import is_text_folder, read_text_folder
from scanline.data.readers.text_tables import find_text_table, read_text_table
from scanline.data.step_targets import without_unused_step_classes
from scanline.errors import DataError, UsageError
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

KINDS = (
    "a .ts, .arff, .csv, .tsv, .txt, .parquet, .xlsx or .npz file, X.npy beside y.npy, a folder of IDX "
    "files, of pictures or of WAV files, a packed data set, or the NAME of NAME_TRAIN and NAME_TEST files"
)
# Roles of columns that may be absent from a table to evaluate, or to predict, though training had them.
TO_EVALUATE = ("group", "split")
TO_PREDICT = ("group", "split", "label")


def exists(path: Path) -> bool:
    """Whether `path` exists and can be reached; never raises."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, a folder without permission, a NUL character
        return False


def has_source(path: Path) -> bool:
    """Return whether `read_sources` would try to read `path`."""
    return exists(path) or bool(named_like(path)) or is_idx_stem(path)


def read_sources(
    path: Path, settings: DataSettings, optional: Collection[str] = (), skip: Collection[str] = ()
) -> dict[str, MemorySource]:
    """Read the sequences at `path`.

    Args:
        path: A file, a folder, or the common stem of several files.
        settings: How to read tables and pictures.
        optional: Roles of columns that may be absent, see `column_roles.assign`; with "label" among them,
            sequences need not have labels.
        skip: Splits whose files are not opened. Splits in a file with others are read.

    Returns:
        {"all": source} if nothing is assigned to splits; otherwise the sources of "train", "test" and
        "validation", as far as there are any.

    Raises:
        DataError: Names the file, the place, what was expected and what was found.
        UsageError: If a setting is needed to read the data.
    """
    try:
        if exists(path) and path.is_dir():
            return _finish(_read_folder(path, settings, optional, skip))
        if exists(path):
            return _finish(_read_file(path, settings, optional))
        files = named_like(path)
        if files:
            return _finish(_read_split_files(path, files, settings, optional, skip))
        if is_idx_stem(path):
            refuse_patterns(settings, str(path))
            return _finish(read_idx_folder(path, settings, skip))
    except OSError as error:  # from looking up paths; readers report their own errors
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise DataError(f"{path}: no such file or folder; expected {KINDS}")


def _finish(sources: dict[str, MemorySource]) -> dict[str, MemorySource]:
    """Return the sources without padding, and with a note where it is not known whether there is any."""
    finished = {}
    for name, source in sources.items():
        pad_value = source.info.settings.pad_value if source.info.settings else "none"
        note = padding_note(source, pad_value)
        info = replace(source.info, notes=(*source.info.notes, note)) if note else source.info
        finished[name] = without_padding(replace(source, info=info), pad_value)
    return _check_sizes(finished)


def _check_sizes(sources: dict[str, MemorySource]) -> dict[str, MemorySource]:
    """Return the sources. Raises DataError if sequences are too long, or steps too wide."""
    for source in sources.values():
        for name, size in (("STEPS", source.max_length), ("FEATURES", source.features)):
            if size > limit_of(name):
                raise DataError(f"{source.name}: {exceeded(name, size)}")
    return sources


def _splits_of(path: Path) -> set[str]:
    """Return the names of the splits that have files of their own."""
    if is_idx_folder(path) or is_idx_stem(path):
        return {"train", "test"}
    if not path.is_dir():
        return set() if path.is_file() else set(named_like(path))
    return set(split_files_in(path) or split_folders(path) or audio_split_folders(path))


def read_dataset(
    path: Path, settings: DataSettings, optional: Collection[str] = (), skip: Collection[str] = ()
) -> Dataset:
    """Read what is at `path`, and the test and validation files that `settings` names.

    Args:
        path: As for `read_sources`.
        settings: How to read tables and pictures, and the paths of further splits.
        optional: As for `read_sources`.
        skip: Splits that are left out; files of their own are not opened.

    Returns:
        The data set as it was read; `scanline.data.partition` makes the missing splits.

    Raises:
        DataError: If something is wrong with the data, or no sequences can be used for training.
        UsageError: If a setting is missing or contradicts the data.
    """
    sources = read_sources(path, settings, optional, skip)
    named = {
        split for split, other in (("test", settings.test), ("validation", settings.validation)) if other
    }
    unread = frozenset(skip) & (_splits_of(path) | sources.keys() | named)
    if not optional and not sources.keys() & {ALL, "train"}:
        raise DataError(f"{path}: expected a training split, found only {' and '.join(sources)}")
    # What was inferred from the training data applies to the other files: equal columns, equal pictures.
    own_settings = next(iter(sources.values())).info.settings or settings
    for split, other in (("test", settings.test), ("validation", settings.validation)):
        if not other:
            continue
        if split in sources or (split in skip and split in _splits_of(path)):
            raise UsageError(f"data.{split} must be empty for {path}, which has a {split} split, got {other}")
        if split in skip:
            continue
        found = read_sources(Path(other), own_settings, TO_EVALUATE)
        if not found.keys() & {ALL, split}:
            raise UsageError(
                f"data.{split} must be the path of a {split} split, or of sequences without splits, "
                f"got {other}, which has {' and '.join(found)}"
            )
        sources[split] = found.get(ALL) or found[split]
    kept = {name: source for name, source in sources.items() if name not in skip}
    return Dataset(path.resolve().name, kept, path, unread=unread)


def _read_file(path: Path, settings: DataSettings, optional: Collection[str]) -> dict[str, MemorySource]:
    name, labelled = path.name.lower(), "label" not in optional
    refuse_patterns(settings, str(path))
    if not path.is_file():
        raise DataError(f"{path}: expected {KINDS}, found something that is not a regular file")
    if (size := path.stat().st_size) > limit_of("FILE_BYTES"):
        raise DataError(f"{path}: {exceeded('FILE_BYTES', size)}")
    if is_recording(path):
        if labelled:
            raise DataError(
                f"{path}: expected a folder with WAV files in a sub-folder for each class, found one"
            )
        return {ALL: read_recording(path, settings)}
    if name.endswith(".npz"):
        return read_npz(path, settings, labelled)
    if name.endswith(".npy"):
        return {ALL: read_npy(path, settings, labelled)}
    if is_spreadsheet(path):
        return by_column(read_spreadsheet(path, settings, optional), to_train=not optional)
    if (text := find_text_table(path, settings, optional)) is not None:
        return by_column(read_text_table(text, settings), to_train=not optional)
    if name.endswith(SUFFIXES):
        return by_column(read_table_sequences(path, settings, optional), to_train=not optional)
    if (format := formats.for_path(path)) is not None:
        return {ALL: read_sequence_file(path, format, settings, labelled)}
    raise DataError(f"{path}: expected {KINDS}, found a file with another suffix")


def by_column(source: MemorySource, to_train: bool) -> dict[str, MemorySource]:
    """Divide a table by its split column. The classes are those of the training split, if there is one.

    Args:
        source: The sequences; without assigned splits, they are returned as "all".
        to_train: Whether a training split is needed.

    Raises:
        DataError: If it is needed and there is none.
    """
    assigned = source.info.assigned_splits
    if assigned is None:
        return {ALL: source}
    splits = {}
    for name in SPLITS:
        index = np.flatnonzero(assigned == name)
        if index.size:
            taken = source.take(index)
            splits[name] = replace(taken, info=replace(taken.info, assigned_splits=None))
    if "train" in splits:
        # A class that occurs only in test rows is unknown to training and must be reported as such.
        train = splits["train"]
        unused = without_unused_classes if train.step_targets is None else without_unused_step_classes
        splits["train"] = unused(train)
    elif to_train:
        column = source.info.settings.split_column if source.info.settings else "split"
        raise DataError(f"{source.name}: column {column}: expected some training sequences, found none")
    return splits


def _read_folder(
    folder: Path, settings: DataSettings, optional: Collection[str], skip: Collection[str]
) -> dict[str, MemorySource]:
    # The order matters: exact names first, then splits by name, and pictures last because any file name fits.
    if is_idx_folder(folder):
        refuse_patterns(settings, str(folder))
        return read_idx_folder(folder, settings, skip)
    if files := split_files_in(folder):
        return _read_split_files(folder, files, settings, optional, skip)
    if (folder / "X.npy").is_file():
        return {ALL: read_npy(folder / "X.npy", settings, "label" not in optional)}
    if is_picture_folder(folder):
        return read_picture_folder(folder, settings, to_train=not optional, skip=skip)
    if is_audio_folder(folder):
        return read_audio_folder(folder, settings, to_train=not optional, skip=skip)
    if is_text_folder(folder):
        return {ALL: read_text_folder(folder, settings)}
    raise DataError(
        f"{folder}: expected {KINDS}, found a folder without train-images-idx3-ubyte, sub-folders of "
        "pictures or WAV files, train and test files, or X.npy"
    )


def split_files_in(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are a split each, by the name of the split; {} if there are none."""
    return named_like(folder / folder.resolve().name) or named_like(folder / "X") or pair_in(folder)


def _read_split_files(
    path: Path,
    files: Mapping[str, Path],
    settings: DataSettings,
    optional: Collection[str],
    skip: Collection[str],
) -> dict[str, MemorySource]:
    """Read files that are a split each. What is inferred from the training file holds for the others."""
    sources: dict[str, MemorySource] = {}
    for split in SPLITS:
        if split not in files or split in skip:
            continue
        # Test and validation files may lack group and split columns: no split is drawn from them.
        roles = optional if split == "train" else {*optional, *TO_EVALUATE}
        own = _read_file(files[split], settings, roles)
        if list(own) not in ([ALL], [split]):
            raise DataError(f"{files[split]}: expected the {split} split of {path}, found a file with splits")
        sources[split] = own.get(ALL) or own[split]
        settings = sources[split].info.settings or settings
    return sources
