"""Sequences stored in row groups, local or in an object store, which are read when they are needed.

A row group is read as a whole. Those that training needs next are read ahead by a thread. Lengths and targets
of all sequences are in memory; identifiers and values are not.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.block_cache import BlockCache
from scanline.data.memory import MemorySource
from scanline.data.packed.consistency import check_labels, check_sizes, check_values
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import Manifest, PackedSplit
from scanline.data.packed.row_groups import Rows, check_digest, decode_row_group
from scanline.data.source import Batch, ClassName, Indices, Layout, SequenceSource
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError

_SAMPLED_STEPS = 100_000
# Decoding takes about four times the memory of a row group: one at a time, while others are received.
_DECODING = threading.Lock()


@dataclass(frozen=True, eq=False)
class RowGroups:
    """The row groups of a split, read from where they are stored.

    Attributes:
        location: The folder of the packed data set.
        manifest: Its manifest.
        split: The entry of the split.
    """

    location: Location
    manifest: Manifest
    split: PackedSplit
    _checked: set[int] = field(default_factory=set, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def file(self, number: int) -> str:
        """Return the address of a row group, for messages."""
        return self.location.file(self.split.row_groups[number].file)

    def read(self, number: int) -> Rows:
        """Read a row group. Its digest and its values are checked when it is first read.

        Raises:
            DataError: If it is missing, damaged, or cannot be read.
        """
        entry = self.split.row_groups[number]
        where = self.file(number)
        with self._lock:
            checked = number in self._checked
        content = self._content(number, checked)
        form = self.manifest.features, self.manifest.dtype
        with _DECODING:
            rows = decode_row_group(content.pop(), where, *form, entry.n, entry.steps)
            check_sizes(entry, rows.lengths, where)
            if not checked:
                check_values(self.split, rows.steps, where)
        with self._lock:
            self._checked.add(number)
        return rows

    def _content(self, number: int, checked: bool) -> list[bytes]:
        """Return the bytes of a row group in a list, from which the caller takes them."""
        entry = self.split.row_groups[number]
        content = self.location.read(entry.file, entry.bytes)
        if not checked or len(content) != entry.bytes:
            check_digest(content, entry.bytes, entry.sha256, self.file(number))
        return [content]


@dataclass(frozen=True)
class Transform:
    """What is done with sequences after they were read.

    Attributes:
        apply: Changes sequences in memory, each for itself.
        key: Text that distinguishes this change from others.
    """

    apply: Callable[[MemorySource], MemorySource]
    key: str


@dataclass(frozen=True, eq=False)
class _Block:
    """Sequences of one row group in memory, and their identifiers, an Arrow array."""

    source: MemorySource
    ids: Any


@dataclass(frozen=True, eq=False)
class StoredSource(SequenceSource):
    """N sequences in row groups.

    Attributes:
        stored: The row groups of the split.
        pieces: Which rows of which row groups, in order: (number, first row, end).
        raw_lengths: (N,) number of steps of each sequence as stored.
        lengths: (N,) number of steps of each sequence after the transform.
        targets: (N,) indices into `classes`; all 0 if there are no classes.
        classes: The K class names, or the distinct numbers; empty if the targets are unknown.
        name: Where the sequences come from, for messages.
        width: F, the number of values of a step after the transform.
        value_type: Type of the values.
        info: What the reader of the source knew about the sequences.
        layout: Sizes and statistics.
        transform: What is done with the sequences after they were read; None: nothing.
        weights: (N,) float32 weight of each sequence in the loss, or None.
    """

    stored: RowGroups
    pieces: tuple[tuple[int, int, int], ...]
    raw_lengths: NDArray[np.int64]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    name: str
    width: int
    value_type: np.dtype[Any]
    info: SourceInfo
    layout: Layout
    transform: Transform | None = None
    weights: NDArray[np.float32] | None = None
    ids: None = None  # read when they are needed, see `identifier`
    groups: None = None  # the split is decided

    @property
    def features(self) -> int:
        """F, the number of values of a step."""
        return self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values, uint8 or float32."""
        return self.value_type

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """(pieces,) index after the last sequence of each piece."""
        return np.cumsum([end - first for _, first, end in self.pieces])

    @cached_property
    def _cache(self) -> BlockCache[_Block]:
        return BlockCache(self._load)

    def _load(self, piece: int) -> _Block:
        """Read a piece, and transform its sequences."""
        number, first, end = self.pieces[piece]
        rows = self.stored.read(number)
        stop = int(self._ends[piece])
        own = slice(stop - (end - first), stop)
        lengths = rows.lengths[first:end]
        manifest, where = self.stored.manifest, self.stored.file(number)
        if not np.array_equal(lengths, self.raw_lengths[own]):
            raise DataError(
                where=where,
                expected="sequences of the lengths in the index",
                found="others",
                remedy="the files belong to different data sets: pack the source again",
            )
        if self.classes and not manifest.numbers and self.classes == manifest.classes:
            check_labels(rows.labels[first:end], self.targets[own], self.classes, where)
        start = int(rows.lengths[:first].sum())
        steps = rows.steps[start : start + int(lengths.sum())]
        ids = rows.ids[first:end]
        # Not `self.describe`, which would wait for this very block.
        info = replace(self.info, locate=lambda index, step=0: f"sequence {ids[index].as_py()}")
        source = MemorySource(steps, lengths, self.targets[own], self.classes, self.name, info=info)
        if self.transform is not None:
            source = self.transform.apply(source)
        if self.weights is not None:
            source = source.with_weights(self.weights[own])
        return _Block(source, ids)

    def _info_of(self, start: int) -> SourceInfo:
        """Return the information about the sequences from `start` on."""
        return replace(self.info, locate=lambda index, step=0: self.describe(start + index))

    def expect(self, groups: Sequence[int]) -> None:
        """Be prepared for sequences of these row groups; see `SequenceSource.expect`."""
        self._cache.expect(groups)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Batch:
        """Return the sequences at `indices` as one batch, in that order; see `SequenceSource.gather`."""
        lengths, n = self.lengths[indices], len(indices)
        longest = int(lengths.max())
        shape = n, longest, self.features
        values = np.empty(shape, self.dtype) if out is None else out[: math.prod(shape)].reshape(shape)
        for block, places, local in self._by_piece(indices):
            own = block.source.gather(local).values
            values[places, : own.shape[1]] = own
            values[places, own.shape[1] :] = 0
        return Batch(
            values,
            None if self.uniform or (lengths == lengths[0]).all() else lengths,
            self.targets[indices],
            None if self.weights is None else self.weights[indices],
        )

    def windows(self, indices: Indices, offsets: Indices, width: int) -> NDArray[Any]:
        """Return runs of consecutive values; see `SequenceSource.windows`."""
        runs = np.empty((*offsets.shape, width), self.dtype)
        for block, places, local in self._by_piece(indices):
            runs[places] = block.source.windows(local, offsets[places], width)
        return runs

    def _by_piece(self, indices: Indices) -> Iterator[tuple[_Block, Indices, Indices]]:
        """Yield (block, places, local): the sequences `indices[places]` are those at `local` in the block."""
        pieces = np.searchsorted(self._ends, indices, "right")
        for piece in np.unique(pieces):
            places = np.flatnonzero(pieces == piece)
            start = int(self._ends[piece - 1]) if piece else 0
            yield self._cache.get(int(piece)), places, indices[places] - start

    def take(self, indices: slice | Indices) -> SequenceSource:
        """Return a source of the sequences at `indices`: stored if they are contiguous, else in memory."""
        chosen = np.arange(len(self))[indices]
        if len(chosen) == 0:
            raise DataError(f"{self.name}: no sequence is left")
        if (np.diff(chosen) == 1).all():
            return self._between(int(chosen[0]), int(chosen[-1]) + 1)
        return self._in_memory(chosen)

    def _between(self, first: int, end: int) -> StoredSource:
        """Return the sequences `first` to `end` - 1."""
        pieces, start = [], 0
        for number, low, high in self.pieces:
            stop = start + high - low
            if start < end and first < stop:
                pieces.append((number, low + max(0, first - start), high - max(0, stop - end)))
            start = stop
        sizes = np.array([high - low for _, low, high in pieces])
        own = slice(first, end)
        return replace(
            self,
            pieces=tuple(pieces),
            raw_lengths=self.raw_lengths[own],
            lengths=self.lengths[own],
            targets=self.targets[own],
            weights=None if self.weights is None else self.weights[own],
            info=self._info_of(first),
            layout=replace(self.layout, group_sizes=sizes, statistics=None),
        )

    def _in_memory(self, chosen: Indices) -> MemorySource:
        """Return some sequences in memory; row groups are read one after another."""
        # Row groups are read once each, in order; the order that was asked for is restored at the end.
        order = np.argsort(chosen, kind="stable")
        taken: list[MemorySource] = []
        for piece, start, part in self._numbered_parts(
            np.unique(np.searchsorted(self._ends, chosen, "right"))
        ):
            inside = order[(chosen[order] >= start) & (chosen[order] < self._ends[piece])]
            taken.append(part.take(chosen[inside] - start))
        steps = np.concatenate([each.concatenated for each in taken])
        ids = np.concatenate([each.ids for each in taken if each.ids is not None])
        gathered = MemorySource(
            steps,
            self.lengths[chosen[order]],
            self.targets[chosen[order]],
            self.classes,
            self.name,
            ids,
            weights=None if self.weights is None else self.weights[chosen[order]],
            info=self.info,
        )
        inverse = np.argsort(order, kind="stable")
        back = gathered if (inverse == np.arange(len(inverse))).all() else gathered.take(inverse)
        return replace(back, info=replace(self.info, locate=lambda index, step=0: back.describe(index)))

    def with_targets(self, targets: NDArray[np.int64], classes: tuple[ClassName, ...]) -> Self:
        """Return the same sequences with other targets, (N,) indices into `classes`."""
        return replace(self, targets=targets, classes=classes)

    def with_weights(self, weights: NDArray[np.float32]) -> Self:
        """Return the same sequences with other weights, (N,)."""
        return replace(self, weights=weights)

    def transformed(
        self, transform: Transform, lengths: NDArray[np.int64], width: int, layout: Layout
    ) -> StoredSource:
        """Return the sequences after a transform.

        Args:
            transform: What is done with the sequences as stored.
            lengths: (N,) number of steps of each sequence then.
            width: F then.
            layout: The layout, with the statistics then.
        """
        return replace(self, transform=transform, lengths=lengths, width=width, layout=layout)

    def parts(self) -> Iterator[MemorySource]:
        """Yield the sequences in order, a piece at a time, with identifiers; read ahead by a piece."""
        for _, _, part in self._numbered_parts(np.arange(len(self.pieces))):
            yield part

    def _numbered_parts(self, pieces: Indices) -> Iterator[tuple[int, int, MemorySource]]:
        """Yield (piece, index of its first sequence, its sequences)."""
        # A cache of its own: the row groups that training needs stay where they are.
        cache = BlockCache(self._load)
        for place, piece in enumerate(pieces.tolist()):
            cache.expect([piece, *pieces[place + 1 : place + 2].tolist()])
            block = cache.get(piece)
            ids = np.array(block.ids.to_pylist(), dtype=object)
            start = int(self._ends[piece - 1]) if piece else 0
            yield piece, start, replace(block.source, ids=ids)

    def steps_between(self, first: int, end: int) -> NDArray[Any]:
        """Return the steps of the sequences `first` to `end` - 1 one after another, (S, F)."""
        return np.concatenate([self.steps_of(index) for index in range(first, end)])

    def steps_of(self, index: int) -> NDArray[Any]:
        """Return the steps of one sequence, (T_i, F)."""
        block, local = self._place_of(index)
        # A copy, or one sequence would keep the memory of its row group.
        return block.source.steps_of(local).copy()

    def identifier(self, index: int) -> int | str:
        """Return the identifier of a sequence."""
        block, local = self._place_of(index)
        return str(block.ids[local].as_py())

    def _place_of(self, index: int) -> tuple[_Block, int]:
        """Return the block of a sequence, and its index there."""
        ((block, _, local),) = self._by_piece(np.array([index]))
        return block, int(local[0])

    def find(self, identifier: str) -> int | None:
        """Return the index of the sequence with an identifier; see `SequenceSource.find`."""
        for _, start, part in self._numbered_parts(np.arange(len(self.pieces))):
            if (place := part.find(identifier)) is not None:
                return start + place
        return None

    def value_range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (lowest, highest) value of each feature, (F,) each, over the first row groups."""
        lows, highs, steps = [], [], 0
        for part in self.parts():
            low, high = part.value_range()
            lows.append(low)
            highs.append(high)
            steps += part.total_steps
            if steps >= _SAMPLED_STEPS:
                break
        return np.nanmin(lows, 0), np.nanmax(highs, 0)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the digests of the row groups, the targets and the transform."""
        split = self.stored.split
        sha = hashlib.sha256()
        about = {
            "pieces": self.pieces,
            "row groups": [split.row_groups[number].sha256 for number, _, _ in self.pieces],
            "index": split.index.sha256,
            "classes": list(map(repr, self.classes)),
            "transform": self.transform.key if self.transform else "",
            "features": self.features,
        }
        sha.update(json.dumps(about, sort_keys=True).encode())
        sha.update(np.ascontiguousarray(self.targets).data)
        return sha.hexdigest()


def whole_pieces(split: PackedSplit) -> tuple[tuple[int, int, int], ...]:
    """Return all rows of all row groups of a split, as `StoredSource.pieces`."""
    return tuple((number, 0, group.n) for number, group in enumerate(split.row_groups))


def loaded(source: StoredSource) -> MemorySource:
    """Return all sequences of a source in memory, to be visited in the same order as the stored ones."""
    parts = list(source.parts())
    ids = np.concatenate([part.ids for part in parts if part.ids is not None])
    return MemorySource(
        np.concatenate([part.concatenated for part in parts]),
        source.lengths,
        source.targets,
        source.classes,
        source.name,
        ids,
        weights=source.weights,
        info=replace(source.info, locate=lambda index, step=0: f"sequence {ids[index]}"),
        layout=source.layout,
    )
