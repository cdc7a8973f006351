"""Errors that a user can cause, with their exit codes, and the text helpers for their messages.

A message is one line: what is wrong and where, what was expected, what was found, and what to do about it.
Errors carry the same as fields, so that programs and tests need not parse the text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

# Characters that control a terminal or reorder the text around them: control characters, surrogates and
# direction marks (https://trojansource.codes).
UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    r"""Return `text` as one line that is safe to print.

    Line breaks and tabs become spaces; other characters in `UNPRINTABLE` become escapes such as \x1b.
    """
    plain = re.sub(r"[\n\t]", " ", text)
    return UNPRINTABLE.sub(_escape, plain)


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def quoted(value: object) -> str:
    """Return `repr(value)`, shortened to 63 characters if it has 80 or more."""
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}..."


def one_line(value: object, limit: int = 60) -> str:
    """Return `value` as one printable line of at most `limit` characters, for a message.

    Runs of white space become one space. A longer text ends in `...`.
    """
    # Cutting first bounds the work: the value may be a name of megabytes from a file.
    text = UNPRINTABLE.sub(_escape, " ".join(str(value)[: 4 * limit].split()))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def join_names(names: Sequence[object], limit: int = 12, width: int = 60) -> str:
    """Return names separated by commas, for a message.

    Args:
        names: The names.
        limit: How many are listed; then follows how many more there are.
        width: The largest number of characters of a name.
    """
    text = ", ".join(one_line(name, width) for name in names[:limit])
    return text + (f" and {len(names) - limit} more" if len(names) > limit else "")


class ScanlineError(Exception):
    """An expected failure, reported to the user in one line without a traceback.

    The text is `WHERE: MESSAGE, expected EXPECTED, found FOUND; REMEDY`, of which every part is optional.

    Attributes:
        exit_code: Exit code of the command line.
        code: Short identifier of this kind of failure, for programs, or None.
        where: File and place, or setting, or None.
        expected: The rule, or None.
        found: What was there instead, or None.
        remedy: What to do about it, or None.
    """

    exit_code = 1
    _found_verb = "found"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        where: object = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.code, self.remedy = code, remedy
        self.where, self.expected, self.found = (
            None if each is None else str(each) for each in (where, expected, found)
        )
        text = [] if self.expected is None else [f"expected {self.expected}"]
        if self.found is not None:
            text.append(f"{self._found_verb} {self.found}")
        text = [message, *text] if message else text
        place = f"{self.where}: " if self.where and text else self.where or ""
        end = f"; {remedy}" if remedy else ""
        # File, column and class names in a message may come from untrusted files.
        super().__init__(printable(place + ", ".join(text) + end))


class UsageError(ScanlineError):
    """The request is invalid: an unknown name, a setting out of range, an output that already exists."""

    exit_code = 2
    _found_verb = "got"


class MissingExtraError(UsageError):
    """Optional packages are not installed.

    The remedy installs from a checkout because the package index has another project called scanline.

    Attributes:
        packages: Names of the packages that are missing.
        extra: The extra that installs them.
    """

    def __init__(self, task: str, packages: Iterable[str], extra: str) -> None:
        """Compose the message.

        Args:
            task: What needs the packages, as a noun phrase: "reading PATH".
            packages: Names of the packages that are missing.
            extra: The extra that installs them.
        """
        self.packages, self.extra = tuple(packages), extra
        names, verb = " and ".join(self.packages), "is" if len(self.packages) == 1 else "are"
        super().__init__(
            f"{task} requires {names}, which {verb} not installed: "
            f"run pip install '.[{extra}]' in a checkout of Scanline"
        )


class DataError(ScanlineError):
    """A data file is missing or damaged, or its content does not match its format."""

    exit_code = 3


class MissingFileError(DataError):
    """A file, or the bucket that should hold it, does not exist."""


class FormatError(DataError):
    """The bytes of a file do not follow its format, exceed a limit, or need a feature that is not supported.

    Raised by `scanline.formats`. Importers turn it into a `ModelError`.

    Attributes:
        file: The file, or None while it is not known: parsers of bytes leave it to their callers.
        place: Where in the file, such as "byte 4" or "line 12, column x", or None.
        what: The message without the fields.
    """

    def __init__(
        self,
        what: str = "",
        *,
        file: str | PathLike[str] | None = None,
        place: str | None = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.file, self.place, self.what = None if file is None else str(file), place, what
        where = ": ".join(each for each in (self.file, place) if each)
        super().__init__(what, where=where or None, expected=expected, found=found, remedy=remedy)

    def within(
        self, file: str | PathLike[str] | None = None, place: str | None = None, remedy: str | None = None
    ) -> FormatError:
        """Return the same error with more context.

        Args:
            file: The file, unless the error has one.
            place: The outer place, put before the error's own.
            remedy: What to do, unless the error has a remedy.
        """
        return FormatError(
            self.what,
            file=self.file or file,
            place=": ".join(each for each in (place, self.place) if each) or None,
            expected=self.expected,
            found=self.found,
            remedy=self.remedy or remedy,
        )

    def to_model_error(self, prefix: str | None = None) -> ModelError:
        """Return a `ModelError` with the same fields.

        Args:
            prefix: Replaces the text before the message, which is the file otherwise.
        """
        where = ": ".join(each for each in (prefix or self.file, self.place) if each)
        fields: dict[str, Any] = {"expected": self.expected, "found": self.found, "remedy": self.remedy}
        return ModelError(self.what, where=where or None, **fields)


class ModelError(ScanlineError):
    """A run directory or a model is missing or damaged, or does not fit its use."""

    exit_code = 4


class Interrupted(ScanlineError):
    """The user or the system asked the program to stop. `exit_code` is 128 plus `signal_number`."""

    def __init__(self, message: str, signal_number: int = 2) -> None:
        super().__init__(message)
        self.signal_number, self.exit_code = signal_number, 128 + signal_number


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name, to append to a message.

    Args:
        name: The name that was given.
        known: The legal names.

    Returns:
        Text such as `; did you mean 'rows'?`, or an empty string if no legal name is close.
    """
    near = closest(name, known)
    return "" if near is None else f"; did you mean {near!r}?"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the legal name that a misspelt one most probably stands for, or None.

    A name that differs in its case only comes first, then names that begin with the given one, so
    that "temp" is "temperature" rather than "stamp", then similar names, then names that the given one
    begins with.
    """
    names, lower = list(known), name.lower()
    lowered = [(each, each.lower()) for each in names]
    same = [each for each, low in lowered if low == lower]
    longer = [each for each, low in lowered if len(name) >= 3 and low.startswith(lower)]
    # Without the dashes, which all options have in common: "--epochs" is not "--steps".
    bare = {each.lstrip("-"): each for each in names}
    similar = [bare[each] for each in difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=0.6)]
    shorter = [each for each, low in lowered if len(each) >= 3 and lower.startswith(low)]
    candidates = [*same, *sorted(longer, key=len), *similar, *sorted(shorter, key=len, reverse=True)]
    return candidates[0] if candidates else None
