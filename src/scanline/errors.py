"""Every error that a user can cause, with the exit code that the command line gives it.

A message is one line: what is wrong, where, what was expected, what was found, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# What does something to a terminal, or turns the order of what stands beside it: controls, surrogates, and
# the marks of direction (https://trojansource.codes).
UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    """`text` as one line that is safe to print: line breaks and tabs become blanks, other controls \\x1b."""
    plain = re.sub(r"[\n\t]", " ", text)
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], plain)


def quoted(value: object) -> str:
    """`value` as Python writes it, cut where that is long."""
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}..."


class ScanlineError(Exception):
    """Something failed that is nobody's bug: the message says what, where and what to do."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        # Names of files, columns and classes stand in messages, and strangers may have chosen them.
        super().__init__(printable(message))


class UsageError(ScanlineError):
    """The request itself makes no sense: an unknown name, a setting out of range, a folder in the way."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is not installed.

    Attributes:
        packages: Names of the missing packages.
        extra: Name of Scanline's extra that installs them.
    """

    def __init__(self, task: str, packages: Iterable[str], extra: str) -> None:
        self.packages = tuple(packages)
        self.extra = extra
        names, verb = " and ".join(self.packages), "is" if len(self.packages) == 1 else "are"
        super().__init__(
            f"{task} requires {names}, which {verb} not installed: "
            f"run pip install '.[{extra}]' in a checkout of Scanline"
        )


class DataError(ScanlineError):
    """A data file is missing, damaged, or not what its name says."""

    exit_code = 3


class ModelError(ScanlineError):
    """A run folder or a bundle is missing, damaged, or does not fit what it is asked to do."""

    exit_code = 4


class Interrupted(ScanlineError):
    """The user, or the system, asked the work to stop. `exit_code` is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'rows'?`, or nothing.

    name: what was given. known: the legal names.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
