"""Times in text, in a format that the user gives in the notation of `time.strptime`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DIRECTIVE = re.compile(r"%[-_0^#]?(.)")
_DATE, _YEAR = set("aAbBdjmUwWuVcxDF"), set("yYcxGDF")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXAMPLE = datetime(2026, 11, 30, 13, 14, 15, tzinfo=UTC)
REMEDY = "if it is a time, give its format with --time-format, such as '%d.%m.%Y %H:%M'"
DAY_MICROSECONDS = 86_400_000_000


def check_time_format(text: str) -> str:
    """Return `text` if times in this format have an order, or if it is empty.

    Raises:
        ValueError: If it is not a format, or leaves out the year of a date, or am and pm.
    """
    if not text:
        return text
    used = set(_DIRECTIVE.findall(text.replace("%%", "")))
    fault = ""
    if not used:
        fault = "must contain directives such as %H:%M"
    elif used & _DATE and not used & _YEAR:
        # Such times start again every year, so their order would be wrong after New Year's Eve.
        fault = "must contain a year (%Y or %y) if it contains a date"
    elif "I" in used and "p" not in used:
        fault = "must contain %p if it contains %I, or use %H"
    else:
        try:
            datetime.strptime(_EXAMPLE.strftime(text), text)
        except (ValueError, re.error):
            fault = "must be in the notation of Python's strptime, such as %d.%m.%Y %H:%M"
    if fault:
        raise ValueError(f"data.time_format {fault}, got {text[:60]!r}")
    return text


def is_clock(time_format: str) -> bool:
    """Return whether times in this format have no date, so that they start again at midnight."""
    return not set(_DIRECTIVE.findall(time_format.replace("%%", ""))) & (_DATE | _YEAR)


def parse_time(text: str, time_format: str) -> int:
    """Return a time in microseconds since 1970, or since midnight if the format has no date.

    Raises:
        ValueError: If `text` is not a time in this format.
    """
    time = datetime.strptime(text.strip(), time_format)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if is_clock(time_format):
        time = time.replace(year=1970, month=1, day=1)
    return (time - _EPOCH) // timedelta(microseconds=1)
