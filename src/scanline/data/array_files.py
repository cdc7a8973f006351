"""Sequences in .npz and .npy files. Nothing is unpickled."""

from __future__ import annotations

import lzma
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.arrays import from_arrays
from scanline.data.found import Found, shown, some
from scanline.errors import DataError
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
# What NumPy raises when it parses a header that is none.
_NO_HEADER = (ValueError, EOFError, TypeError, SyntaxError, tokenize.TokenError, RecursionError)


def read_npz(path: Path, settings: DataSettings, labelled: bool = True) -> dict[str, Found]:
    """The parts in an .npz file, {"all": ...} or {"train": ..., "test": ...} with "validation" if it has one.

    Arrays are X (N, T, F) or (N, T), y (N,), and, if wanted, lengths (N,) and groups (N,); of parts they end
    in _train, _test or _val. Others are not looked at. labelled: whether there must be labels.
    Raises DataError naming the array that is missing or cannot be used.
    """
    found: dict[str, Found] = {}
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise DataError(f"{path}: expected an .npz file of numpy.savez, found something else") from error
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for end, part in _PARTS.items():
            tail = f"_{end}" if end else ""
            own = {key: _member(path, archive, members, key + tail) for key in _KEYS}
            if own["X"] is None:
                continue
            if own["y"] is None and labelled:
                raise DataError(
                    f"{path}: expected labels in an array y{tail}, found only {some(list(members))}"
                )
            if part in found or "all" in found:
                raise DataError(f"{path}: expected an array X, or one X_train, X_val and X_test, found more")
            found[part] = from_arrays(*own.values(), settings=settings, source=f"{path}, X{tail}")
    if not found:
        raise DataError(
            f"{path}: expected arrays X and y, or X_train, y_train, X_test and y_test, "
            f"found {some(list(members)) or 'none'}"
        )
    return found


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
        with archive.open(info) as file:
            _check_header(name, file, info.file_size)
        with archive.open(info) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            return array


def read_npy(path: Path, settings: DataSettings, labelled: bool = True) -> Found:
    """The sequences in X.npy, with their labels in y.npy beside it, and lengths.npy and groups.npy if there.

    Whatever follows the X stands in the other names too: X_train.npy, y_train.npy, lengths_train.npy.
    labelled: whether there must be labels.
    Raises DataError naming the file that is missing or cannot be used.
    """
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
    with _faults(str(path)), open(path, "rb") as file:
        _check_header(str(path), file, path.stat().st_size)
        file.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


@contextmanager
def _faults(name: str) -> Iterator[None]:
    """What goes wrong in a file as a DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 has written
            yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error) as error:
        raise DataError(f"{name}: is damaged ({shown(error, 200)})") from error
    except (
        OSError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:  # RuntimeError: it is encrypted
        raise DataError(f"{name}: cannot be read ({shown(error, 200)})") from error


def _check_header(name: str, file: IO[bytes], size: int) -> None:
    """Raises DataError before memory is taken that the file does not fill, or anything could be unpickled.

    size: bytes in the file, with its header.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except _NO_HEADER as error:
        raise DataError(f"{name}: expected an array of numpy.save, found something else") from error
    if dtype.hasobject:
        raise DataError(
            f"{name}: expected numbers or text, found Python objects, which are never unpickled; "
            "save it with a plain dtype, sequences of different lengths padded, with their lengths"
        )
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if declared > size:
        raise DataError(f"{name}: expected {declared:,} bytes for shape {shape}, found {size:,}: cut off")
