"""Intervals between the steps of sequences: how regularly they were recorded, and where there are gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.time_features import TimeUnit, differences

_GAP = 1.5  # times the median interval
_LONGEST = 1e300  # the mean of two larger numbers may be infinite
_REGULAR = 0.01  # share of the median interval by which regular intervals may differ from it


@dataclass(frozen=True)
class Gap:
    """An interval much longer than the others.

    Attributes:
        sequence: Identifier of the sequence.
        step: The step that ends it, counted from 1.
        interval: Its length.
        after: Time of the step before, as text.
    """

    sequence: str
    step: int
    interval: float
    after: str


@dataclass(frozen=True)
class Intervals:
    """Intervals between neighbouring steps, in seconds or in the unit of times that are numbers.

    Attributes:
        in_seconds: Whether they are in seconds.
        count: Number of intervals.
        median: The median interval.
        shortest: The shortest.
        longest: The longest.
        irregular: Share of intervals that differ from the median by more than a hundredth of it.
        gaps: Number of intervals of more than 1.5 times the median.
        largest: The largest gap, or None.
    """

    in_seconds: bool
    count: int
    median: float
    shortest: float
    longest: float
    irregular: float
    gaps: int
    largest: Gap | None


def measure(
    times: NDArray[Any], starts: NDArray[np.int64], unit: TimeUnit, name: Callable[[int], int | str]
) -> Intervals | None:
    """Return the intervals of sequences; None if all have one step, or times are beyond all measure.

    Args:
        times: (S,) time of each step, those of a sequence one after another and in order.
        starts: (N,) index of the first step of each sequence.
        unit: What the times are.
        name: Returns the identifier of the sequence at an index.
    """
    first = np.zeros(len(times), bool)
    first[starts] = True
    ends = np.flatnonzero(~first)
    if not len(ends):
        return None
    passed = differences(times)[ends - 1] * float(unit.seconds)
    if unit.kind == "times of day":
        passed[passed < 0] += 86_400
    if not passed.max() < _LONGEST:
        return None
    median = float(np.median(passed))
    far = np.abs(passed - median) > _REGULAR * median
    long = passed > _GAP * median
    largest = None
    if long.any():
        place = int(passed.argmax())
        step = int(ends[place])
        sequence = int(np.searchsorted(starts, step, "right")) - 1
        after = _shown(times[step - 1], unit)
        largest = Gap(str(name(sequence)), step - int(starts[sequence]) + 1, float(passed[place]), after)
    in_seconds = unit.kind != "numbers"
    ends_of = float(passed.min()), float(passed.max())
    return Intervals(in_seconds, len(ends), median, *ends_of, float(far.mean()), int(long.sum()), largest)


def _shown(time: Any, unit: TimeUnit) -> str:
    """Return a time as text: ISO 8601 if it is a date or a time of day."""
    if unit.kind not in ("dates", "times of day"):
        return f"{time}"
    ticks = int(time) * unit.seconds.numerator
    microseconds = ticks * 1_000_000 // unit.seconds.denominator
    text = str(np.datetime64(microseconds, "us")).removesuffix(".000000").replace("T", " ")
    return text if unit.kind == "dates" else text.partition(" ")[2]
