"""Registry of file formats that store sequences completely: values, labels and, optionally, ids and groups.

Other packages add formats through the entry point group `scanline.formats`: the entry point's name is the
format's name, its object a `SequenceFormat`, or a class that makes one without arguments. Files with one of
its suffixes can then be used wherever a data set is read.

Tables, arrays, pictures and IDX files are not listed here: reading them needs settings, such as which
column is the label, which the data readers know.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from scanline import registry
from scanline.errors import UsageError
from scanline.formats.arff import ArffFormat
from scanline.formats.ts import TsFormat

GROUP = "scanline.formats"


@runtime_checkable
class SequenceFormat(Protocol):
    """A format whose files contain sequences.

    Attributes:
        suffixes: Ends of file names in lower case, each with its dot, such as (".ts",).
    """

    suffixes: tuple[str, ...]

    def read(self, path: Path) -> Mapping[str, Any]:
        """Read a file.

        Args:
            path: The file.

        Returns:
            A mapping with "values", a list of N float arrays (T_i, F) with NaN for missing values; and, where
            the file has them, "labels", N labels; "ids", N names; "groups", N groups that a split keeps
            together; "classes", the class names in their order; "places", N texts that say where in the file
            a sequence is; "notes", what was inferred, for the user.

        Raises:
            FormatError: If the file is damaged.
        """
        ...


@runtime_checkable
class TextFormat(SequenceFormat, Protocol):
    """A format of text, whose encoding the user can name.

    Attributes:
        has_encoding: True.
    """

    has_encoding: bool

    def read(self, path: Path, encoding: str = "") -> Mapping[str, Any]:
        """Read a file of text in `encoding`, see `SequenceFormat.read`."""
        ...


_BUILT_IN: dict[str, SequenceFormat] = {"ts": TsFormat(), "arff": ArffFormat()}


def names() -> tuple[str, ...]:
    """Return the names of all formats: the built-in ones, then those of installed packages."""
    return registry.names(GROUP, _BUILT_IN)


def get(name: str) -> SequenceFormat:
    """Return the format called `name`. A built-in format cannot be replaced by another package.

    Raises:
        UsageError: If there is no such format, naming the legal ones, or a package's format cannot be loaded.
    """
    return _BUILT_IN[name] if name in _BUILT_IN else _load(name)


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of all formats that can be loaded."""
    return tuple(suffix for format in _load_all()[0] for suffix in format.suffixes)


def for_path(path: Path) -> SequenceFormat | None:
    """Return the format whose suffix the name of `path` has, or None; the longest suffix wins.

    Raises:
        UsageError: If no format matches and the format of a package cannot be loaded: it might be the one.
    """
    name = path.name.lower()
    # A package that cannot be loaded must not break files of other formats; see `Raises`.
    loaded, errors = _load_all()
    matches = [
        (len(suffix), format) for format in loaded for suffix in format.suffixes if name.endswith(suffix)
    ]
    if not matches and errors:
        raise errors[0]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def _load_all() -> tuple[list[SequenceFormat], list[UsageError]]:
    """Return the formats, and the errors of those that cannot be loaded."""
    loaded: list[SequenceFormat] = []
    errors: list[UsageError] = []
    for name in names():
        try:
            loaded.append(get(name))
        except UsageError as error:
            errors.append(error)
    return loaded, errors


@cache
def _load(name: str) -> SequenceFormat:
    """Return a format of another package. Failures are not cached: the package may be installed later."""
    loaded, origin = registry.load(GROUP, "format", name, _BUILT_IN)
    try:
        format = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # the class of another package may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"format {name!r} cannot be loaded from {origin}: {reason}") from error
    ends = getattr(format, "suffixes", None)
    fits = (
        isinstance(ends, tuple) and ends and all(isinstance(each, str) and each[:1] == "." for each in ends)
    )
    if not fits or not isinstance(format, SequenceFormat):
        raise UsageError(
            f"format {name!r}: expected {origin} to have suffixes, a tuple of texts that begin with a "
            f"dot, and read(path), got {format!r:.60}"
        )
    return format
