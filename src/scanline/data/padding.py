"""Padding: values after the end of a sequence, which fill rows and arrays of equal lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.errors import DataError, UsageError

_NONE = ("", "none")


def without_padding(source: MemorySource, pad_value: str) -> MemorySource:
    """Return sequences without the steps at their end that hold nothing but the padding value.

    Args:
        source: Sequences as they were read; pictures have no padding.
        pad_value: The setting `data.pad_value`: "nan", a number, or "" or "none" for no padding.

    Raises:
        DataError: Names the first sequence that is nothing but padding.
    """
    if pad_value in _NONE or source.info.picture is not None:
        return source
    values = source.concatenated
    value = float(pad_value)
    padding = np.isnan(values) if np.isnan(value) else values == np.asarray(value, np.float32)
    # Positions of the steps that are not padding; the last one of each sequence is its end.
    real = np.flatnonzero(~padding.all(1))
    ends = np.cumsum(source.lengths)
    last = np.searchsorted(real, ends) - 1
    if not real.size or (last < 0).any() or (real[last] < source.starts).any():
        empty = np.flatnonzero((last < 0) | (real[np.maximum(last, 0)] < source.starts)) if real.size else [0]
        raise DataError(
            f"{source.name}: {source.info.locate(int(empty[0]))}: expected values before the padding "
            f"{pad_value}, found none; remove the sequence"
        )
    lengths = real[last] + 1 - source.starts
    if (lengths == source.lengths).all():
        return source
    steps = np.arange(len(values)) - np.repeat(source.starts, source.lengths)
    kept = steps < np.repeat(lengths, source.lengths)
    targets = None if source.step_targets is None else source.step_targets[kept]
    return replace(source, concatenated=values[kept], lengths=lengths, step_targets=targets)


def padding_note(source: MemorySource, pad_value: str) -> str:
    """Return a note about sequences that seem to end before their last step, "" if there are none."""
    count = int(ends_missing(source).sum()) if pad_value == "" else 0
    if not count:
        return ""
    return ends_note(source.name, count, len(source))


def ends_note(name: str, count: int, total: int) -> str:
    """Return the note that `count` of `total` sequences seem to end before their last step."""
    return (
        f"{name}: {count:,} of {total:,} sequences end in missing values: --pad-value nan reads "
        "them as shorter sequences, --missing replaces the values"
    )


def check_padding(data: Dataset) -> None:
    """Check that it is known whether missing values at the end are padding.

    Args:
        data: A data set as it was read to train on it.

    Raises:
        UsageError: If values are missing at the end of sequences of equal lengths and nowhere else, and the
            settings do not say what that means.
    """
    for source in data.splits.values():
        settings = source.info.settings
        # Of packed data this was asked when they were packed.
        if settings is None or settings.pad_value or not isinstance(source, MemorySource):
            continue
        ends = ends_missing(source)
        if not ends.any():
            continue
        try:
            cut = without_padding(source, "nan")
        except DataError:
            continue  # a whole sequence is missing: that is no padding
        if np.isnan(cut.concatenated).any():
            continue  # values are missing elsewhere too
        first = int(np.flatnonzero(ends)[0])
        missing = int(source.lengths[first] - cut.lengths[first])
        place = source.info.locate(first)
        raise padding_question(source.name, place, missing, source.max_length, int(ends.sum()), len(source))


def padding_question(name: str, place: str, missing: int, steps: int, count: int, total: int) -> UsageError:
    """Return the error that asks whether sequences end early.

    Args:
        name: Where the sequences come from.
        place: Place of the first that ends in missing values.
        missing: Number of its steps that are missing.
        steps: Number of its steps.
        count: Number of such sequences.
        total: Number of all sequences.
    """
    return UsageError(
        f"{name}: {place}: the last {missing} of {steps} steps "
        f"are missing ({count:,} of {total:,} sequences): does the sequence end there, "
        "or are values missing? Give --pad-value nan if it ends, --pad-value none with "
        "--missing forward-fill, zero or mean if values are missing"
    )


def ends_missing(source: MemorySource) -> NDArray[np.bool_]:
    """Return which sequences of equal lengths end in a step that is missing, (N,)."""
    if source.dtype == np.uint8 or not source.uniform or source.max_length < 2:
        return np.zeros(len(source), bool)
    # Only the last steps are looked at: this costs nothing for data without padding.
    ends: NDArray[np.bool_] = np.isnan(source.concatenated[np.cumsum(source.lengths) - 1]).all(1)
    return ends
