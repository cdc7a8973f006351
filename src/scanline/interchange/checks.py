"""Checks and messages that all importers share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, ModelError, join_names, one_line
from scanline.limits import PREFIX, limit_of

NAME_WIDTH = 120  # characters of a variable's name in a message
_LIMITS = {"layers": "LAYERS", "classes": "CLASSES", "input_size": "FEATURES"}  # all other sizes: UNITS


@contextmanager
def format_errors_as_model_errors() -> Iterator[None]:
    """Turn every FormatError into a ModelError with the same text: the file is a model, not data."""
    try:
        yield
    except FormatError as error:
        raise error.to_model_error() from error


def listed(names: Sequence[str]) -> str:
    """Return names of variables for a message: at most eight."""
    return join_names(names, 8, NAME_WIDTH)


def check_finite(source: Path, name: str, values: NDArray[np.floating[Any]]) -> None:
    """Check that all values of a variable are finite.

    Raises:
        ModelError: If a value is NaN or infinite; names the variable.
    """
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise ModelError(
            where=f"{source}: {one_line(name, NAME_WIDTH)}",
            expected="finite numbers that float32 can hold",
            found=f"{wrong:,} of {values.size:,} that are not",
            remedy="import a state from before training diverged",
        )


def check_sizes(source: Path, **sizes: int) -> None:
    """Check sizes of a network against the limits LAYERS, CLASSES, FEATURES (input_size) and UNITS (others).

    Raises:
        ModelError: If a size is not positive or exceeds its limit; names the size.
    """
    # Before the network is built: its memory grows with the product of these sizes.
    for what, size in sizes.items():
        limit = _LIMITS.get(what, "UNITS")
        if not 1 <= size <= limit_of(limit):
            raise ModelError(
                where=source,
                expected=f"1 to {limit_of(limit):,} {what}",
                found=f"{size:,}",
                remedy=f"if you trust the file, raise the limit with {PREFIX}{limit}",
            )
