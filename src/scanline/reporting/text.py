"""Numbers as the report prints them."""

from __future__ import annotations

from collections.abc import Sequence

MISSING = "\N{EN DASH}"


def duration(seconds: float | None) -> str:
    """Return a duration as "1 h 03 min", "2 min 05 s" or "3.1 s"."""
    if seconds is None:
        return MISSING
    # Anything above would be rounded to "60.0 s".
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    # Rounded before the division: 119.7 s is "2 min 00 s", not "1 min 60 s".
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def estimate(value: float | None, interval: Sequence[float] | None = None, places: int = 4) -> str:
    """Return a number, with its confidence interval in parentheses if there is one."""
    if value is None:
        return MISSING
    between = "" if interval is None else f" ({interval[0]:.{places}f}\N{EN DASH}{interval[1]:.{places}f})"
    return f"{value:.{places}f}{between}"


def percent(value: float) -> str:
    """Return a fraction as a percentage with two decimals."""
    return f"{100 * value:.2f} %"


def count(value: float | None) -> str:
    """Return a whole number with thousands separators."""
    return MISSING if value is None else f"{value:,.0f}"
