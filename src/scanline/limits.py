"""Limits on the size of untrusted files: one table, each row of which can be raised.

The environment variable SCANLINE_LIMIT_<NAME> raises a limit, as in
`SCANLINE_LIMIT_STEPS=20000000 scanline train long.ts`. It is read once, when the limit is first needed.
Every message about a limit names its variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TypedDict

from scanline.errors import UsageError, did_you_mean, one_line

PREFIX = "SCANLINE_LIMIT_"
# name: (largest value, unit for messages)
DEFAULTS: Mapping[str, tuple[int, str]] = {
    "CLASSES": (65_536, "classes"),
    "CATEGORIES": (65_536, "categories of a feature"),
    "FEATURES": (65_536, "values a step"),
    "STEPS": (2**24, "steps in a sequence"),
    "UNITS": (65_536, "units in a layer"),
    "LAYERS": (64, "layers"),
    "PIXELS": (64_000_000, "pixels in a picture"),
    "SCANS": (64, "scans in a JPEG picture"),
    "LINE_BYTES": (2**24, "bytes in a line of text"),
    "FILE_BYTES": (2**36, "bytes in a file of data"),
    "UNPACKED_BYTES": (2**36, "bytes in an unpacked file"),
    "EXPANSION": (100, "times its packed size, for an unpacked file of more than 8 MiB"),
    "MEMBERS": (100, "models in an ensemble"),
    "MODEL_BYTES": (2**32, "bytes in a file of weights"),
    "TENSORS": (10_000, "arrays in a file of weights"),
    "JSON_BYTES": (3 * 2**20, "bytes in a description of a model"),  # parsed, it takes about 30 times as many
    "RECIPE_BYTES": (2**18, "bytes in a recipe"),  # the built-in recipes have a few thousand
    "RECORD_BYTES": (2**24, "bytes in a record of a run"),
    "ROW_GROUP_BYTES": (2**31, "bytes of values in a row group"),
    "MANIFEST_BYTES": (2**28, "bytes in the manifest of a packed data set"),
    "COURSE_BYTES": (2**26, "bytes in a metrics.jsonl"),
}
FREE_BYTES = 2**23  # any packed file may unpack to this many bytes


class Excess(TypedDict):
    """Fields of an error about an exceeded limit: `FormatError(file=path, **excess("STEPS", count))`."""

    expected: str
    found: str
    remedy: str


@cache
def limit_of(name: str) -> int:
    """Return the limit `name`, a key of `DEFAULTS`: the default, or the value set in the environment.

    Raises:
        UsageError: If a variable of the environment is not a whole number, or names no limit.
    """
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in DEFAULTS:
            known = [PREFIX + each for each in DEFAULTS]
            raise UsageError(
                f"unknown variable {variable}{did_you_mean(variable, known)}; known are {', '.join(known)}",
                where=variable,
            )
    value = os.environ.get(PREFIX + name, "")
    if not value:
        return DEFAULTS[name][0]
    # int() alone would accept signs, blanks and underscores; 18 digits fit into int64.
    if not re.fullmatch(r"[1-9][0-9]{0,17}", value):
        raise UsageError(
            where=PREFIX + name,
            expected="a whole number from 1 to 10**18 - 1",
            found=repr(one_line(value, 40)),
        )
    return int(value)


def excess(name: str, found: int) -> Excess:
    """Return the fields of an error about `found` items where the limit `name` is lower."""
    return {
        "expected": f"at most {limit_of(name):,} {DEFAULTS[name][1]}",
        "found": f"{found:,}",
        "remedy": _remedy(name),
    }


def exceeded(name: str, found: int) -> str:
    """Return the same as `excess` as text."""
    return _text(excess(name, found))


def unpacked_limit(packed: int) -> int:
    """Return how many bytes `packed` bytes may unpack to."""
    # Small files may expand freely: text of repeated values legitimately compresses far better than 100:1.
    return min(limit_of("UNPACKED_BYTES"), max(FREE_BYTES, packed * limit_of("EXPANSION")))


def excess_unpacked(packed: int, found: int) -> Excess:
    """Return the fields of an error about `packed` bytes that unpack to `found` bytes or more."""
    name = "EXPANSION" if found <= limit_of("UNPACKED_BYTES") else "UNPACKED_BYTES"
    return {
        "expected": f"{packed:,} packed bytes to become at most {unpacked_limit(packed):,}",
        "found": f"{found:,} or more",
        "remedy": _remedy(name),
    }


def exceeded_unpacked(packed: int, found: int) -> str:
    """Return the same as `excess_unpacked` as text."""
    return _text(excess_unpacked(packed, found))


def _remedy(name: str) -> str:
    return f"if you trust the file, raise the limit with {PREFIX}{name}"


def _text(fields: Excess) -> str:
    return f"expected {fields['expected']}, found {fields['found']}; {fields['remedy']}"
