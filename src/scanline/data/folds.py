"""Rearranges the splits of a data set: folds, training on validation sequences, no test split."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from scanline.data.dataset import Dataset, Provenance
from scanline.data.memory import MemorySource
from scanline.data.source import Indices
from scanline.data.splits import group_codes, number_as_class
from scanline.errors import DataError, UsageError
from scanline.recipe import SplitSettings

_SEEDS = 2**32  # number of seeds that scikit-learn accepts


def arrange(data: Dataset, settings: SplitSettings) -> Dataset:
    """Return the data set with the splits that `settings` asks for.

    Args:
        data: A data set with all its splits; a validation split that is not needed is not drawn yet.
        settings: Whether to use the test and validation splits, and the fold.

    Raises:
        UsageError: If the splits are those of a packed data set and cannot be joined.
        DataError: If there are too few sequences, or groups, for the folds.
    """
    splits, provenance = dict(data.splits), dict(data.provenance)
    if not settings.use_test:
        for each in (splits, provenance):
            each.pop("test", None)
    if settings.use_validation and not settings.folds:
        return replace(data, splits=splits, provenance=provenance)
    train, held = splits["train"], splits.pop("validation", None)
    if not isinstance(train, MemorySource) or not isinstance(held, MemorySource | None):
        key = "folds" if settings.folds else "use_validation"
        raise UsageError(
            f"split.{key} must not be set for {data.address}: the splits of a packed data set are fixed"
        )
    origin = provenance.get("train", Provenance(train.name))
    if held is not None:
        origin = _joined(origin, provenance.pop("validation", Provenance(held.name)))
        train = joined(train, held)
    splits["train"], provenance["train"] = train, origin
    if settings.folds:
        kept, out = folds(train, settings.folds, settings.seed)[settings.fold]
        text = f"fold {settings.fold} of {settings.folds} of {origin.text}, drawn with seed {settings.seed}"
        index = np.arange(len(train)) if origin.indices is None else origin.indices
        splits["train"], splits["validation"] = train.take(kept), train.take(out)
        provenance["train"] = Provenance(f"the rest of {origin.text}", index[kept])
        provenance["validation"] = Provenance(text, index[out])
    order = [name for name in ("train", "validation", "test") if name in splits]
    return replace(
        data,
        splits={name: splits[name] for name in order},
        provenance={name: provenance[name] for name in order if name in provenance},
    )


def folds(source: MemorySource, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Divide sequences into folds, by class in proportion, and by group if they have groups.

    Args:
        source: Sequences with targets.
        count: Number of folds, at least 2.
        seed: Seed of the division.

    Returns:
        (rest, held out) for each fold, in ascending order; each sequence is held out once.

    Raises:
        DataError: If there are fewer sequences or groups than folds.

    Source: sklearn.model_selection.StratifiedKFold, StratifiedGroupKFold.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    source = number_as_class(source)
    groups = None if source.groups is None else group_codes(source.groups)
    units = len(source) if groups is None else int(groups.max()) + 1
    largest = int(np.bincount(source.targets).max())
    if count > min(units, largest):
        what = "groups" if units < largest else "sequences of a class"
        raise DataError(
            f"{source.name}: expected at least {count} {what} for split.folds = {count}, "
            f"found {min(units, largest)}; lower split.folds"
        )
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    drawn = splitter(count, shuffle=True, random_state=seed % _SEEDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer sequences than folds
        made = list(drawn.split(source.targets, source.targets, groups))
    if any(len(kept) == 0 or len(held) == 0 for kept, held in made):
        raise DataError(f"{source.name}: the groups are too unequal for split.folds = {count}; lower it")
    return [(np.sort(kept), np.sort(held)) for kept, held in made]


def joined(first: MemorySource, second: MemorySource) -> MemorySource:
    """Return the sequences of two sources, which have the same classes and features, one after the other."""

    def locate(index: int, step: int = 0, /) -> str:
        one = index < len(first)
        return first.info.locate(index, step) if one else second.info.locate(index - len(first), step)

    def both(name: str) -> Any:
        one, other = getattr(first, name), getattr(second, name)
        return None if one is None or other is None else np.concatenate([one, other])

    return replace(
        first,
        step_targets=both("step_targets"),
        concatenated=np.concatenate([first.concatenated, second.concatenated]),
        lengths=np.concatenate([first.lengths, second.lengths]),
        targets=np.concatenate([first.targets, second.targets]),
        ids=both("ids"),
        groups=both("groups"),
        weights=both("weights"),
        info=replace(first.info, locate=locate, assigned_splits=None),
        layout=None,
    )


def _joined(first: Provenance, second: Provenance) -> Provenance:
    """Return where two splits that are joined come from; their members, if they are of the same source."""
    if first.text == second.text and first.indices is not None and second.indices is not None:
        return Provenance(first.text, np.concatenate([first.indices, second.indices]))
    return Provenance(f"{first.text} and {second.text}")
