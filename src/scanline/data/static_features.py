"""Static features: columns with one value for a whole sequence, such as the age of a person.

Every step of a sequence repeats them, so that sources, files and streams need no second kind of value. The
network reads them from the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import SequenceSource
from scanline.errors import DataError, one_line


def with_static(source: MemorySource, static: Sequence[int]) -> MemorySource:
    """Return sequences whose static features have their value at each step.

    Empty cells get the value that the other steps of the sequence have.

    Args:
        source: The sequences, without padding; categories are codes into `source.info.categories`.
        static: Indices of the static features.

    Raises:
        DataError: If a sequence has different values; names the sequence and the place of the first one.
    """
    steps = source.concatenated
    for feature in static:
        own = steps[:, feature]
        settled = _settled(source, feature)
        if not np.array_equal(own, settled, equal_nan=True):
            if steps is source.concatenated:
                steps = steps.astype(np.float32)
            steps[:, feature] = settled
    return source if steps is source.concatenated else replace(source, concatenated=steps)


def check_static(source: MemorySource, static: Sequence[int]) -> None:
    """Raise DataError as `with_static` does."""
    for feature in static:
        _settled(source, feature)


def one_step_each(source: SequenceSource) -> SequenceSource:
    """Return sequences of one step with the values of the static features, to fit what counts sequences.

    Raises:
        DataError: As for `with_static`.
    """
    assert isinstance(source, MemorySource)  # stored sources have no static features
    whole = with_static(source, source.info.static)
    targets = whole.step_targets
    return replace(
        whole,
        concatenated=whole.concatenated[whole.starts],
        lengths=np.ones(len(whole), np.int64),
        step_targets=None if targets is None else targets[whole.starts],
    )


def _settled(source: MemorySource, feature: int) -> NDArray[np.float32]:
    """Return the values (S,) of a static feature, with those of empty cells."""
    names = source.info.categories[feature] if source.info.categories else None
    values = source.concatenated[:, feature].astype(np.float32)
    missing = float(names.index("")) if names is not None and "" in names else np.nan
    if names is not None:
        values[values == missing] = np.nan
    # `fmax` takes the number beside a NaN, and NaN if there are only such.
    low, high = (ends.reduceat(values, source.starts) for ends in (np.fmin, np.fmax))
    wrong = np.flatnonzero(low < high)
    if wrong.size:
        _refuse(source, feature, int(wrong[0]), values, names)
    high[np.isnan(high)] = missing
    return np.repeat(high, source.lengths)


def _refuse(
    source: MemorySource,
    feature: int,
    index: int,
    values: NDArray[np.float32],
    names: tuple[str, ...] | None,
) -> None:
    """Raise DataError for a sequence with different values of a static feature."""
    start = int(source.starts[index])
    own = values[start : start + int(source.lengths[index])]
    first = own[~np.isnan(own)][0]
    step = int(np.flatnonzero(~np.isnan(own) & (own != first))[0])

    def shown(value: float) -> str:
        return f"{value:g}" if names is None else repr(one_line(names[int(value)], 40))

    known = source.info.feature_names
    column = f"column {one_line(known[feature])}" if feature < len(known) else f"feature {feature}"
    raise DataError(
        where=f"{source.name}: {source.info.locate(index, step)}, {column}",
        expected=f"one value of the static column for {source.describe(index)}, {shown(first)} as before",
        found=shown(float(own[step])),
    )
