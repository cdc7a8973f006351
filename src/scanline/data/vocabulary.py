"""Vocabularies: the categories of a feature that a model knows, and the ids that stand for them.

A source has codes into the names that occur in it. A model has a vocabulary of its own, which was fitted to
the training split, so that the codes of any source become the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.errors import DataError, UsageError
from scanline.limits import exceeded, limit_of

MISSING, UNKNOWN = 0, 1  # the ids of an empty cell, and of a category that the model does not know
UNKNOWN_NAME = "(unknown)"
_FIRST = 2  # the id of the first known category
_MAX_TEXT = 2**21  # characters of all names, which model.json has to hold


@dataclass(frozen=True)
class Vocabulary:
    """The categories of one feature.

    Attributes:
        feature: Index of the feature among the F values of a step.
        names: The known categories; the first one has the id 2.
    """

    feature: Annotated[int, Field(strict=True, ge=0)]
    names: Annotated[tuple[Annotated[str, Field(strict=True, min_length=1)], ...], Field(max_length=2**24)]

    def __post_init__(self) -> None:
        if len(self.names) > limit_of("CATEGORIES"):
            raise ValueError(exceeded("CATEGORIES", len(self.names)))
        if len(set(self.names)) < len(self.names):
            raise ValueError("expected categories of different names")
        if any("\ud800" <= character <= "\udfff" for name in self.names for character in name):
            raise ValueError("expected names of categories in Unicode, found a lone surrogate")

    @classmethod
    def fit(cls, feature: int, names: Sequence[str], codes: NDArray[np.float32], minimum: int) -> Self:
        """Return the vocabulary of the training split.

        Args:
            feature: Index of the feature.
            names: Names of the codes in the training data; "" stands for a missing value.
            codes: (S,) the codes of all steps.
            minimum: How often a category must occur to be known.

        Raises:
            UsageError: If there are too many categories.
        """
        counts = np.bincount(codes.astype(np.int64), minlength=len(names)).tolist()
        counted = [(-count, name) for count, name in zip(counts, names, strict=True) if name]
        known = sorted(pair for pair in counted if -pair[0] >= max(minimum, 1))
        kept = tuple(name for _, name in known)
        if len(kept) > limit_of("CATEGORIES") or sum(map(len, kept)) > _MAX_TEXT:
            raise UsageError(
                f"{exceeded('CATEGORIES', len(kept))}, or raise input.minimum_count above {minimum}, so that "
                "rare categories become unknown ones"
            )
        return cls(feature, kept)

    @property
    def size(self) -> int:
        """Number of ids: those of the names, and of missing and unknown categories."""
        return len(self.names) + _FIRST

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {"": MISSING} | {name: number for number, name in enumerate(self.names, _FIRST)}

    def id_of(self, name: str) -> int:
        """Return the id of a category; "" is a missing one."""
        return self._ids.get(name, UNKNOWN)

    def ids(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the ids of names, (n,). They are exact: float32 has all whole numbers up to 2**24."""
        return np.array([self.id_of(name) for name in names], np.float32)

    def name_of(self, number: int) -> str:
        """Return the name of an id, "" for a missing category."""
        return ("", UNKNOWN_NAME)[number] if number < _FIRST else self.names[number - _FIRST]

    @cached_property
    def all_names(self) -> tuple[str, ...]:
        """The names of all ids, in order."""
        return ("", UNKNOWN_NAME, *self.names)


def number_of(cell: Any, vocabulary: Vocabulary | None) -> float:
    """Return what the network reads of a cell: an id with a vocabulary, otherwise a number, NaN for none.

    Raises:
        DataError: If the cell is of the other kind.
    """
    missing = cell is None or cell == ""
    if vocabulary is not None:
        if missing or isinstance(cell, str):
            return vocabulary.id_of(cell or "")
        raise DataError(where="the steps", expected="the name of a category", found=f"{str(cell)[:40]!r}")
    if missing:
        return float("nan")
    if isinstance(cell, str | int | float | np.number) and not isinstance(cell, bool):
        try:
            return float(cell)
        except (ValueError, OverflowError):
            pass
    raise DataError(f"expected a number, got {str(cell)[:40]!r}")


def check_kinds(
    categories: Sequence[tuple[str, ...] | None],
    vocabularies: Sequence[Vocabulary],
    names: Sequence[str],
    source: str,
) -> None:
    """Check that the features of a source are categories where those of the model are.

    Args:
        categories: The names of the categories of each feature of the source, None for numbers; empty if all
            are numbers.
        vocabularies: The model's.
        names: Names of the features, or none.
        source: Where the sequences come from, for the message.

    Raises:
        DataError: Names the first feature of the other kind.
    """
    wanted = {each.feature for each in vocabularies}
    given = {feature for feature, each in enumerate(categories) if each is not None}
    for feature in sorted(wanted ^ given):
        column = f"column {names[feature]}" if feature < len(names) else f"feature {feature}"
        kinds = ("categories", "numbers") if feature in wanted else ("numbers", "categories")
        raise DataError(where=f"{source}: {column}", expected=f"{kinds[0]}, as in training", found=kinds[1])
