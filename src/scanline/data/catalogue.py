"""Named data sets with their locations and mirrors, and lookup of all other data by path."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from scanline.data import digits, download
from scanline.data.dataset import Dataset, Provenance
from scanline.data.file_check import FileCheck
from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location, is_uri
from scanline.data.packed_data import is_packed, read_packed, verify_packed
from scanline.data.padding import without_padding
from scanline.data.partition import partition
from scanline.data.published import FILES, PUBLISHED, SHAPES, Entry
from scanline.data.readers.arrays import Arrays
from scanline.data.readers.idx_files import idx_file
from scanline.data.readers.idx_folder import (
    MNIST_TRAINING_FILE,
    MNIST_VALIDATION,
    idx_format,
    tutorials_split,
)
from scanline.data.readers.name_patterns import refuse_patterns
from scanline.data.reading import KINDS, has_source, read_dataset
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError, did_you_mean
from scanline.formats.idx import REMEDY, read_idx, read_pair
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings

# Deflate stores incompressible data with a few bytes of overhead, so a .gz may exceed its content.
_GZIP_SLACK_BYTES = 2**16


@dataclass(frozen=True)
class Description:
    """A row of `scanline data list`.

    Attributes:
        name: Name in the catalogue.
        about: Description.
        licence: Licence of the data.
        classes: Number of classes.
        train: Number of training sequences.
        validation: Number of validation sequences.
        test: Number of test sequences.
        path: Path of the files, or None if they must be downloaded.
    """

    name: str
    about: str
    licence: str
    classes: int
    train: int
    validation: int
    test: int
    path: Path | None


def names() -> tuple[str, ...]:
    """Return the names of all data sets of the catalogue, a closed list."""
    return (*(entry.name for entry in PUBLISHED), digits.NAME)


def describe(name: str) -> Description:
    """Return facts about the data set `name` without reading it. Raises UsageError for an unknown name."""
    if name == digits.NAME:
        about = "1,797 handwritten digits of 8 x 8 pixels (UCI), part of scikit-learn: needs no network"
        return Description(name, about, "CC BY 4.0", 10, *digits.COUNTS, find(name))
    entry = _entry(name)
    counts = (MNIST_TRAINING_FILE - MNIST_VALIDATION, MNIST_VALIDATION, SHAPES[2][0])
    return Description(name, entry.about, entry.licence, len(entry.classes), *counts, find(name))


def find(name: str) -> Path | None:
    """Return the folder with all files of the data set `name`, or None.

    For `digits`, the result is scikit-learn's own file. $SCANLINE_DATA/<name> is searched first, then the
    cache. Only existence is checked; no file is opened.

    Raises:
        UsageError: If there is no such name.
    """
    if name == digits.NAME:
        return digits.find()
    _entry(name)
    data = os.environ.get("SCANLINE_DATA")
    # Data that the user provides have priority over the cache.
    folders = ([Path(data) / name] if data else []) + [_cache_folder() / name]
    return next((folder for folder in folders if _is_whole(folder)), None)


def fetch(name: str, on_progress: download.Progress | None = None, *, force: bool = False) -> Path:
    """Return the folder of the data set `name`, after downloading missing files into the cache.

    Args:
        name: Name in the catalogue.
        on_progress: Called with (received, total) bytes over all files.
        force: Download every file again, even if a copy exists. A file in the cache is replaced only by one
            with the right checksum.

    Raises:
        UsageError: If there is no such name.
        DataError: If it cannot be downloaded.
        ScanlineError: If the cache cannot be written.
    """
    found = find(name)
    if found is not None and (not force or name == digits.NAME):
        return found
    if name == digits.NAME:
        raise DataError("digits: scikit-learn's digits.csv.gz is missing; install scikit-learn again")
    entry, folder = _entry(name), _cache_folder() / name
    done, total = 0, sum(entry.packed_bytes)
    for number, file in enumerate(FILES):
        # `done` and `number` are bound as defaults: a closure would see the values of a later iteration.
        def report(received: int, _: int | None, done: int = done) -> None:
            if on_progress is not None:
                on_progress(done + received, max(total, done + received))

        def check(path: Path, number: int = number) -> str | None:
            return _download_fault(entry, number, path)

        target = download.fetch(
            [mirror + file + ".gz" for mirror in entry.mirrors],
            folder / f"{file}.gz",
            # The uncompressed size is known, so a mirror cannot fill the disk.
            limit_bytes=math.prod(SHAPES[number]) + _GZIP_SLACK_BYTES,
            check=check,
            force=force,
            on_progress=report,
        )
        done += target.stat().st_size
    return folder


def verify(name: str) -> tuple[FileCheck, ...]:
    """Read every file of a data set to its end and compare its checksum. Never downloads.

    Args:
        name: Its name, or the address of a packed data set.

    Raises:
        UsageError: If there is no such name.
        DataError: If it is not on this machine.
    """
    if name not in names() and is_packed(name):
        return verify_packed(name)
    folder = find(name)
    if folder is None:
        raise DataError(f"{name} was not found: run `scanline data fetch {name}`")
    if name == digits.NAME:
        good = digits.is_original()
        note = "SHA-256 matches" if good else "SHA-256 does not match; install scikit-learn again"
        return (FileCheck(folder, good, note),)
    return tuple(_verify_file(_entry(name), number, folder) for number in range(len(FILES)))


def load(name_or_path: str, on_progress: download.Progress | None = None) -> Dataset:
    """Read a data set by name or path and split it as the built-in recipes do; see `read`."""
    return partition(read(name_or_path, DEFAULT_DATA, on_progress), DEFAULT_SPLIT)


def read(
    source: str | Arrays,
    settings: DataSettings,
    on_progress: download.Progress | None = None,
    optional: Collection[str] = (),
    skip: Collection[str] = (),
) -> Dataset:
    """Read a data set by name, downloading it if necessary, or from a path or arrays.

    Args:
        source: A name, a path, the URI of a packed data set, or arrays. A name has priority over a path of
            the same name (write ./mnist for the path); anything else without a separator is looked up in
            $SCANLINE_DATA, too.
        settings: How to read it.
        on_progress: As for `fetch`.
        optional: Roles of columns that may be absent from a table, see `column_roles.assign`.
        skip: Splits that are left out; files of their own are not opened.

    Raises:
        UsageError: If `source` is neither a name nor a path.
        DataError: If files are missing, damaged, or not the published ones.
        ScanlineError: If the cache cannot be written.
    """
    if isinstance(source, Arrays):
        refuse_patterns(settings, source.name)
        arrays = source.read(settings)
        cut = {
            name: without_padding(each, settings.pad_value)
            for name, each in arrays.items()
            if name not in skip
        }
        return Dataset(source.name, cut, unread=frozenset(skip) & arrays.keys())
    if source in names():
        return _load_named(source, settings, on_progress, skip)
    if is_uri(source):
        refuse_patterns(settings, source)
        return read_packed(source, settings, skip=skip)
    path = locate(source)
    if path is None:
        raise _no_such_file(source) if Path(source).suffix else _unknown(source)
    if is_packed(path):
        refuse_patterns(settings, source)
        return read_packed(str(path), settings, skip=skip)
    return read_dataset(path, settings, optional, skip)


def locate(name_or_path: str) -> Path | None:
    """Return the path that `name_or_path` refers to, or None if there is no such file or folder.

    The working directory is searched first, then $SCANLINE_DATA and its sub-folder ts/.
    """
    separators = {os.sep, os.altsep or os.sep}
    path = Path(name_or_path)
    # A path with a separator is explicit: it is returned even if missing, so that the error names it.
    if separators & set(name_or_path) or (name_or_path and has_source(path)):
        return path
    data = os.environ.get("SCANLINE_DATA")
    if not data or not name_or_path:
        return None
    return next((p for p in (Path(data) / path, Path(data) / "ts" / path) if has_source(p)), None)


def address(name_or_path: str) -> str:
    """Return what finds a data set from any folder, as `Dataset.address`: a name, a URI or a path."""
    if is_uri(name_or_path):
        return Location.parse(name_or_path).uri
    path = None if name_or_path in names() else locate(name_or_path)
    return name_or_path if path is None else str(path.resolve())


def _load_named(
    name: str, settings: DataSettings, on_progress: download.Progress | None, skip: Collection[str]
) -> Dataset:
    # Values equal to the defaults cannot be distinguished from values that were not set, and do no harm.
    changed = [key for key, value in settings if key != "name" and value != getattr(DEFAULT_DATA, key)]
    if changed:
        raise UsageError(f"data.{changed[0]} must not be set for {name}, whose format and splits are fixed")
    if name == digits.NAME:
        return digits.load()
    folder = find(name) or fetch(name, on_progress)
    return _load_published(_entry(name), folder, skip)


def _entry(name: str) -> Entry:
    for entry in PUBLISHED:
        if entry.name == name:
            return entry
    raise _unknown(name)


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"unknown data set {name!r}: expected one of {', '.join(names())}, or the path of {KINDS}"
        + did_you_mean(name.lower(), names())
    )


def _no_such_file(name: str) -> DataError:
    data = os.environ.get("SCANLINE_DATA")
    where = f", also not in SCANLINE_DATA ({data})" if data else ""
    try:
        files = sorted(os.listdir())
    except OSError:  # a working directory that was removed, or that may not be listed
        files = []
    return DataError(f"{name}: no such file or folder{where}{did_you_mean(name, files)}")


def _cache_folder() -> Path:
    import platformdirs

    chosen = os.environ.get("SCANLINE_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("scanline", appauthor=False)


def _is_whole(folder: Path) -> bool:
    try:
        return all(idx_file(folder, file) for file in FILES)
    except OSError:  # no permission to enter the folder, or a name that is too long
        return False


def _remedy(name: str, folder: Path) -> str:
    return f"run `scanline data fetch {name} --force`" if folder == _cache_folder() / name else REMEDY


def _download_fault(entry: Entry, number: int, path: Path) -> str | None:
    """Return a short reason why `path` is not file `number` of `entry`, or None if it is."""
    digest = hashlib.sha256()
    # The checksum of the uncompressed bytes is preferred: it does not depend on how a mirror compressed them.
    if entry.raw_sha256:
        try:
            read_idx(path, digest=digest)
        except DataError:
            return "not a complete IDX file"
        return None if digest.hexdigest() == entry.raw_sha256[number] else "wrong checksum"
    return None if _sha256(path) == entry.gz_sha256[number] else "wrong checksum"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify_file(entry: Entry, number: int, folder: Path) -> FileCheck:
    path = idx_file(folder, FILES[number]) or folder / FILES[number]
    digest = hashlib.sha256()
    try:
        shape = read_idx(path, digest=digest, remedy=_remedy(entry.name, folder)).shape
        _check_published(entry, number, path, shape, digest.hexdigest(), folder)
        if entry.raw_sha256 or _sha256(path) == entry.gz_sha256[number]:
            return FileCheck(path, True, "SHA-256 matches")
    except DataError as error:
        return FileCheck(path, False, str(error))
    return FileCheck(path, True, "complete; recompressed, so the checksum cannot be compared")


def _check_published(
    entry: Entry, number: int, path: Path, shape: tuple[int, ...], digest: str, folder: Path
) -> None:
    """Raise DataError if a valid IDX file is not the published one."""
    expected = SHAPES[number]
    fault = ""
    if shape != expected:
        fault = f"items of shape {expected}, found {shape}"
    elif entry.raw_sha256 and digest != entry.raw_sha256[number]:
        fault = f"uncompressed bytes with SHA-256 {entry.raw_sha256[number]}, found {digest}"
    if fault:
        raise DataError(f"{path}: not {entry.name}'s file: expected {fault}; {_remedy(entry.name, folder)}")


def _load_published(entry: Entry, folder: Path, skip: Collection[str]) -> Dataset:
    parts: list[MemorySource] = []
    for number, part in ((0, "training"), (2, "test")):
        if part in skip:
            continue
        # Checked on every load: the files have the same names in every data set, so a mix-up would be silent.
        digests = (hashlib.sha256(), hashlib.sha256())
        paths = [idx_file(folder, file) or folder / file for file in FILES[number : number + 2]]
        pair = read_pair(
            paths[0],
            paths[1],
            len(entry.classes),
            digests=digests,
            remedy=_remedy(entry.name, folder),
        )
        for offset, shape in enumerate(array.shape for array in pair):
            digest = digests[offset].hexdigest()
            _check_published(entry, number + offset, paths[offset], shape, digest, folder)
        parts.append(MemorySource.from_array(*pair, entry.classes, f"{entry.name} ({part})"))
    info = SourceInfo(full_scale=255.0, picture=idx_format(parts[0], box=20))
    read = tutorials_split(parts[0]) | ({"test": parts[1]} if len(parts) > 1 else {})
    splits = {name: replace(source, info=info) for name, source in read.items()}
    provenance = {name: Provenance(source.name) for name, source in splits.items()}
    unread = frozenset(skip) & {"test"}
    return Dataset(entry.name, splits, fixed=True, provenance=provenance, unread=unread)
