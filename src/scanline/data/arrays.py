"""Arrays as sequences: those of a Python program, and those in .npz and .npy files. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, name_classes, to_float32
from scanline.data.pictures import as_pictures
from scanline.data.sequences import ClassName, Sequences
from scanline.errors import DataError
from scanline.recipe import DataSettings

_SHAPES = "expected values of shape (sequences, steps, features) or (sequences, steps)"


@dataclass(frozen=True, eq=False)
class Arrays:
    """Sequences of a Python program, to train on. All as for `from_arrays`.

    test, validation: further parts, (values, labels) or (values, labels, lengths). name: for the run folder.
    """

    values: Any
    labels: Any
    lengths: Any = None
    groups: Any = None
    test: tuple[Any, ...] | None = None
    validation: tuple[Any, ...] | None = None
    name: str = "arrays"

    def read(self, settings: DataSettings) -> dict[str, Found]:
        """{"all": ...}, or {"train": ..., "test": ...} and so on. Raises DataError as `from_arrays`."""
        parts = {"test": self.test, "validation": self.validation}
        given = {name: part for name, part in parts.items() if part is not None}
        first = from_arrays(self.values, self.labels, self.lengths, self.groups, settings=settings)
        found = {"train" if "test" in given else "all": first}
        for name, part in given.items():
            found[name] = from_arrays(*part, settings=first.settings, source=f"the {name} part")
        return found


def from_arrays(
    values: Any,
    labels: Any = None,
    lengths: Any = None,
    groups: Any = None,
    *,
    settings: DataSettings,
    source: str = "the given values",
) -> Found:
    """Sequences out of what a program has.

    values: (N, T, F), (N, T) for one feature, or a list of N arrays (T_i, F) or (T_i,) of different lengths;
    NumPy, torch, nested lists. labels: (N,) whole numbers or text, or None. lengths: (N,), how many steps of
    a padded array are real; the rest is not looked at. groups: (N,), for splits.
    Bytes (N, T, F) are taken for pictures unless settings.picture is "none", bytes (N, H, W, 3) for coloured
    ones.
    Raises DataError naming what was expected and what was found.
    """
    channels = 1
    if hasattr(values, "shape") and len(values.shape) == 4 and values.shape[3] in (1, 3):
        values = as_numbers(values, source)
        channels = values.shape[3]
        values = values.reshape(*values.shape[:2], -1)
    flat, counts = _flatten(values, lengths, source)
    n = len(counts)

    def where(index: int, step: int = 0) -> str:
        return f"sequence {index}"

    classes: tuple[ClassName, ...] = ()
    codes = np.zeros(n, np.int64)
    if labels is not None:
        array = _names(labels, n, "labels", source)
        names, inverse = np.unique(array, return_inverse=True)
        classes, codes = name_classes(names.tolist(), inverse.reshape(-1), source, where)
    members = None if groups is None else _names(groups, n, "groups", source)
    sequences = Sequences(flat, counts, codes, classes, source, groups=members)
    found = Found(sequences, settings, where)
    if settings.picture == "none":
        return found
    if settings.picture_size:
        return as_pictures(found, settings.picture_size, "", channels)
    if flat.dtype == np.uint8 and sequences.uniform and sequences.features > 1:
        size = sequences.steps, sequences.features // channels
        found = as_pictures(found, size, "as they are bytes", channels)
        return replace(found, notes=tuple(f"{source}: taken for {note}" for note in found.notes))
    return found


def _flatten(values: Any, lengths: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All steps (S, F), uint8 or float32, and the length of each sequence."""
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype == object):
        ragged = _ragged(values, source)
        if ragged is not None:
            if lengths is not None:
                raise DataError(f"{source}: lengths are those of the listed sequences; give none")
            return ragged
    array = as_numbers(values, source)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(f"{source}: {_SHAPES}, none of them 0, found {_shape(values)}")
    n, steps, features = array.shape
    if lengths is None:
        return _plain(array.reshape(-1, features)), np.full(n, steps, np.int64)
    counts = as_numbers(lengths, f"{source}: lengths")
    if counts.shape != (n,) or counts.dtype.kind not in "iuf" or (counts % 1 != 0).any():
        raise DataError(
            f"{source}: expected {n} whole numbers as lengths, found {counts.dtype} of shape {counts.shape}"
        )
    wrong = np.flatnonzero((counts < 1) | (counts > steps))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(f"{source}: sequence {first} has length {counts[first]}, expected 1 to {steps}")
    counts = counts.astype(np.int64)
    return _plain(array[np.arange(steps) < counts[:, None]]), counts


def _ragged(values: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """The sequences in a list of arrays; None if it is nested lists of numbers of one shape."""
    if len(values) == 0:
        raise DataError(f"{source}: {_SHAPES}, found no sequence")
    if not hasattr(values[0], "shape"):
        try:
            array = np.asarray(values)
        except ValueError:  # rows of different lengths
            array = None
        if array is not None and array.dtype != object:
            return None
    parts: list[NDArray[Any]] = []
    for index, value in enumerate(values):
        part = as_numbers(value, f"{source}: sequence {index}")
        if part.ndim == 1:
            part = part[:, None]
        if part.ndim != 2 or 0 in part.shape:
            raise DataError(
                f"{source}: sequence {index}: expected shape (steps, features) or (steps,), "
                f"neither of them 0, found {_shape(value)}"
            )
        if part.shape[1] != (parts[0].shape[1] if parts else part.shape[1]):
            raise DataError(
                f"{source}: sequence {index}: expected {parts[0].shape[1]} features as in sequence 0, "
                f"found shape {part.shape}"
            )
        parts.append(part)
    return _plain(np.concatenate(parts)), np.array([len(part) for part in parts], np.int64)


def as_numbers(values: Any, source: str) -> NDArray[Any]:
    """`values` as an array of numbers. Raises DataError if they are none, or masked."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(
            f"{source}: masked arrays are not read; fill them, and give lengths if they are padded"
        )
    if hasattr(values, "detach"):  # a torch tensor, perhaps on another device
        values = values.detach().cpu().resolve_conj().resolve_neg()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{source}: {_SHAPES}, found rows of different lengths or of no numbers ({error})"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected an array of numbers, found {array.dtype}")
    return array


def _plain(flat: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(flat) if flat.dtype == np.uint8 else to_float32(flat)


def _shape(values: Any) -> Any:
    return tuple(values.shape) if hasattr(values, "shape") else f"shape {np.shape(values)}"


def _names(values: Any, n: int, what: str, source: str) -> NDArray[Any]:
    """Labels or groups, (N,)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.asarray(values)
    if array.dtype == object:
        if any(name is None for name in array.reshape(-1)):
            raise DataError(f"{source}: expected {what}, found None")
        array = array.astype(str)
    if array.shape != (n,) or array.dtype.kind not in "biufSU":
        raise DataError(
            f"{source}: expected {n} {what}, one for each sequence, "
            f"found {array.dtype} of shape {array.shape}"
        )
    return array.astype(str) if array.dtype.kind in "Sb" else array


# --- files

_PARTS = {
    "": "all",
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def read_npz(path: Path, settings: DataSettings, labelled: bool = True) -> dict[str, Found]:
    """The parts in an .npz file, {"all": ...} or {"train": ..., "test": ...} with "validation" if it has one.

    Arrays are X (N, T, F) or (N, T), y (N,), and, if wanted, lengths (N,) and groups (N,); of parts they end
    in _train, _test or _val. Raises DataError naming the array that is missing or cannot be used.
    """
    arrays = _load_npz(path)
    found = {}
    for end, part in _PARTS.items():
        tail = f"_{end}" if end else ""
        own = {key: _pick(arrays, key, tail) for key in ("X", "y", "lengths", "groups")}
        if own["X"] is None:
            continue
        if own["y"] is None and labelled:
            raise DataError(f"{path}: expected labels in an array y{tail}, found only {', '.join(arrays)}")
        found[part] = from_arrays(
            own["X"], own["y"], own["lengths"], own["groups"], settings=settings, source=f"{path}, X{tail}"
        )
    if not found or ("all" in found and len(found) > 1):
        raise DataError(
            f"{path}: expected arrays X and y, or X_train, y_train, X_test and y_test, "
            f"found {', '.join(arrays)}"
        )
    return found


def _pick(arrays: Mapping[str, NDArray[Any]], key: str, tail: str) -> NDArray[Any] | None:
    wanted = (key + tail).lower()
    return next((array for name, array in arrays.items() if name.lower() == wanted), None)


def _load_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _member(path, archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: expected an .npz file of numpy.savez, found something else") from error
    except (OSError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    name = f"{path}, array {info.filename.removesuffix('.npy')}"
    with archive.open(info) as file:
        _check_header(name, file, info.file_size)
    with archive.open(info) as file:
        return _read_array(name, file)


def read_npy(path: Path, settings: DataSettings, labelled: bool = True) -> Found:
    """The sequences in X.npy, with their labels in y.npy beside it, and lengths.npy if it is there.

    Whatever follows the X stands in the other names too: X_train.npy, y_train.npy, lengths_train.npy.
    Raises DataError naming the file that is missing or cannot be used.
    """
    beside = {}
    for key in ("y", "lengths", "groups"):
        other = path.with_name(key + path.name[1:]) if path.name[:1] in "Xx" else None
        beside[key] = load_npy(other) if other is not None and other.is_file() else None
    if beside["y"] is None and labelled:
        wanted = path.with_name("y" + path.name[1:]).name if path.name[:1] in "Xx" else "y.npy beside X.npy"
        raise DataError(f"{path}: expected labels in {wanted}, found no such file")
    return from_arrays(
        load_npy(path), beside["y"], beside["lengths"], beside["groups"], settings=settings, source=str(path)
    )


def load_npy(path: Path) -> NDArray[Any]:
    """The array in an .npy file. Raises DataError if it is none, cut off, or would have to be unpickled."""
    try:
        with open(path, "rb") as file:
            _check_header(str(path), file, path.stat().st_size)
            file.seek(0)
            return _read_array(str(path), file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _check_header(name: str, file: Any, size: int) -> None:
    """Raises DataError before memory is taken that the file does not fill, or anything could be unpickled."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError) as error:
        raise DataError(f"{name}: expected an array of numpy.save, found something else") from error
    if dtype.hasobject:
        raise DataError(
            f"{name}: expected numbers or text, found Python objects, which are never unpickled; "
            "save it with a plain dtype, sequences of different lengths padded, with their lengths"
        )
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if declared > size:
        raise DataError(f"{name}: expected {declared:,} bytes for shape {shape}, found {size:,}: cut off")


def _read_array(name: str, file: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{name}: is damaged ({error})") from error
    return array
