"""Divides staged sequences into splits by the code that divides sequences in memory, without their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import ALL, SPLITS, Dataset
from scanline.data.labels import same_names
from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Part
from scanline.data.packing.parts import translation
from scanline.data.packing.request import PackRequest
from scanline.data.partition import partition
from scanline.data.reading import by_column
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.recipe import DEFAULT_DATA


@dataclass(frozen=True, eq=False)
class Staged:
    """What is known about all N staged sequences, in the order of the buckets.

    Attributes:
        numbers: (N,) number of each sequence.
        labels: (N,) code of its label.
        groups: (N,) code of its group, -1 without.
        parts: (N,) index of its part.
        splits: (N,) index in `SPLITS` of the split that the source assigns it to, -1 without.
        group_names: Names of the groups.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    groups: NDArray[np.int32]
    parts: NDArray[np.int8]
    splits: NDArray[np.int8]
    group_names: Sequence[str]


@dataclass(frozen=True, eq=False)
class Division:
    """Splits of staged sequences.

    Attributes:
        names: The splits.
        origins: Where each comes from, in words.
        of: (N,) index of the split of each sequence.
        targets: (N,) index of its class, or of its number.
        classes: The K class names, or the distinct numbers; empty without labels.
    """

    names: tuple[str, ...]
    origins: tuple[str, ...]
    of: NDArray[np.int8]
    targets: NDArray[np.int32]
    classes: tuple[ClassName, ...]


def divide(
    parts: Sequence[Part], staged: Staged, request: PackRequest, origins: Mapping[str, str]
) -> Division:
    """Divide sequences into splits as training on the source would divide them.

    Args:
        parts: What was read.
        staged: The sequences.
        request: What is asked for.
        origins: Where each split comes from, if the splits belong to the data set's definition.

    Raises:
        DataError: If they cannot be divided; names the class or group.
    """
    skeletons = {part.split: _skeleton(index, part, staged) for index, part in enumerate(parts)}
    if request.split is None:
        return _made({ALL: (_joined(parts, skeletons), _names_of(parts))}, len(staged.numbers))
    if ALL in skeletons:
        divided = by_column(skeletons.pop(ALL), to_train=True)
        skeletons = {**divided, **skeletons}
    if origins:
        return _made({name: (each, origins[name]) for name, each in skeletons.items()}, len(staged.numbers))
    data = partition(Dataset("packed", skeletons), request.split, "zero")
    made = {}
    for name in data.splits:
        source = data.splits[name]
        assert isinstance(source, MemorySource)
        made[name] = source, data.provenance[name].text
    return _made(made, len(staged.numbers))


def _skeleton(index: int, part: Part, staged: Staged) -> MemorySource:
    """Return the sequences of a part in the order of the source: one step of one value, which is 0."""
    own = np.flatnonzero(staged.parts == index)
    own = own[np.argsort(staged.numbers[own], kind="stable")]
    n = len(own)

    def locate(at: int, step: int = 0, /) -> str:
        return part.place(int(staged.numbers[own[at]]))

    groups = None
    if n and staged.groups[own[0]] >= 0:
        groups = np.array(staged.group_names, dtype=object)[staged.groups[own]]
    assigned = np.array(SPLITS, dtype=object)[staged.splits[own]] if part.assigned else None
    return MemorySource(
        # Arrays of one value take no memory, however many sequences there are.
        np.broadcast_to(np.float32(0), (n, 1)),
        np.broadcast_to(np.int64(1), n),
        part.codes[staged.labels[own]],
        part.classes,
        part.name,
        ids=own,
        groups=groups,
        info=SourceInfo(part.settings, locate, (), assigned, tuple(part.notes)),
    )


def _joined(parts: Sequence[Part], skeletons: dict[str, MemorySource]) -> MemorySource:
    """Return all sequences as one source, with the classes of all of them."""
    sources = list(skeletons.values())
    if len(sources) == 1:
        return sources[0]
    classes = sources[0].classes
    targets = np.concatenate([source.targets for source in sources])
    if not all(same_names(classes, source.classes) for source in sources):
        known: dict[tuple[type, ClassName], int] = {}
        codes = []
        for source in sources:
            own = [known.setdefault((type(name), name), len(known)) for name in source.classes]
            codes.append(np.array(own or [0])[source.targets])
        labels = np.concatenate(codes)
        names: list[Any] = [name for _, name in known]
        settings = parts[0].settings or DEFAULT_DATA
        classes, indices = encode_labels(
            names, labels, _names_of(parts), lambda index, step=0: f"sequence {index}", settings, True
        )
        targets = translation(labels, indices)[labels]
    n = len(targets)
    ids = [source.ids for source in sources if source.ids is not None]
    groups = [np.full(len(each), "") if each.groups is None else each.groups for each in sources]
    return replace(
        sources[0],
        concatenated=np.broadcast_to(np.float32(0), (n, 1)),
        lengths=np.broadcast_to(np.int64(1), n),
        targets=targets,
        classes=classes,
        ids=np.concatenate(ids),
        groups=np.concatenate(groups) if sources[0].groups is not None else None,
    )


def _names_of(parts: Sequence[Part]) -> str:
    return " and ".join(part.name for part in parts)


def _made(splits: dict[str, tuple[MemorySource, str]], n: int) -> Division:
    of, targets = np.full(n, -1, np.int8), np.zeros(n, np.int32)
    names = [name for name in (*SPLITS, ALL) if name in splits]
    classes: tuple[ClassName, ...] = splits[names[0]][0].classes
    numbers = splits[names[0]][0].info.numeric_targets and bool(classes)
    if numbers:
        classes = tuple(sorted({number for name in names for number in splits[name][0].classes}, key=float))
    for index, name in enumerate(names):
        source = splits[name][0]
        assert source.ids is not None
        of[source.ids] = index
        own = source.targets
        if numbers:
            own = np.searchsorted(np.array(classes, float), np.array(source.classes, float))[own]
        targets[source.ids] = own
    return Division(tuple(names), tuple(splits[name][1] for name in names), of, targets, classes)
