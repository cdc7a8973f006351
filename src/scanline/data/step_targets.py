"""Targets of the steps of sequences: a class or a number for each step, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import name_classes
from scanline.data.labels import match_names
from scanline.data.memory import MemorySource
from scanline.data.source import ClassName, Indices, SequenceSource
from scanline.data.source_info import Locate
from scanline.data.targets import distinct_numbers
from scanline.errors import DataError
from scanline.formats.text import joined_beside

UNLABELLED = -1  # target of a step that has no label; NaN among targets that are floats


def is_labelled(targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which targets of steps, of any shape, are those of steps with a label."""
    labelled: NDArray[np.bool_] = ~np.isnan(targets) if targets.dtype.kind == "f" else targets >= 0
    return labelled


def require_steps(source: SequenceSource, name: str, task: str) -> MemorySource:
    """Return `source` if its steps have targets.

    Args:
        source: Sequences.
        name: Name of the data, for the message.
        task: What needs these targets, for the message.

    Raises:
        DataError: If they have none.
    """
    if not isinstance(source, MemorySource) or source.step_targets is None:
        found = "one for each sequence" if source.has_targets else "none"
        raise DataError(f"{name}: expected a label for each step, as the task {task} predicts, found {found}")
    return source


def encode_step_labels(
    names: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    lengths: NDArray[np.int64],
    source: str,
    locate: Locate,
    typed: bool = False,
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the class names, sorted, and the index of each step's class among them.

    Args:
        names: As for `name_classes`.
        codes: (S,) the label of step s is `names[codes[s]]`; -1 and the codes of empty text: it has none.
        lengths: (N,) number of steps of each sequence; their sum is S.
        source: Name of the source, for messages.
        locate: Names the place of a step, for messages.
        typed: As for `name_classes`.

    Returns:
        K class names, none if no step has a label, and (S,) indices, -1 for steps without a label.

    Raises:
        DataError: Names the first label that cannot be used.
    """
    rows, place = _labelled_rows(names, codes, lengths, locate)
    targets = np.full(len(codes), UNLABELLED, np.int64)
    if not rows.size:
        return (), targets
    classes, targets[rows] = name_classes(names, codes[rows], source, place, typed)
    return classes, targets


def encode_step_numbers(
    names: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    lengths: NDArray[np.int64],
    source: str,
    locate: Locate,
    decimal: str = "",
) -> tuple[tuple[float, ...], NDArray[np.int64]]:
    """Return the distinct numbers, sorted, and the index of each step's number among them.

    Args:
        names: Labels, each once.
        codes: (S,) the label of step s is `names[codes[s]]`; -1 and the codes of empty text: it has none.
        lengths: (N,) number of steps of each sequence; their sum is S.
        source: Name of the source, for messages.
        locate: Names the place of a step, for messages.
        decimal: Mark before the decimals of labels that are text.

    Returns:
        The numbers, none if no step has a label, and (S,) indices, -1 for steps without a label.

    Raises:
        DataError: Names the first label that is no finite number.
    """
    rows, place = _labelled_rows(names, codes, lengths, locate)
    targets = np.full(len(codes), UNLABELLED, np.int64)
    if not rows.size:
        return (), targets
    numbers, targets[rows] = distinct_numbers(names, codes[rows], source, place, decimal)
    return numbers, targets


def step_numbers(source: SequenceSource) -> NDArray[np.float64]:
    """Return the number of each step of a source that has them, (S,), NaN for steps without a label."""
    assert source.step_targets is not None
    numbers: NDArray[np.float64] = np.array([*source.classes, np.nan], np.float64)[source.step_targets]
    return numbers


def _labelled_rows(
    names: Sequence[Any], codes: NDArray[np.integer[Any]], lengths: NDArray[np.int64], locate: Locate
) -> tuple[NDArray[np.int64], Locate]:
    """Return the steps that have a label, and what names the place of one of them by its index."""
    empty = [code for code, name in enumerate(names) if not str(name).strip()]
    rows = np.flatnonzero((codes >= 0) & ~np.isin(codes, empty))
    starts = np.cumsum(lengths) - lengths

    def place(index: int, step: int = 0, /) -> str:
        row = int(rows[index])
        sequence = int(np.searchsorted(starts, row, "right")) - 1
        return locate(sequence, row - int(starts[sequence]))

    return rows, place


def gather_steps(
    values: NDArray[Any], lengths: NDArray[np.int64], starts: NDArray[np.int64], indices: Indices, width: int
) -> NDArray[Any]:
    """Return the targets of the steps of some sequences as one padded array.

    Args:
        values: (S,) targets of the steps of all sequences, one sequence after another.
        lengths: (N,) number of steps of each sequence.
        starts: (N,) where each sequence starts in `values`.
        indices: (n,) which sequences.
        width: T, at least the longest of them.

    Returns:
        (n, T), past the end of each sequence -1, or NaN if the targets are floats.
    """
    steps = np.arange(width)
    own = lengths[indices][:, None]
    padded: NDArray[Any] = values[starts[indices][:, None] + np.minimum(steps, own - 1)]
    padded[steps >= own] = np.nan if padded.dtype.kind == "f" else UNLABELLED
    return padded


def count_classes(source: SequenceSource) -> tuple[NDArray[np.int64], int]:
    """Return the number of steps of each class, (K,), and that of the steps without a label."""
    assert source.step_targets is not None
    labelled = source.step_targets[source.step_targets >= 0]
    counts = np.bincount(labelled, minlength=len(source.classes))
    return counts, len(source.step_targets) - len(labelled)


def balanced_steps(source: SequenceSource) -> NDArray[np.float32]:
    """Return a weight for each class, (K,), with which all classes have the same total weight over the steps.

    The mean weight of the labelled steps is 1.

    Source: sklearn.utils.class_weight.compute_class_weight.
    """
    counts, _ = count_classes(source)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


def with_step_classes(source: MemorySource, classes: tuple[ClassName, ...], owner: str) -> MemorySource:
    """Return `source` with step targets that are indices into `classes`, matched by name.

    Args:
        source: Sequences with step targets.
        classes: The class names.
        owner: What has these classes, for messages.

    Raises:
        DataError: Names the place of the first label that is not in `classes`.
    """
    assert source.step_targets is not None
    # The last entry translates -1 to itself.
    translation = np.array([*match_names(source.classes, classes), UNLABELLED], np.int64)
    targets = translation[source.step_targets]
    unknown = np.flatnonzero((targets < 0) & (source.step_targets >= 0))
    if unknown.size:
        row = int(unknown[0])
        sequence = int(np.searchsorted(source.starts, row, "right")) - 1
        place = source.info.locate(sequence, row - int(source.starts[sequence]))
        found = source.classes[source.step_targets[row]]
        join = joined_beside([found], classes)
        more = f" ({unknown.size:,} of {len(targets):,} steps are unknown)" if unknown.size > 1 else ""
        raise DataError(
            f"{source.name}: {place}: expected a class of {owner}, one of {join(classes)}, "
            f"found {join([found])}{more}"
        )
    return replace(source, step_targets=targets, classes=classes)


def without_unused_step_classes(source: MemorySource) -> MemorySource:
    """Return `source` without the classes that none of its steps has."""
    assert source.step_targets is not None
    counts, _ = count_classes(source)
    used = np.flatnonzero(counts)
    translation = np.full(len(counts) + 1, UNLABELLED, np.int64)
    translation[used] = np.arange(len(used))
    classes = tuple(source.classes[code] for code in used)
    return replace(source, step_targets=translation[source.step_targets], classes=classes)
