"""Targets from labels as a reader read them: the names of classes, or numbers.

Labels of steps are read in `data.step_targets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import name_classes
from scanline.data.label_sets import encode_label_sets, encode_number_rows
from scanline.data.labels import label_number
from scanline.data.source import ClassName
from scanline.data.source_info import Locate
from scanline.errors import DataError, one_line
from scanline.formats.text import has_decimal_comma, is_number
from scanline.recipe import DataSettings

# The setting `data.targets` of labels that are a class, or a number, for each step.
STEP_CLASSES, STEP_NUMBERS = "step-classes", "step-numbers"
LABEL_SETS = "label-sets"  # of labels that are several classes at once, or none


def encode_labels(
    names: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    source: str,
    locate: Locate,
    settings: DataSettings,
    typed: bool = False,
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the distinct targets, sorted, and the index of each sequence's target among them.

    Args:
        names: As for `name_classes`.
        codes: (N,) as for `name_classes`.
        source: Name of the source, for messages.
        locate: Names the place of a sequence, for messages.
        settings: Its `targets` decides whether labels name classes or are numbers.
        typed: As for `name_classes`.

    Raises:
        DataError: Names the first label that cannot be used; or the settings ask for labels of steps.
    """
    check_step_settings(settings, source, "one for each sequence")
    if settings.targets == LABEL_SETS:
        return encode_label_sets(names, codes, source, locate, settings)
    if settings.label_columns:
        if settings.targets != "numbers":
            raise DataError(
                f"{source}: several label columns need --task multilabel or regression, found "
                f"{len(settings.label_columns)}"
            )
        return encode_number_rows(names, codes, source, locate, settings)
    if settings.targets == "numbers":
        return distinct_numbers(names, codes, source, locate, settings.decimal)
    if settings.decimal == ",":
        names = _with_points(names)
    return name_classes(names, codes, source, locate, typed)


def check_step_settings(settings: DataSettings, source: str, found: str) -> None:
    """Check that `settings` do not ask for a label of each step where the source has none.

    Args:
        settings: How the source is read.
        source: Name of the source, for the message.
        found: What it has instead, in words.

    Raises:
        DataError: If they do.
    """
    if settings.targets in (STEP_CLASSES, STEP_NUMBERS):
        raise DataError(
            f"{source}: expected a label for each step, as in a long table (a row for each step) or an array "
            f"of labels (sequences, steps), found {found}"
        )


def _with_points(names: Sequence[Any]) -> Sequence[Any]:
    """Return labels with decimal points if all are numbers, so that fractions are refused alike."""
    plain = [
        name.replace(",", ".") if isinstance(name, str) and has_decimal_comma(name) else name
        for name in names
    ]
    return plain if all(is_number(str(name)) for name in plain) else names


def distinct_numbers(
    names: Sequence[Any], codes: NDArray[np.integer[Any]], source: str, locate: Locate, decimal: str
) -> tuple[tuple[float, ...], NDArray[np.int64]]:
    """Return the distinct numbers, sorted, and the index of each target's number; see `encode_labels`."""
    used = np.unique(codes)
    numbers = np.array([label_number(names[code], decimal) for code in used])
    wrong = used[~np.isfinite(numbers)]
    if wrong.size:
        first = int(np.flatnonzero(np.isin(codes, wrong))[0])
        text = one_line(str(names[int(codes[first])]).strip()) or "nothing"
        raise DataError(f"{source}: {locate(first)}: expected a label that is a finite number, found {text}")
    distinct, inverse = np.unique(numbers, return_inverse=True)
    indices: NDArray[np.int64] = inverse.reshape(-1)[np.searchsorted(used, codes)].astype(np.int64)
    return tuple(distinct.tolist()), indices
