"""How large the files of strangers may be: one table, each row of which can be raised.

A limit is raised by the environment variable SCANLINE_LIMIT_<NAME>, read once, when the first limit is asked
for: `SCANLINE_LIMIT_STEPS=20000000 scanline train long.ts`. Whatever is refused names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache

from scanline.errors import UsageError, did_you_mean

PREFIX = "SCANLINE_LIMIT_"
# name: (the most, of what)
DEFAULTS: Mapping[str, tuple[int, str]] = {
    "CLASSES": (65_536, "classes"),
    "FEATURES": (65_536, "values a step"),
    "STEPS": (2**24, "steps in a sequence"),
    "UNITS": (65_536, "units in a layer"),
    "LAYERS": (64, "layers"),
    "PIXELS": (64_000_000, "pixels in a picture"),
    "SCANS": (64, "scans in a JPEG picture"),
    "LINE_BYTES": (2**24, "bytes in a line of text"),
    "FILE_BYTES": (2**36, "bytes in a file of data"),
    "UNPACKED_BYTES": (2**36, "bytes that a packed file unpacks to"),
    "EXPANSION": (100, "times its own size that a packed file of more than 8 MiB unpacks to"),
    "MODEL_BYTES": (2**32, "bytes in a file of weights"),
    "TENSORS": (10_000, "arrays in a file of weights"),
    "JSON_BYTES": (3 * 2**20, "bytes in a description of a model"),  # in memory some thirty times as many
    "RECIPE_BYTES": (2**18, "bytes in a recipe"),  # the shipped ones have some thousand
    "RECORD_BYTES": (2**24, "bytes in a record of a run"),
    "COURSE_BYTES": (2**26, "bytes in a metrics.jsonl"),
}
FREE_BYTES = 2**23  # what any packed file may unpack to


@cache
def limit_of(name: str) -> int:
    """The limit `name`, a key of DEFAULTS, as it is or as the environment raises it.

    Raises UsageError if a variable of the environment is no whole number, or names no limit.
    """
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in DEFAULTS:
            known = [PREFIX + each for each in DEFAULTS]
            raise UsageError(
                f"unknown variable {variable}{did_you_mean(variable, known)}; there are {', '.join(known)}"
            )
    said = os.environ.get(PREFIX + name, "")
    if not said:
        return DEFAULTS[name][0]
    if not re.fullmatch(r"[1-9][0-9]{0,17}", said):
        raise UsageError(f"{PREFIX}{name} must be a whole number >= 1, got {said[:40]!r}")
    return int(said)


def exceeded(name: str, found: int) -> str:
    """What a message says where there are `found` and the limit `name` is less: expected, found, remedy."""
    return (
        f"expected at most {limit_of(name):,} {DEFAULTS[name][1]}, found {found:,}; "
        f"where you trust it, {PREFIX}{name} raises the limit"
    )


def unpacked_limit(packed: int) -> int:
    """How many bytes may come out of so many packed ones."""
    return min(limit_of("UNPACKED_BYTES"), max(FREE_BYTES, packed * limit_of("EXPANSION")))


def exceeded_unpacked(packed: int, found: int) -> str:
    """As `exceeded`, where `packed` bytes unpack to `found`, or more."""
    name = "EXPANSION" if found <= limit_of("UNPACKED_BYTES") else "UNPACKED_BYTES"
    return (
        f"expected {packed:,} packed bytes to become at most {unpacked_limit(packed):,}, found {found:,} or "
        f"more; where you trust it, {PREFIX}{name} raises the limit"
    )
