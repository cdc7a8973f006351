"""What is scored, in pieces: the row groups of a packed data set, or pieces of sequences in memory."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scanline.data.dataset import ALL
from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import Manifest, read_manifest
from scanline.data.packed.row_groups import read_file, read_row_group
from scanline.data.packed_data import is_packed
from scanline.data.preprocessing import Preprocessing
from scanline.data.reading import TO_PREDICT, read_sources
from scanline.errors import DataError, UsageError
from scanline.scoring.columns import require_pyarrow
from scanline.scoring.sequences import widths_of
from scanline.storage.digest import sha256

if TYPE_CHECKING:
    import pyarrow

_PIECE_VALUES = 2**23  # of sequences in memory, 32 MiB of float32


@dataclass(frozen=True, order=True)
class Unit:
    """A piece of work: a row group, or a piece of a source in memory.

    Attributes:
        split: Its split, "all" if there are none.
        number: Its number in the split, from 0.
        n: Number of its sequences.
    """

    split: str
    number: int
    n: int

    @property
    def name(self) -> str:
        """Name of the unit in the names of files, such as "test-000012"."""
        return f"{self.split}-{self.number:06d}"

    @property
    def value(self) -> str | None:
        """Value of the column split."""
        return None if self.split == ALL else self.split


class Work(ABC):
    """Sequences to score.

    Attributes:
        address: Where they are, for messages and records.
        units: The pieces, in order.
    """

    address: str
    units: Sequence[Unit]

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of the sequences."""

    @abstractmethod
    def read(self, unit: Unit) -> pyarrow.Table:
        """Return the rows of a unit. Raises DataError if they cannot be read."""


@dataclass(frozen=True, eq=False)
class PackedWork(Work):
    """The row groups of a packed data set.

    Attributes:
        location: Its folder.
        manifest: Its manifest.
        splits: Names of the splits to score.
    """

    location: Location
    manifest: Manifest
    splits: tuple[str, ...]

    @classmethod
    def open(cls, location: Location, splits: Sequence[str] = ()) -> PackedWork:
        """Read a manifest.

        Args:
            location: The folder of the packed data set.
            splits: Names of the splits to score; empty for all.

        Raises:
            DataError: If the manifest cannot be read.
            UsageError: If there is no split of a name.
        """
        require_pyarrow(f"reading {location.uri}")
        manifest = read_manifest(location)
        check_splits(location.uri, splits, manifest.splits)
        # Each split once, in the order of the data set, however often and in whatever order it is named.
        chosen = [name for name in manifest.splits if not splits or name in splits]
        return cls(location, manifest, tuple(chosen))

    @property
    def address(self) -> str:  # type: ignore[override]
        """The URI or path of the folder."""
        return self.location.uri

    @property
    def units(self) -> Sequence[Unit]:  # type: ignore[override]
        """The row groups of the splits."""
        entries: Mapping[Any, Any] = self.manifest.splits
        return [
            Unit(split, number, group.n)
            for split in self.splits
            for number, group in enumerate(entries[split].row_groups)
        ]

    def digest(self) -> str:
        """Return the SHA-256 of the manifest that was read, which has a digest of each row group."""
        # Not of the file: it may have been replaced since.
        return sha256(self.manifest.model_dump_json(by_alias=True).encode())

    def read(self, unit: Unit) -> pyarrow.Table:
        """Return the rows of a row group; its digest is checked."""
        entries: Mapping[Any, Any] = self.manifest.splits
        entry = entries[unit.split].row_groups[unit.number]
        where = self.location.file(entry.file)
        content = read_file(self.location, entry)
        values = entry.steps * self.manifest.features
        table = read_row_group(content, where, entry.n, values, np.dtype(self.manifest.dtype))
        if len(table) != entry.n:
            expected = f"{entry.n:,} rows, as in the manifest"
            raise DataError(where=where, expected=expected, found=f"{len(table):,}")
        return table

    def check(self, preprocessing: Preprocessing, trained_on: str) -> None:
        """Raise DataError if a model can read none of the sequences."""
        widths = widths_of(preprocessing)
        if self.manifest.features not in widths:
            expected = " or ".join(f"{width:,}" for width in widths)
            raise DataError(
                f"{self.address}: expected {expected} values a step, found {self.manifest.features:,}; "
                f"the model was trained on {trained_on}"
            )


@dataclass(frozen=True, eq=False)
class MemoryWork(Work):
    """Sequences in memory, by split.

    Attributes:
        address: Where they were read.
        sources: The sequences.
        units: Pieces of about 32 MiB.
    """

    address: str
    sources: Mapping[str, MemorySource]
    units: Sequence[Unit]
    _starts: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, address: str, sources: Mapping[str, MemorySource], splits: Sequence[str] = ()) -> MemoryWork:
        """Divide sources into pieces."""
        check_splits(address, splits, sources)
        chosen = {name: source for name, source in sources.items() if not splits or name in splits}
        starts = {name: _starts_of(source) for name, source in chosen.items()}
        units = [
            Unit(name, number, end - first)
            for name, places in starts.items()
            for number, (first, end) in enumerate(zip(places, [*places[1:], len(chosen[name])], strict=True))
        ]
        return cls(address, chosen, units, starts)

    def digest(self) -> str:
        """Return the SHA-256 of all sequences and their identifiers."""
        about = {}
        for name, source in self.sources.items():
            ids = json.dumps([source.identifier(index) for index in range(len(source))])
            about[name] = [source.fingerprint(), sha256(ids.encode())]
        return sha256(json.dumps(about, sort_keys=True).encode())

    def read(self, unit: Unit) -> pyarrow.Table:
        """Return the rows of a piece."""
        pa = require_pyarrow()
        source, first = self.sources[unit.split], self._starts[unit.split][unit.number]
        part = source.take(slice(first, first + unit.n))
        # Large lists: offsets of 64 bits, as a single sequence may have more values than a piece should have.
        ends = np.concatenate([[0], np.cumsum(part.lengths * part.features)]).astype(np.int64)
        return pa.table(
            {
                "id": [str(source.identifier(first + index)) for index in range(unit.n)],
                "length": part.lengths,
                "steps": pa.LargeListArray.from_arrays(ends, pa.array(part.concatenated.reshape(-1))),
            }
        )


def open_work(source: str, preprocessing: Preprocessing, splits: Sequence[str] = ()) -> Work:
    """Open a packed data set, or read what `scanline predict` reads.

    Args:
        source: The URI or folder of a packed data set; or a path, whose sequences are read into memory.
        preprocessing: The model's, which says how files are read.
        splits: Names of the splits to score; empty for all.

    Raises:
        DataError: If it cannot be read.
        UsageError: If there is no split of a name.
    """
    if is_packed(source):
        return PackedWork.open(Location.parse(source), splits)
    return MemoryWork.of(source, read_sources(Path(source), preprocessing.settings, TO_PREDICT), splits)


def check_splits(address: str, wanted: Sequence[str], splits: Mapping[Any, Any]) -> None:
    """Raise UsageError if a wanted split does not exist."""
    if unknown := [name for name in wanted if name not in splits]:
        known = ", ".join(splits)
        raise UsageError(f"--split: expected one of {known} for {address}, got {', '.join(unknown)}")


def _starts_of(source: MemorySource) -> list[int]:
    """Return the first sequence of each piece."""
    ends, starts = np.cumsum(source.lengths * source.features), [0]
    while True:
        before = int(ends[starts[-1] - 1]) if starts[-1] else 0
        after = max(starts[-1] + 1, int(np.searchsorted(ends, before + _PIECE_VALUES, "right")))
        if after >= len(source):
            return starts
        starts.append(after)
