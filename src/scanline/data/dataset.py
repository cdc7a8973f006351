"""A data set: named splits of sequences, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import check_values
from scanline.data.label_sets import count_names, row_numbers
from scanline.data.picture_format import PictureFormat
from scanline.data.source import Indices, SequenceSource
from scanline.data.step_targets import count_classes
from scanline.data.transforms.views import View
from scanline.recipe import DataSettings, Missing

SPLITS = ("train", "validation", "test")
ALL = "all"  # name of sequences that have not been split yet


@dataclass(frozen=True, eq=False)
class Provenance:
    """Where a split comes from.

    Attributes:
        text: In words, for `split.json`.
        indices: Which sequences of the source are in the split; None: all.
    """

    text: str
    indices: Indices | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Splits that share no sequence.

    A data set that was read has the splits of its files, or all its sequences under the name "all".
    `scanline.data.partition.partition` makes one with a training split out of it.

    Attributes:
        name: Name in the catalogue, or last component of the path.
        splits: Sequences by the name of their split: "train", "validation", "test", or "all".
        path: Where it was read; None for a data set of the catalogue and for arrays.
        fixed: Whether the splits belong to the data set's definition: nothing else is split off.
        provenance: Where each split comes from.
        notes: What was inferred or repaired when it was read, for the user.
        view: How pictures were cut into steps, if they were.
        uri: Address of a packed data set; empty for others.
        unread: Names of splits that the data set has and that were not read.
    """

    name: str
    splits: Mapping[str, SequenceSource]
    path: Path | None = None
    fixed: bool = False
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    view: View | None = None
    uri: str = ""
    unread: frozenset[str] = frozenset()

    @property
    def train(self) -> SequenceSource:
        """The sequences that weights are fitted to."""
        return self.splits["train"]

    @property
    def validation(self) -> SequenceSource | None:
        """The sequences on which choices are made during training, or None."""
        return self.splits.get("validation")

    @property
    def test(self) -> SequenceSource | None:
        """The sequences that are evaluated once, at the end of a run, or None."""
        return self.splits.get("test")

    @property
    def first(self) -> SequenceSource:
        """The training split, or whichever there is: it represents what was read."""
        # Dicts keep their order, and the training split comes first if there is one.
        return next(iter(self.splits.values()))

    @property
    def picture(self) -> PictureFormat | None:
        """How a picture file becomes one of these sequences; None if they are not pictures."""
        return self.first.info.picture

    @property
    def settings(self) -> DataSettings | None:
        """How the data were read, with what was inferred; None for a data set of the catalogue."""
        return self.first.info.settings

    @property
    def full_scale(self) -> float:
        """The largest value that the data can have: 255 for bytes, 1 if there is none."""
        return self.first.info.full_scale

    @property
    def address(self) -> str:
        """What finds these data from any folder: a name or an absolute path; "" for arrays."""
        if self.uri:
            return self.uri
        if self.path is not None:
            return str(self.path.resolve())
        # Without a path: arrays have settings, data sets of the catalogue have none.
        return "" if self.settings is not None else self.name

    @property
    def title(self) -> str:
        """How to name these data without naming a folder of this machine."""
        if self.uri:
            return f"the packed data set {self.name}"
        if self.path is None:
            return self.name if self.settings is None else f"the {self.name} of a program"
        kind = "file" if self.path.is_file() else "folder" if self.path.is_dir() else "files"
        return f"the {kind} {self.name}"

    def with_splits(self, **splits: SequenceSource) -> Self:
        """Return the data set with some splits replaced."""
        return replace(self, splits={**self.splits, **splits})

    def evaluation_source(self, missing: Missing) -> SequenceSource:
        """Return the test split, or the first split if there is no test split.

        Raises:
            DataError: If a value is infinite, or missing although `missing` is "error".
        """
        source = self.test or self.first
        check_values(source, missing != "error", trained=True)
        return source

    def describe_splits(self) -> dict[str, Any]:
        """Return the content of `split.json`: provenance, counts and members of each split."""
        return {name: _describe(source, self.provenance.get(name)) for name, source in self.splits.items()}


def describe_targets(source: SequenceSource) -> dict[str, Any]:
    """Return the number of sequences of each class, or the range and mean of targets that are numbers.

    If each step has a target, the same of the steps, and "unlabelled", the number of steps without one.
    """
    if source.step_targets is not None:
        counts, unlabelled = count_classes(source)
        if source.info.numeric_targets:
            numbers = np.repeat(np.array(source.classes, float), counts)
            return {"classes": {}, "targets": _range(numbers), "unlabelled": unlabelled}
        named = {str(name): int(count) for name, count in zip(source.classes, counts, strict=True)}
        return {"classes": named, "unlabelled": unlabelled}
    if source.info.numeric_targets and source.has_targets:
        columns = source.info.settings.label_columns if source.info.settings else ()
        if columns:
            rows = np.array([row_numbers(target) for target in source.classes])[source.targets]
            return {"classes": {}, "columns": {name: _range(rows[:, m]) for m, name in enumerate(columns)}}
        return {"classes": {}, "targets": _range(np.array(source.classes, float)[source.targets])}
    if not source.info.one_class:
        return {"classes": count_names(source)}
    per_class = np.bincount(source.targets, minlength=len(source.classes))
    return {
        "classes": {str(name): int(count) for name, count in zip(source.classes, per_class, strict=False)}
    }


def _range(numbers: NDArray[np.float64]) -> dict[str, float]:
    """Return the range and the mean of numbers, of which there may be none."""
    if not numbers.size:
        return {}
    return {"min": float(numbers.min()), "mean": float(numbers.mean()), "max": float(numbers.max())}


def _describe(source: SequenceSource, provenance: Provenance | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "n": len(source),
        "from": provenance.text if provenance else source.name,
        **describe_targets(source),
    }
    # Groups and identifiers make the split reproducible by another program without its random generator.
    if source.groups is not None:
        content["groups"] = sorted({str(group) for group in source.groups})
    elif source.layout is not None and source.layout.groups:
        content["groups"] = list(source.layout.groups)
    if provenance is not None and provenance.indices is not None:
        content["sequences"] = provenance.indices.tolist()
    # The files of a packed data set say which sequences are in a split.
    if source.ids is not None and source.layout is None:
        content["ids"] = [str(name) for name in source.ids]
    return content
