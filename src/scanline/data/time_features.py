"""Features of the time of each step: how long after the step before, and where in the day, week or year.

They come after the other features of a step. Readers of long tables compute them from the time column, and
streams from the time that is given with each step. Times with an offset from UTC are read in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.errors import UsageError
from scanline.recipe import TimeFeature

TimeKind = Literal["", "numbers", "durations", "times of day", "dates"]
_DAY = 86_400
# Features that go round: a sine and a cosine each. Those that need a date, and those that need a time of day.
_OF_DATES, _OF_DAYS = ("weekday", "month"), ("hour", "minute")


@dataclass(frozen=True)
class TimeUnit:
    """What the numbers of a time column are.

    Attributes:
        kind: "dates" count from 1970, "times of day" from midnight, "durations" and "numbers" from anywhere.
        seconds: Seconds of one unit; for "numbers", whose unit is unknown, 1.
    """

    kind: TimeKind = "numbers"
    seconds: Fraction = Fraction(1)


PLAIN = TimeUnit()  # of times that are numbers


def feature_names(features: Sequence[TimeFeature], time: str) -> tuple[str, ...]:
    """Return the names of the columns that features of the time column `time` have."""
    names: list[str] = []
    for feature in features:
        stem = f"{time}:{feature}"
        names += [stem] if feature.endswith("delta") else [f"{stem}:sin", f"{stem}:cos"]
    return tuple(names)


def check_unit(features: Sequence[TimeFeature], unit: TimeUnit, place: str) -> None:
    """Check that times have what the features need.

    Args:
        features: The features.
        unit: What the times are.
        place: The time column, for the message.

    Raises:
        UsageError: Names the first feature that the times do not have.
    """
    for feature in features:
        needs = "dates" if feature in _OF_DATES else "dates or times of day" if feature in _OF_DAYS else ""
        if needs and unit.kind not in needs:
            raise UsageError(
                f"{place}: the time feature {feature} needs {needs}, got {unit.kind}: leave it out of "
                "--time-features, or give dates such as 2026-01-31 12:00:00"
            )


def compute(
    features: Sequence[TimeFeature], times: NDArray[Any], starts: NDArray[np.int64], unit: TimeUnit
) -> NDArray[np.float32]:
    """Return the features of steps.

    Args:
        features: Which.
        times: (S,) time of each step, those of a sequence one after another and in order.
        starts: (N,) index of the first step of each sequence.
        unit: What the times are.

    Returns:
        (S, k). A delta is in seconds, or in the unit of times that are numbers, and 0 in the first step.
    """
    columns: list[NDArray[Any]] = []
    for feature in features:
        if feature.endswith("delta"):
            passed = _deltas(times, starts, unit)
            columns.append(np.log1p(passed) if feature == "log-delta" else passed)
            continue
        angle = 2 * np.pi * _turn(feature, times, unit)
        columns += [np.sin(angle), np.cos(angle)]
    with np.errstate(over="ignore"):  # too large values become infinite, which is refused later
        return np.stack(columns, 1).astype(np.float32)


def differences(times: NDArray[Any]) -> NDArray[np.float64]:
    """Return the difference between each time and the one before, (S - 1,), of whole numbers exactly."""
    with np.errstate(over="ignore"):
        return np.diff(times).astype(np.float64)


def _deltas(times: NDArray[Any], starts: NDArray[np.int64], unit: TimeUnit) -> NDArray[np.float64]:
    """Return the seconds from the step before, (S,), 0 at the start of a sequence."""
    passed = np.zeros(len(times))
    passed[1:] = differences(times)
    passed *= float(unit.seconds)
    passed[starts] = 0
    if unit.kind == "times of day":
        passed[passed < 0] += _DAY  # over midnight
    return passed


def _turn(feature: str, times: NDArray[Any], unit: TimeUnit) -> NDArray[np.float64]:
    """Return how much of its day, hour, week or year has passed at each time, 0 to 1, (S,)."""
    # Whole numbers of 1/`per_second` s, so that nanoseconds since 1970 stay exact.
    ticks = times.astype(np.int64) * unit.seconds.numerator
    per_second = unit.seconds.denominator
    if feature in _OF_DAYS:
        period = (_DAY if feature == "hour" else 3_600) * per_second
        return (ticks % period) / period
    days = ticks // (_DAY * per_second)
    if feature == "weekday":  # 1970-01-01 was a Thursday; a week begins on Monday
        return ((days + 3) % 7) / 7
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return (months % 12) / 12
