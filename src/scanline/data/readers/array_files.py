"""Sequences in .npz and .npy files. Nothing is unpickled."""

from __future__ import annotations

import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import from_arrays
from scanline.errors import DataError, FormatError, join_names, one_line
from scanline.formats.archives import check_member, open_archive
from scanline.formats.npy import read_header, read_values
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

_PARTS = {
    "": "all",
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_KEYS = ("X", "y", "lengths", "groups")
_OTHER_KEYS = {"X": "images", "y": "labels"}  # after the name of a split: train_images


def read_npz(path: Path, settings: DataSettings, labelled: bool = True) -> dict[str, MemorySource]:
    """Read the splits in an .npz file.

    Arrays are X (N, T, F) or (N, T), y (N,) and, optionally, lengths (N,) and groups (N,). Names of arrays
    that belong to a split end in _train, _test or _val; train_images and train_labels, val_... and test_...
    are the same. Other arrays are ignored.

    Args:
        path: The file.
        settings: How the values are interpreted.
        labelled: Whether labels are required.

    Returns:
        {"all": source}, or {"train": source, "test": source}, perhaps with "validation".

    Raises:
        DataError: Names the array that is missing or cannot be used.
    """
    found: dict[str, MemorySource] = {}
    used: set[str] = set()
    try:
        archive = open_archive(path)
    except FormatError as error:
        raise error.within(path) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise DataError(f"{path}: expected an .npz file of numpy.savez, found something else") from error
    with archive:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            # ZIP allows two members of one name, and readers differ in which one they return.
            if members.setdefault(name := info.filename.removesuffix(".npy"), info) is not info:
                raise DataError(f"{path}: expected one array {one_line(name)}, found two")
        for end, part in _PARTS.items():
            tail = f"_{end}" if end else ""
            own = {key: _member(path, archive, members, key + tail) for key in _KEYS}
            if own["X"] is None and end:  # the names of MedMNIST
                for key, theirs in _OTHER_KEYS.items():
                    own[key] = _member(path, archive, members, f"{end}_{theirs}")
                    used.add(f"{end}_{theirs}".lower())
            if own["X"] is None:
                continue
            if own["y"] is None and labelled:
                raise DataError(
                    f"{path}: expected labels in an array y{tail}, found only {join_names(list(members))}"
                )
            labels = own["y"]
            if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:  # a column of labels
                own["y"] = labels[:, 0]
            if part in found or "all" in found:
                raise DataError(f"{path}: expected an array X, or one X_train, X_val and X_test, found more")
            found[part] = from_arrays(*own.values(), settings=settings, source=f"{path}, X{tail}")
            used |= {(key + tail).lower() for key in _KEYS}
    if not found:
        raise DataError(
            f"{path}: expected arrays X and y, or X_train, y_train, X_test and y_test, "
            f"found {join_names(list(members)) or 'none'}"
        )
    unused = [name for name in members if name.lower() not in used]
    if not unused:
        return found
    note = f"{path}: arrays that are not used: {join_names(unused)}"
    # Padded sequences would be read to the end of the padding.
    if any(re.search("len|size|step|mask|valid", name.lower()) for name in unused):
        note += "; if one has the lengths of padded sequences, name it lengths (lengths_train, ...)"
    return {
        part: replace(source, info=replace(source.info, notes=(*source.info.notes, note)))
        for part, source in found.items()
    }


def _member(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], wanted: str
) -> NDArray[Any] | None:
    names = [name for name in members if name.lower() == wanted.lower()]
    if not names:
        return None
    if len(names) > 1:
        raise DataError(f"{path}: expected one array {wanted}, found {' and '.join(names)}")
    info, name = members[names[0]], f"{path}, array {names[0]}"
    with _faults(name):
        # The size that the ZIP directory declares is checked before the member is opened.
        check_member(info, limit_of("FILE_BYTES"))
        with archive.open(info) as file:
            return _array(name, file, info.file_size)


def read_npy(path: Path, settings: DataSettings, labelled: bool = True) -> MemorySource:
    """Read X.npy with the labels in y.npy beside it, and lengths.npy and groups.npy if they exist.

    The other files have the same suffix after their name: X_train.npy, y_train.npy, lengths_train.npy.

    Args:
        path: The file with the values.
        settings: How the values are interpreted.
        labelled: Whether labels are required.

    Raises:
        DataError: Names the file that is missing or cannot be used.
    """
    # A letter after X means another word; X.npy, X_train.npy and X2.npy are accepted.
    rest = re.fullmatch(r"[Xx]((?![A-Za-z]).*)", path.name)
    beside = {key: path.with_name(key + rest[1]) for key in _KEYS[1:]} if rest else {}
    arrays = {key: _load_npy(other) for key, other in beside.items() if other.is_file()}
    if "y" not in arrays and labelled:
        wanted = beside["y"].name if rest else "y.npy beside X.npy"
        raise DataError(f"{path}: expected labels in {wanted}, found no such file")
    return from_arrays(
        _load_npy(path), *(arrays.get(key) for key in _KEYS[1:]), settings=settings, source=str(path)
    )


def _load_npy(path: Path) -> NDArray[Any]:
    with _faults(str(path)):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise DataError(f"{path}: expected a regular file, found something else")
        if status.st_size > limit_of("FILE_BYTES"):
            raise DataError(f"{path}: {exceeded('FILE_BYTES', status.st_size)}")
        with open(path, "rb") as file:
            return _array(str(path), file, status.st_size)


@contextmanager
def _faults(name: str) -> Iterator[None]:
    """Turn the errors of damaged or unreadable files into DataError."""
    try:
        yield
    except FormatError as error:
        raise error.within(name) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error) as error:
        raise DataError(f"{name}: is damaged ({one_line(error, 200)})") from error
    except (
        OSError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:  # RuntimeError: it is encrypted
        raise DataError(f"{name}: cannot be read ({one_line(error, 200)})") from error


def _array(name: str, file: IO[bytes], size: int) -> NDArray[Any]:
    """Read the array in `file`, whose size with its header is `size` bytes.

    Raises:
        DataError: If the header declares more bytes than the file has; no memory is allocated before.
    """
    header = read_header(file, name)
    # Before the allocation: a header of a few bytes may declare terabytes.
    if header.size > size:
        raise DataError(
            f"{name}: expected {header.size:,} bytes for shape {one_line(header.shape)}, found {size:,}: "
            "cut off"
        )
    return read_values(file, header, name)
