"""Names that other packages add through entry points: what the registries of cells, formats and tasks share.

Each registry keeps its own built-in objects and checks what a package offers.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from scanline.errors import UsageError, did_you_mean


def names(group: str, built_in: Iterable[str]) -> tuple[str, ...]:
    """Return the names of an entry point group: the built-in ones, then those of installed packages."""
    # A dict keeps the order and drops a package's object with the name of a built-in one.
    found = dict.fromkeys(built_in)
    found.update(dict.fromkeys(sorted(metadata.entry_points(group=group).names)))
    return tuple(found)


def load(group: str, kind: str, name: str, built_in: Iterable[str]) -> tuple[object, str]:
    """Load the object of another package.

    Args:
        group: The entry point group.
        kind: What the group holds, for messages: "cell", "format" or "task".
        name: The name that is wanted.
        built_in: The names that need no package, for messages.

    Returns:
        The object, and the entry point's value, which says where it is defined.

    Raises:
        UsageError: If there is no such name, naming the legal ones, or if the object cannot be loaded.
    """
    points = metadata.entry_points(group=group, name=name)
    if not points:
        known = names(group, built_in)
        raise UsageError(f"{kind} must be one of {', '.join(known)}, got {name!r}{did_you_mean(name, known)}")
    # If several packages declare the name, the first on the path is taken, as with modules.
    (point, *_) = points
    try:
        return point.load(), point.value
    except Exception as error:  # the import of another package may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{kind} {name!r} cannot be loaded from {point.value}: {reason}") from error
