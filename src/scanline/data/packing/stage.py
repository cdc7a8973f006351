"""Sequences on disk between reading and writing: scattered into buckets, each small enough to be gathered.

A bucket has three files: fixed-size rows, identifiers and steps. Which bucket a sequence goes to depends on
its place in the final order only, so that bucket after bucket gives that order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.packing.chunks import Chunk
from scanline.seeding import numpy_generator
from scanline.storage.atomic import sync_file, sync_folder

# What is known about a staged sequence. Its steps and its identifier lie in the order of the rows.
ROW = np.dtype(
    [
        ("number", "<i8"),
        ("length", "<i4"),
        ("id_bytes", "<i4"),
        ("label", "<i4"),
        ("group", "<i4"),
        ("part", "i1"),
        ("split", "i1"),
    ]
)
BUCKETS = 512  # at most, of one part
_BUCKET_BYTES = 2**27


def bucket_count(size: int) -> int:
    """Return the number of buckets for about `size` bytes of steps."""
    return int(min(BUCKETS, max(1, -(-size // _BUCKET_BYTES))))


@dataclass(frozen=True)
class Order:
    """The order in which sequences are packed.

    Attributes:
        seed: Seed of the random order; None: the order of the source.
    """

    seed: int | None

    def keys(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return (n,) keys, in whose order sequences are packed.

        Source: the finaliser of SplitMix64 (Steele, Lea & Flood, 2014), which is a bijection.
        """
        keys = numbers.astype(np.uint64)
        if self.seed is None:
            return keys
        offset = numpy_generator(self.seed, "pack").integers(0, 2**63, dtype=np.uint64)
        with np.errstate(over="ignore"):
            keys = (keys + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + offset
            keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = keys ^ (keys >> np.uint64(31))
        return mixed


@dataclass(frozen=True)
class Mark:
    """State of a stage: sizes of its files, and what `StageWriter` has in its attributes."""

    sizes: dict[Path, int]
    used: int
    filled: int
    step_bytes: int


class StageWriter:
    """Writes sequences into buckets.

    Args:
        folder: Where the files are.
        order: The order in which sequences will be packed.
        buckets: Number of buckets for a random order.

    Attributes:
        used: Number of buckets, some of which may be empty.
        step_bytes: Bytes of steps that were written.
    """

    def __init__(self, folder: Path, order: Order, buckets: int) -> None:
        self.folder, self.order = folder, order
        self.used = buckets if order.seed is not None else 0
        self.step_bytes = 0
        self._buckets = buckets
        self._range: tuple[int, int, int] | None = None  # first bucket, first number, count of numbers
        self._filled = _BUCKET_BYTES

    def expect_unordered(self, first: int, count: int) -> None:
        """Be prepared for chunks whose numbers, `first` to `first + count` - 1, are not in order."""
        if self.order.seed is None:
            self._range = self.used, first, max(1, count)
            self.used += self._buckets

    def expect_ordered(self) -> None:
        """Be prepared for chunks whose numbers are in order."""
        self._range, self._filled = None, _BUCKET_BYTES

    def add(self, part: int, chunk: Chunk) -> None:
        """Write the sequences of a chunk.

        Raises:
            OSError: If they cannot be written.
        """
        source = chunk.source
        n = len(source)
        assert source.ids is not None
        texts = [str(name).encode() for name in source.ids]
        rows = np.zeros(n, ROW)
        rows["number"], rows["length"], rows["label"] = chunk.numbers, source.lengths, chunk.labels
        rows["id_bytes"] = [len(text) for text in texts]
        rows["group"] = -1 if chunk.groups is None else chunk.groups
        rows["split"] = -1 if chunk.splits is None else chunk.splits
        rows["part"] = part
        step_bytes = source.lengths * (source.features * source.dtype.itemsize)
        places = self._places(chunk.numbers, step_bytes)
        order = np.argsort(places, kind="stable")
        borders = np.flatnonzero(np.diff(places[order])) + 1
        for chosen in np.split(order, borders):
            steps = source.take(chosen) if len(chosen) < n else source
            self._append(
                int(places[chosen[0]]), rows[chosen], [texts[at] for at in chosen], steps.concatenated
            )
        self.step_bytes += int(step_bytes.sum())

    def _places(self, numbers: NDArray[np.int64], step_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bucket of each sequence."""
        if self.order.seed is not None:
            keys = self.order.keys(numbers) >> np.uint64(32)
            drawn: NDArray[np.int64] = ((keys * np.uint64(self._buckets)) >> np.uint64(32)).astype(np.int64)
            return drawn
        if self._range is not None:
            base, first, count = self._range
            return base + (numbers - first) * self._buckets // count
        # In order: a new bucket begins when the last one is full.
        ends = self._filled + np.cumsum(step_bytes)
        places: NDArray[np.int64] = self.used - 1 + (ends - 1) // _BUCKET_BYTES
        self.used = int(places[-1]) + 1
        self._filled = int(ends[-1] - 1) % _BUCKET_BYTES + 1
        return places

    def _append(self, bucket: int, rows: NDArray[Any], texts: list[bytes], steps: NDArray[Any]) -> None:
        values = np.ascontiguousarray(steps).data.cast("B")
        content = {"rows": memoryview(rows.tobytes()), "ids": memoryview(b"".join(texts)), "steps": values}
        for kind, each in content.items():
            with open(bucket_file(self.folder, bucket, kind), "ab", buffering=0) as file:
                _write_all(file.fileno(), each)

    def mark(self) -> Mark:
        """Return the state of the stage, to go back to it."""
        sizes = {path: path.stat().st_size for path in self.folder.glob("bucket-*")}
        return Mark(sizes, self.used, self._filled, self.step_bytes)

    def back_to(self, mark: Mark) -> None:
        """Remove what was added since the mark was made."""
        for path in self.folder.glob("bucket-*"):
            if path not in mark.sizes:
                path.unlink()
            elif path.stat().st_size > mark.sizes[path]:
                os.truncate(path, mark.sizes[path])
        self.used, self._filled, self.step_bytes = mark.used, mark.filled, mark.step_bytes

    def finish(self) -> None:
        """Make the files durable."""
        for path in self.folder.glob("bucket-*"):
            sync_file(path)
        sync_folder(self.folder)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def bucket_file(folder: Path, bucket: int, kind: str) -> Path:
    """Return a file of a bucket; its kind is rows, ids or steps."""
    return folder / f"bucket-{bucket:06d}.{kind}"


def read_rows(folder: Path, bucket: int) -> NDArray[Any]:
    """Return the rows of a bucket, (n,) of the type `ROW`."""
    path = bucket_file(folder, bucket, "rows")
    return np.fromfile(path, ROW) if path.exists() else np.zeros(0, ROW)


def staged_columns(folder: Path, buckets: int, names: Sequence[str]) -> list[NDArray[Any]]:
    """Return columns of the rows of all buckets, one after another, (N,) each."""
    columns: list[list[NDArray[Any]]] = [[] for _ in names]
    for bucket in range(buckets):
        rows = read_rows(folder, bucket)
        for column, name in zip(columns, names, strict=True):
            column.append(np.ascontiguousarray(rows[name]))
    return [np.concatenate(column) for column in columns]


def staged_identifiers(folder: Path, buckets: int, parts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield (identifier, number) of all sequences of some parts."""
    for bucket in range(buckets):
        rows = read_rows(folder, bucket)
        if not len(rows):
            continue
        content = bucket_file(folder, bucket, "ids").read_bytes()
        ends = np.cumsum(rows["id_bytes"].astype(np.int64))
        for index in np.flatnonzero(np.isin(rows["part"], parts)).tolist():
            text = content[ends[index] - rows["id_bytes"][index] : ends[index]]
            yield text.decode(), int(rows["number"][index])


class Bucket:
    """The sequences of a bucket, to gather any of them.

    Args:
        folder: Where the files are.
        bucket: Its number.
        features: F, the number of values of a step.
        dtype: Type of the values.

    Attributes:
        rows: (n,) what is known about each sequence.
    """

    def __init__(self, folder: Path, bucket: int, features: int, dtype: np.dtype[Any]) -> None:
        self.rows = read_rows(folder, bucket)
        if not len(self.rows):
            return
        lengths = self.rows["length"].astype(np.int64)
        self._starts = np.cumsum(lengths) - lengths
        self._ids = bucket_file(folder, bucket, "ids").read_bytes()
        self._id_ends = np.cumsum(self.rows["id_bytes"].astype(np.int64))
        path = bucket_file(folder, bucket, "steps")
        # A mapped file is no anonymous memory, whatever the size of the bucket.
        self._steps = np.memmap(path, dtype, "r", shape=(int(lengths.sum()), features))

    def steps(self, chosen: NDArray[np.int64]) -> NDArray[Any]:
        """Return the steps of some sequences one after another, (S, F)."""
        lengths = self.rows["length"][chosen].astype(np.int64)
        ends = np.cumsum(lengths)
        places = np.arange(int(ends[-1])) + np.repeat(self._starts[chosen] - ends + lengths, lengths)
        gathered: NDArray[Any] = np.asarray(self._steps)[places]
        return gathered

    def ids(self, chosen: NDArray[np.int64]) -> list[str]:
        """Return the identifiers of some sequences."""
        ends, sizes = self._id_ends[chosen], self.rows["id_bytes"][chosen]
        return [self._ids[end - size : end].decode() for end, size in zip(ends, sizes, strict=True)]
