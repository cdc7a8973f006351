"""Arrays of a Python program as sequences."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, name_classes, shown, to_float32
from scanline.data.memory import MemorySource
from scanline.data.readers.pictures import as_pictures
from scanline.data.source import ClassName
from scanline.errors import DataError
from scanline.recipe import DataSettings

_SHAPES = "expected values of shape (sequences, steps, features) or (sequences, steps)"
# What NumPy and torch raise when they are asked to make an array of something else.
_NO_ARRAY = (ValueError, TypeError, RuntimeError)


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
        if self.labels is None:
            raise DataError("the given values: expected labels to train on, found None")
        parts = {"test": self.test, "validation": self.validation}
        given = {name: part for name, part in parts.items() if part is not None}
        first = from_arrays(self.values, self.labels, self.lengths, self.groups, settings=settings)
        found = {"train" if "test" in given else "all": first}
        for name, part in given.items():
            if not isinstance(part, tuple | list):
                seen = type(part).__name__
            elif len(part) not in (2, 3):
                seen = f"{len(part)} of them"
            elif part[1] is None:
                seen = "no labels"
            else:
                found[name] = from_arrays(*part, settings=first.settings, source=f"the {name} part")
                continue
            raise DataError(
                f"the {name} part: expected (values, labels) or (values, labels, lengths), found {seen}"
            )
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
    shape = _shape(values)
    if len(shape) == 4 and shape[3] in (1, 3) and 0 not in shape:
        channels = shape[3]
        values = as_numbers(values, source).reshape(*shape[:2], -1)
    flat, counts = _flatten(values, lengths, source)
    n = len(counts)

    def where(index: int, step: int = 0) -> str:
        return f"sequence {index}"

    classes: tuple[ClassName, ...] = ()
    codes = np.zeros(n, np.int64)
    if labels is not None:
        names, inverse = np.unique(_names(labels, n, "labels", source), return_inverse=True)
        classes, codes = name_classes(names.tolist(), inverse.reshape(-1), source, where)
    members = None if groups is None else _names(groups, n, "groups", source)
    found = Found(MemorySource(flat, counts, codes, classes, source, groups=members), settings, where)
    part = found.sequences
    if settings.picture == "none":
        return found
    if settings.picture_size:
        return as_pictures(found, settings.picture_size, "", channels)
    if flat.dtype == np.uint8 and part.uniform and part.features > 1:
        size = part.max_length, part.features // channels
        found = as_pictures(found, size, "as they are bytes", channels)
        return replace(found, notes=tuple(f"{source}: taken for {note}" for note in found.notes))
    return found


# --- values


def _flatten(values: Any, lengths: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All steps (S, F), uint8 or float32, and the length of each sequence."""
    listed = isinstance(values, list | tuple) or (
        isinstance(values, np.ndarray) and values.dtype == object and values.ndim > 0
    )
    if listed:
        regular = _regular(values)
        if regular is None:
            if lengths is not None:
                raise DataError(f"{source}: lengths are those of the listed sequences; give none")
            return _join(values, source)
        values = regular
    array = as_numbers(values, source)
    found = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(f"{source}: {_SHAPES}, none of them 0, found {found}")
    n, steps, features = array.shape
    if lengths is None:
        return _plain(array.reshape(-1, features)), np.full(n, steps, np.int64)
    counts = as_numbers(lengths, f"{source}: lengths")
    if counts.shape != (n,) or counts.dtype.kind not in "iuf":
        raise DataError(
            f"{source}: expected {n} whole numbers as lengths, found {counts.dtype} of shape {counts.shape}"
        )
    wrong = np.flatnonzero((counts != np.trunc(counts)) | (counts < 1) | (counts > steps))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{source}: sequence {first} has length {counts[first]}, "
            f"expected a whole number from 1 to {steps}"
        )
    counts = counts.astype(np.int64)
    return _plain(array[np.arange(steps) < counts[:, None]]), counts


def _regular(values: Any) -> NDArray[Any] | None:
    """Nested lists of numbers, or of anything, of one shape as an array; None for a list of arrays."""
    if len(values) and hasattr(values[0], "shape"):
        return None
    try:
        array = np.asarray(values)
    except _NO_ARRAY:  # rows of different lengths, or of no numbers
        return None
    return None if array.dtype == object else array


def _join(values: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The sequences in a list of arrays."""
    parts: list[NDArray[Any]] = []
    for index, value in enumerate(values):
        part = as_numbers(value, f"{source}: sequence {index}")
        found = part.shape
        if part.ndim == 1:
            part = part[:, None]
        if part.ndim != 2 or 0 in part.shape:
            raise DataError(
                f"{source}: sequence {index}: expected shape (steps, features) or (steps,), "
                f"neither of them 0, found {found}"
            )
        if parts and part.shape[1] != parts[0].shape[1]:
            raise DataError(
                f"{source}: sequence {index}: expected {parts[0].shape[1]} features as in sequence 0, "
                f"found shape {found}"
            )
        parts.append(part)
    if not parts:
        raise DataError(f"{source}: {_SHAPES}, found no sequence")
    return _plain(np.concatenate(parts)), np.array([len(part) for part in parts], np.int64)


def as_numbers(values: Any, source: str) -> NDArray[Any]:
    """`values` as an array of numbers. Raises DataError if they are none, or masked."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(
            f"{source}: masked arrays are not read; fill them, and give lengths if they are padded"
        )
    try:
        if hasattr(values, "detach"):  # a torch tensor, perhaps on another device
            values = values.detach().cpu().resolve_conj().resolve_neg()
            values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        array = np.asarray(values)
    except _NO_ARRAY as error:
        raise DataError(
            f"{source}: expected an array of numbers, found what cannot be made one ({shown(error, 200)})"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected an array of numbers, found {array.dtype}")
    return array


def _plain(flat: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(flat) if flat.dtype == np.uint8 else to_float32(flat)


def _shape(values: Any) -> tuple[int, ...]:
    """That of an array or a tensor, () for anything else."""
    try:
        return tuple(values.shape)
    except (AttributeError, *_NO_ARRAY):
        return ()


# --- names


def _names(values: Any, n: int, what: str, source: str) -> NDArray[Any]:
    """Labels or groups, (N,): whole numbers, floats, or text objects."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(f"{source}: masked {what} are not read; leave out the sequences that have none")
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except _NO_ARRAY as error:
        raise DataError(f"{source}: expected {n} {what}, found what cannot be made an array") from error
    if array.shape != (n,) or array.dtype.kind not in "biufSUOT":
        raise DataError(
            f"{source}: expected {n} {what}, one for each sequence, "
            f"found {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "U" and (index := _no_text(array)) is not None:
        raise DataError(
            f"{source}: sequence {index}: expected one of the {what}, a whole number or text, "
            "found characters that Unicode does not have"
        )
    given = values if isinstance(values, list | tuple) else array.tolist()  # NaN among text stays one
    names = [_name(name) for name in given]
    if "" in names:
        index = names.index("")
        raise DataError(
            f"{source}: sequence {index}: expected one of the {what}, a whole number or text, "
            f"found {shown(repr(given[index]))}"
        )
    return array if array.dtype.kind == "f" else np.array(names)


def _no_text(array: NDArray[Any]) -> int | None:
    """Which of (N,) texts Python cannot hold: NumPy takes any 32 bits of a file for a character."""
    if array.dtype.itemsize == 0:
        return None
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    characters = native.view(np.uint32).reshape(len(native), -1)
    wrong = np.flatnonzero((characters > sys.maxunicode).any(1))
    return int(wrong[0]) if wrong.size else None


def _name(value: Any) -> str:
    """As text; "" for what is none, or stands for a missing value."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if (
        missing
        or type(value).__name__ in ("NAType", "NaTType")
        or isinstance(value, list | tuple | dict | set)
    ):
        return ""
    return "" if hasattr(value, "shape") and value.shape else str(value)
