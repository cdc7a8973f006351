"""Reads sequences from the arrays of a Python program."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import to_float32
from scanline.data.labels import as_class_name
from scanline.data.memory import MemorySource
from scanline.data.readers.containers import unpacked
from scanline.data.readers.frames import match_frames
from scanline.data.readers.label_rows import join_rows
from scanline.data.readers.pictures import as_pictures
from scanline.data.readers.step_labels import read_step_labels, read_step_numbers
from scanline.data.readers.text_sources import listed_texts, text_list, text_source
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo, by_number
from scanline.data.targets import STEP_CLASSES, STEP_NUMBERS, encode_labels
from scanline.errors import DataError, one_line
from scanline.recipe import DataSettings

_SHAPES = "expected values of shape (sequences, steps, features) or (sequences, steps)"
# Values of a step, and how many times as many as steps, from which an array may be transposed.
_MANY_FEATURES, _MANY_TIMES = 20, 4
# What NumPy and torch raise for something that cannot be made an array.
_NO_ARRAY = (ValueError, TypeError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Arrays:
    """Sequences of a Python program, to train on.

    Attributes:
        values: As for `from_arrays`.
        labels: (N,) integers or text. For several classes at once (N, C) of 0 and 1, or N lists of names; for
            several numbers (N, M). For a label at each step (N, T), or a list of N arrays (T_i,), of which
            None, NaN, "" and -1 stand for steps without a label; of numbers None, NaN and "".
        lengths: As for `from_arrays`.
        groups: As for `from_arrays`.
        test: The test split as (values, labels) or (values, labels, lengths); None draws it.
        validation: The validation split, likewise.
        name: Name of the data, for the run directory.
    """

    values: Any
    labels: Any
    lengths: Any = None
    groups: Any = None
    test: tuple[Any, ...] | None = None
    validation: tuple[Any, ...] | None = None
    name: str = "arrays"

    def read(self, settings: DataSettings) -> dict[str, MemorySource]:
        """Return {"all": source}, or {"train": source, "test": source} and so on.

        Raises:
            DataError: As `from_arrays`, or if labels are missing.
        """
        if self.labels is None:
            raise DataError("the given values: expected labels to train on, found None")
        splits = {"test": self.test, "validation": self.validation}
        given = {name: split for name, split in splits.items() if split is not None}
        first = from_arrays(self.values, self.labels, self.lengths, self.groups, settings=settings)
        sources = {"train" if "test" in given else "all": first}
        for name, split in given.items():
            if not isinstance(split, tuple | list):
                found = type(split).__name__
            elif len(split) not in (2, 3):
                found = f"{len(split)} items"
            elif split[1] is None:
                found = "no labels"
            else:
                inferred = first.info.settings or settings
                sources[name] = from_arrays(*split, settings=inferred, source=f"the {name} split")
                continue
            raise DataError(
                f"the {name} split: expected (values, labels) or (values, labels, lengths), found {found}"
            )
        return sources


def from_arrays(
    values: Any,
    labels: Any = None,
    lengths: Any = None,
    groups: Any = None,
    *,
    settings: DataSettings,
    source: str = "the given values",
) -> MemorySource:
    """Make a source from arrays of NumPy or torch, nested lists, or other containers of sequences.

    Unsigned bytes of shape (N, T, F) are taken for pictures unless `settings.picture` is "none", bytes of
    shape (N, H, W, 3) for pictures in colour.

    Args:
        values: (N, T, F); (N, T) for one feature; a list of N arrays (T_i, F) or (T_i,); a list of N texts;
            or a container of arrays, see `scanline.data.readers.containers`.
        labels: (N,) integers or text, or None; labels of steps as for `Arrays` if `settings.targets` are
            "step-classes" or "step-numbers".
        lengths: (N,) number of steps of each sequence of a padded array; the padding is not read.
        groups: (N,) group of each sequence, for splits.
        settings: How pictures are recognised and fitted.
        source: Name of the values, for messages.

    Raises:
        DataError: If the arrays cannot be used, or the columns of data frames are not those of the training
            data, which `settings` names; says what was expected.
    """
    if (texts := listed_texts(values)) is not None:
        return _from_texts(texts, labels, groups, settings, source)
    values, settings = match_frames(values, settings, source)
    values, labels, groups = (unpacked(each, source) for each in (values, labels, groups))
    channels = 1
    shape = _shape(values)
    if len(shape) == 4 and shape[3] in (1, 3) and 0 not in shape:
        channels = shape[3]
        # (N, H, W, C) -> (N, H, W * C): a row of pixels is a step, its channels interleaved.
        values = as_numbers(values, source).reshape(*shape[:2], -1)
    steps, counts = _concatenate(values, lengths, source)
    n = len(counts)
    classes: tuple[ClassName, ...] = ()
    codes, of_steps = np.zeros(n, np.int64), None
    if labels is not None and settings.targets == STEP_CLASSES:
        classes, of_steps = read_step_labels(labels, counts, source)
    elif labels is not None and settings.targets == STEP_NUMBERS:
        classes, of_steps = read_step_numbers(labels, counts, source)
    elif labels is not None and (rows := join_rows(labels, n, settings, source)) is not None:
        settings, texts, codes = rows
        classes, codes = encode_labels(texts, codes, source, by_number, settings)
    elif labels is not None:
        names, codes = _distinct(_names(labels, n, "labels", source))
        classes, codes = encode_labels(names, codes, source, by_number, settings, typed=True)
    members = None if groups is None else _without_blanks(_names(groups, n, "groups", source))
    info = SourceInfo(settings, notes=_transposed(shape, source))
    made = MemorySource(
        steps, counts, codes, classes, source, groups=members, info=info, step_targets=of_steps
    )
    if settings.picture == "none":
        return made
    if settings.picture_size:
        if _is_boolean(values):  # black and white; without a size they stay features of 0 and 1
            made = replace(made, concatenated=made.concatenated.astype(np.uint8) * np.uint8(255))
        elif made.dtype != np.uint8 and steps.max() == 1:
            raise DataError(
                f"{source}: expected grey levels from 0 to 255, found none above 1, which may be white or "
                "the darkest grey; give booleans if 1 is white, and unsigned bytes if they are grey levels"
            )
        return as_pictures(made, settings.picture_size, "", channels)
    if made.dtype == np.uint8 and made.uniform and made.features > 1:
        size = made.max_length, made.features // channels
        made = as_pictures(made, size, "because they are bytes", channels)
        notes = tuple(f"{source}: read as {note}" for note in made.info.notes)
        return replace(made, info=replace(made.info, notes=notes))
    return made


def _from_texts(
    texts: list[str], labels: Any, groups: Any, settings: DataSettings, source: str
) -> MemorySource:
    """Return texts, with a label each or none, as sequences of tokens."""
    settled = settings.model_copy(update={"text_column": settings.text_column or "text"})
    made = text_source(text_list(texts, source), settled)
    if labels is not None:
        labels = unpacked(labels, source)
        if (rows := join_rows(labels, len(texts), made.info.settings or settled, source)) is not None:
            made = replace(made, info=replace(made.info, settings=rows[0]))
            targets = encode_labels(rows[1], rows[2], source, by_number, rows[0])
        else:
            names, codes = _distinct(_names(labels, len(texts), "labels", source))
            targets = encode_labels(names, codes, source, by_number, settings, typed=True)
        made = made.with_targets(targets[1], targets[0])
    if groups is not None:
        named = _names(unpacked(groups, source), len(texts), "groups", source)
        made = replace(made, groups=_without_blanks(named))
    return made


# --- values


def _transposed(shape: tuple[int, ...], source: str) -> tuple[str, ...]:
    """Return a warning if an array of this shape may be (N, F, T), as many libraries store series."""
    if len(shape) != 3 or shape[2] < max(_MANY_FEATURES, _MANY_TIMES * shape[1]):
        return ()
    n, steps, features = shape
    return (
        f"{source}: read as {n:,} sequences of {steps:,} {'step' if steps == 1 else 'steps'} with "
        f"{features:,} values each; if it has the shape (sequences, features, steps), transpose it: "
        "values.transpose(0, 2, 1)",
    )


def _concatenate(values: Any, lengths: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return all steps (S, F), uint8 or float32, and the length of each sequence (N,)."""
    listed = isinstance(values, list | tuple) or (
        isinstance(values, np.ndarray) and values.dtype == object and values.ndim > 0
    )
    if listed:
        regular = _regular(values)
        if regular is None:
            if lengths is not None:
                raise DataError(f"{source}: a list of sequences needs no lengths, found lengths")
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
            f"{source}: expected {n} integers as lengths, found {counts.dtype} of shape {counts.shape}"
        )
    wrong = np.flatnonzero((counts != np.trunc(counts)) | (counts < 1) | (counts > steps))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{source}: sequence {first} has length {counts[first]}, expected an integer from 1 to {steps}"
        )
    counts = counts.astype(np.int64)
    # The (N, T) mask selects real steps in order, which concatenates sequences without their padding.
    return _plain(array[np.arange(steps) < counts[:, None]]), counts


def _regular(values: Any) -> NDArray[Any] | None:
    """Nested lists of equal lengths as an array; None for a list of arrays or of unequal lists."""
    if len(values) and hasattr(values[0], "shape"):
        return None
    try:
        array = np.asarray(values)
    except _NO_ARRAY:  # rows of different lengths, or values that are not numbers
        return None
    return None if array.dtype == object else array


def _join(values: Any, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Concatenate a list of arrays (T_i, F) or (T_i,)."""
    arrays: list[NDArray[Any]] = []
    for index, value in enumerate(values):
        array = as_numbers(value, f"{source}: sequence {index}")
        found = array.shape
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or 0 in array.shape:
            raise DataError(
                f"{source}: sequence {index}: expected shape (steps, features) or (steps,), "
                f"neither of them 0, found {found}"
            )
        if arrays and array.shape[1] != arrays[0].shape[1]:
            raise DataError(
                f"{source}: sequence {index}: expected {arrays[0].shape[1]} features as in sequence 0, "
                f"found shape {found}"
            )
        arrays.append(array)
    if not arrays:
        raise DataError(f"{source}: {_SHAPES}, found no sequence")
    return _plain(np.concatenate(arrays)), np.array([len(array) for array in arrays], np.int64)


def as_numbers(values: Any, source: str) -> NDArray[Any]:
    """Return `values` as an array of numbers. Raises DataError if they are not numbers, or masked."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(
            f"{source}: masked arrays are not supported; fill them, and give lengths if they are padded"
        )
    try:
        if hasattr(values, "detach"):  # a torch tensor, perhaps on another device
            # Lazy conjugate and negative bits, and bfloat16, have no NumPy equivalent.
            values = values.detach().cpu().resolve_conj().resolve_neg()
            values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        array = np.asarray(values)
    except _NO_ARRAY as error:
        raise DataError(
            f"{source}: expected an array of numbers, found something else ({one_line(error, 200)})"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected an array of numbers, found {array.dtype}")
    return array


def _plain(flat: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(flat) if flat.dtype == np.uint8 else to_float32(flat)


def _is_boolean(values: Any) -> bool:
    """Whether values are an array or tensor of booleans, or nested lists of them."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return str(getattr(values, "dtype", "")).removeprefix("torch.") == "bool" or isinstance(values, bool)


def _shape(values: Any) -> tuple[int, ...]:
    """The shape of an array or a tensor, () for anything else."""
    try:
        return tuple(values.shape)
    except (AttributeError, *_NO_ARRAY):
        return ()


# --- names


def _names(values: Any, n: int, what: str, source: str) -> NDArray[Any]:
    """Labels or groups as an array (N,) of integers, floats or text."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(f"{source}: masked {what} are not supported; remove the sequences without {what}")
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except _NO_ARRAY as error:
        raise DataError(f"{source}: expected {n} {what}, found something else") from error
    if array.shape != (n,) or array.dtype.kind not in "biufSUOT":
        raise DataError(
            f"{source}: expected {n} {what}, one for each sequence, "
            f"found {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "U" and (index := _invalid_text(array)) is not None:
        raise DataError(
            f"{source}: sequence {index}: expected one of the {what}, an integer or text, "
            "found characters outside Unicode"
        )
    given = values if isinstance(values, list | tuple) else array.tolist()  # NaN stays NaN among text
    names = [_name(name) for name in given]
    if "" in names:
        index = names.index("")
        raise DataError(
            f"{source}: sequence {index}: expected one of the {what}, an integer or text, "
            f"found {one_line(repr(given[index]))}"
        )
    if array.dtype.kind in "fb":
        return array
    if array.dtype.kind not in "OS":
        return np.array(names)
    typed = np.empty(n, dtype=object)
    typed[:] = [as_class_name(name) for name in given]
    return typed


def _distinct(labels: NDArray[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the different labels as Python values, and the index of each label among them, (N,)."""
    if labels.dtype != object:
        names, inverse = np.unique(labels, return_inverse=True)
        return names.tolist(), inverse.reshape(-1).astype(np.int64)
    known: dict[tuple[type, Any], int] = {}  # with the type, as True == 1 == 1.0
    codes = [known.setdefault((type(label), label), len(known)) for label in labels]
    return [label for _, label in known], np.array(codes, np.int64)


def _without_blanks(names: NDArray[Any]) -> NDArray[Any]:
    """Return names without the blanks around them, which no reader keeps."""
    return names if names.dtype.kind in "iuf" else np.array([str(name).strip() for name in names])


def _invalid_text(array: NDArray[Any]) -> int | None:
    """Index of the first text with an invalid character, or None: NumPy accepts any 32 bits as one."""
    if array.dtype.itemsize == 0:
        return None
    # NumPy stores each character of a U array as one uint32 code point: view the text as (N, width) numbers.
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    characters = native.view(np.uint32).reshape(len(native), -1)
    wrong = np.flatnonzero((characters > sys.maxunicode).any(1))
    return int(wrong[0]) if wrong.size else None


def _name(value: Any) -> str:
    """A label as text; "" if it is missing or not a scalar."""
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
