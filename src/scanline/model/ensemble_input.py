"""What the members of an ensemble have in common: what they read, and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from scanline.data.labels import match_names
from scanline.data.memory import MemorySource
from scanline.data.padding import without_padding
from scanline.data.preprocessing import DIALECT, FILES, Preprocessing
from scanline.data.source import SequenceSource
from scanline.errors import UsageError, one_line
from scanline.model.artifact import Model
from scanline.tasks.classification import require


class SharedPreprocessing(Preprocessing):
    """Leaves sequences as they were read, without padding: every member of an ensemble prepares its own."""

    @classmethod
    def of(cls, members: Sequence[Model]) -> SharedPreprocessing:
        """Return what `members` share, which read the same format; see `check_members`."""
        forms = [member.preprocessing for member in members]
        first = forms[0]
        # A value may be missing only if every member can replace it.
        strict = any(form.missing == "error" for form in forms)
        return cls(
            picture=first.picture,
            # As they were read: pictures are stored by rows.
            view="rows",
            permutation_seed=0,
            source_features=first.source_features,
            features=first.source_features,
            missing="error" if strict else first.missing,
            means=(),
            settings=first.settings,
            static=first.static,
            time_kind=first.time_kind,
        )

    @overload
    def prepare(self, source: MemorySource) -> MemorySource: ...
    @overload
    def prepare(self, source: SequenceSource) -> SequenceSource: ...
    def prepare(self, source: SequenceSource) -> SequenceSource:
        """Return sequences without padding. Raises DataError if the shape does not fit."""
        self.check(source.shape, source.name)
        return self._transformed(source, self._without_padding, "share", fills=False)

    def _without_padding(self, source: MemorySource) -> MemorySource:
        return without_padding(source, self.settings.pad_value)


def check_members(members: Sequence[Model]) -> None:
    """Check that models can be the members of one ensemble.

    Raises:
        UsageError: If there are fewer than two, or they differ in task, classes or input; names the first
            difference.
    """
    if len(members) < 2:
        raise UsageError(f"expected at least two models to combine, got {len(members)}")
    first = members[0]
    for number, member in enumerate(members, 1):
        classes = require(member.task, "an ensemble").classes
        known = require(first.task, "an ensemble").classes
        if len(classes) != len(known) or -1 in match_names(known, classes):
            raise _differ("classes", known, classes, number)
        for what, expected, found in _inputs(first, member):
            if expected != found:
                raise _differ(what, expected, found, number)


def class_order(member: Model, first: Model) -> list[int]:
    """Return which output of `member` belongs to each class of `first`."""
    return list(match_names(first.class_names, member.class_names))


def _inputs(first: Model, member: Model) -> list[tuple[str, Any, Any]]:
    """Return what must be equal, with its values in two models; a dialect of files may differ."""
    one, other = first.preprocessing, member.preprocessing
    compared = [
        ("pictures", one.picture, other.picture),
        ("features a step", one.source_features, other.source_features),
        (
            "categorical features",
            [each.feature for each in one.vocabularies],
            [each.feature for each in other.vocabularies],
        ),
    ]
    # Settings that say what is read, not how it is written in a file or where the file is.
    names = [name for name in type(one.settings).model_fields if name not in (*DIALECT, *FILES)]
    settings = [
        (f"data.{name}", getattr(one.settings, name), getattr(other.settings, name)) for name in names
    ]
    return compared + settings


def _differ(what: str, expected: object, found: object, number: int) -> UsageError:
    shown = [one_line(_text(each)) for each in (expected, found)]
    return UsageError(
        f"expected models of the same task and input, but members 1 and {number} differ in {what}: "
        f"{shown[0]} and {shown[1]}"
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
