"""Makes the training, validation and test splits of a data set that was read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from scanline.data.checks import check_values
from scanline.data.class_names import with_classes
from scanline.data.dataset import ALL, SPLITS, Dataset, Provenance
from scanline.data.folds import arrange
from scanline.data.memory import MemorySource
from scanline.data.splits import by_class, hold_out
from scanline.data.step_targets import with_step_classes
from scanline.errors import DataError
from scanline.recipe import Missing, SplitSettings


def partition(data: Dataset, settings: SplitSettings, missing: Missing = "error") -> Dataset:
    """Return the data set with all splits that `settings` asks for.

    Splits that were read stay as they are; those that are missing are drawn from the training split.

    Args:
        data: A data set as it was read.
        settings: Size and seed of the splits that are drawn.
        missing: "error", or anything else if values may be missing.

    Raises:
        DataError: If a value is infinite or missing, a class or a group cannot be split, or the splits do
            not fit together.
    """
    for source in data.splits.values():
        check_values(source, missing != "error")
    if data.fixed:
        return arrange(_as_packed(data, settings), settings)
    if settings.folds or not settings.use_validation:
        settings = settings.model_copy(update={"validation": 0})
    if "test" in data.unread:
        settings = settings.model_copy(update={"test": 0})
    return arrange(_drawn(data, settings), settings)


def _drawn(data: Dataset, settings: SplitSettings) -> Dataset:
    """Return a data set with all splits: those that were read, and those that are drawn."""
    read = {name: source for name, source in data.splits.items() if isinstance(source, MemorySource)}
    whole = read.get(ALL) or read["train"]
    splits = {"train": whole} | {
        name: _like(whole, read[name]) for name in ("test", "validation") if name in read
    }
    provenance = {name: Provenance(source.name) for name, source in splits.items()}
    # Only splits that were read can share a group; those drawn below are split by group.
    _check_groups(splits)
    _draw(splits, provenance, settings)
    # Always train, validation, test, whatever the order in which they were read or drawn.
    order = [name for name in SPLITS if name in splits]
    return replace(
        data,
        splits={name: splits[name] for name in order},
        provenance={name: provenance[name] for name in order},
        notes=tuple(dict.fromkeys(note for source in data.splits.values() for note in source.info.notes)),
    )


def _as_packed(data: Dataset, settings: SplitSettings) -> Dataset:
    """Return a data set whose splits are fixed; a packed one without splits is all for training.

    Raises:
        DataError: If it has no training split, and splits are asked for.
    """
    if "train" in data.splits:
        return data
    if ALL not in data.splits:
        raise DataError(f"{data.address}: expected a training split, found {' and '.join(data.splits)}")
    if settings.test or settings.validation:
        raise DataError(
            f"{data.address}: expected a training split, found sequences that were packed without splits; "
            "pack them again with splits, or set split.validation and split.test to 0 to train on all"
        )
    whole = data.splits[ALL]
    return replace(data, splits={"train": whole}, provenance={"train": data.provenance[ALL]})


def _draw(
    splits: dict[str, MemorySource], provenance: dict[str, Provenance], settings: SplitSettings
) -> None:
    """Draw the missing splits from the training split, in place."""
    whole = splits["train"]
    # `index` maps the shrinking training split back to rows of the source, for split.json.
    train, index = whole, np.arange(len(whole))
    for name, fraction in (("test", settings.test), ("validation", settings.validation)):
        if name in splits or fraction == 0:
            continue
        origin = provenance["train"].text
        # The fraction refers to what is left: validation is drawn from the rest after the test split.
        kept, held = hold_out(replace(train, name=origin), fraction, settings.seed)
        column = whole.info.settings.group_column if whole.info.settings else ""
        drawn = "by class" if by_class(train) else "at random"
        by = f"by {column or 'group'}" if train.groups is not None else drawn
        text = f"{fraction:g} of {origin}, drawn {by} with seed {settings.seed}"
        splits[name], provenance[name] = train.take(held), Provenance(text, index[held])
        train, index = train.take(kept), index[kept]
        provenance["train"] = Provenance(f"the rest of {whole.name}", index)
    splits["train"] = train


def _like(train: MemorySource, other: MemorySource) -> MemorySource:
    """Return `other` with the classes of the training split; targets that are numbers stay as they are.

    Raises:
        DataError: If it has unknown classes, steps of another width, or pictures of another size.
    """
    if not train.info.one_class:
        if not other.has_targets:
            raise DataError(f"{other.name}: expected labels, as the training split has them, found none")
    elif train.step_targets is not None and other.step_targets is not None:
        other = with_step_classes(other, train.classes, "the training split")
    else:
        other = with_classes(other, train.classes, "the training split")
    if train.info.picture:
        fits = other.info.picture is not None and train.shape[1:] == other.shape[1:]
    else:
        fits = other.info.picture is None and train.features == other.features
    if not fits:
        raise DataError(
            f"{other.name}: expected steps as in {train.name}, of shape {_shape(train)}, "
            f"found {_shape(other)}"
        )
    return other


def _shape(source: MemorySource) -> str:
    steps = f"{source.max_length}" if source.uniform else f"{source.lengths.min()} to {source.max_length}"
    return f"({len(source)}, {steps}, {source.features})"


def _check_groups(splits: Mapping[str, MemorySource]) -> None:
    """Check that no group is in two splits. Raises DataError naming the first that is."""
    titles = {"train": "training"}
    for one, other in itertools.combinations(splits, 2):
        groups = [splits[name].groups for name in (one, other)]
        if groups[0] is None or groups[1] is None:
            continue
        both = sorted(set(map(str, groups[0])) & set(map(str, groups[1])))
        if both:
            raise DataError(
                f"{splits[other].name}: group {both[0]} is in the {titles.get(one, one)} split and in the "
                f"{other} split"
                + (f" ({len(both):,} groups are)" if len(both) > 1 else "")
                + "; split by group, or remove the group column"
            )
