"""Data sets: arrays of floating-point numbers (sections IV.A.2.b, d, i, l)."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError
from scanline.formats.hdf5.attributes import KINDS
from scanline.formats.hdf5.btree import CHUNK_NODE, BTrees
from scanline.formats.hdf5.headers import DATATYPE, EXTERNAL, FILTERS, LAYOUT, SPACE, Headers, Message
from scanline.formats.hdf5.reader import UNDEFINED, Reader
from scanline.limits import unpacked_limit

# IEEE floating-point numbers: bit offset, precision, place and size of exponent and mantissa, bias.
_FLOATS: dict[tuple[int, ...], str] = {
    (0, 16, 10, 5, 0, 10, 15): "f2",
    (0, 32, 23, 8, 0, 23, 127): "f4",
    (0, 64, 52, 11, 0, 52, 1023): "f8",
}
_FLOAT_FIELD_BYTES = (2, 2, 1, 1, 1, 1, 4)  # of the fields above
_GZIP, _SHUFFLE = 1, 2  # filters
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)  # layout classes
_NULL_SPACE = 2
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Dataset:
    """An array that can be read.

    Attributes:
        shape: Its shape, or None if it has no values at all.
        dtype: Type of its numbers in the file.
        chunk: Shape of its chunks, or None if it is in one piece.
        place: Where its values begin, or the address of the B-tree of its chunks.
        size: Bytes of its values if it is in one piece, else 0.
        filters: Filters of its chunks, in the order in which they were applied.
    """

    shape: tuple[int, ...] | None
    dtype: np.dtype[np.floating]
    chunk: tuple[int, ...] | None
    place: int
    size: int
    filters: tuple[int, ...]


def describe(reader: Reader, headers: Headers, address: int) -> Dataset:
    """Return the data set whose header is at `address`.

    Raises:
        FormatError: If its values are not in the file, are not floating-point numbers, or are stored in a way
            that is not supported.
    """
    bodies = {each.kind: each for each in headers.messages(address)}
    if EXTERNAL in bodies:
        raise FormatError("its values are in another file, which is refused")
    if not {SPACE, DATATYPE, LAYOUT} <= bodies.keys():
        raise FormatError(expected=f"a data set at byte {address:,}", found="none")
    dtype = _dtype(reader, bodies[DATATYPE])
    shape = _shape(reader, bodies[SPACE])
    filters = _filters(reader, bodies[FILTERS]) if FILTERS in bodies else ()
    place, number = bodies[LAYOUT].start, reader.number
    version, kind = number(place, 1), number(place + 1, 1)
    if version not in (3, 4) or kind > _VIRTUAL or (version == 4 and kind == _CHUNKED):
        raise FormatError(f"the layout of its values (version {version}, class {kind}) is not supported")
    if kind == _VIRTUAL:
        raise FormatError("its values are those of other data sets, which is refused")
    if kind == _COMPACT:
        return Dataset(shape, dtype, None, place + 4, number(place + 2, 2), filters)
    if kind == _CONTIGUOUS:
        at, size = number(place + 2, 8), number(place + 10, 8)
        return Dataset(shape, dtype, None, at, 0 if at == UNDEFINED else size, filters)
    sizes = [number(place + 11 + 4 * index, 4) for index in range(number(place + 2, 1))]
    # The last size is that of an item.
    if not sizes or sizes[-1] != dtype.itemsize or 0 in sizes or len(sizes[:-1]) != len(shape or ()):
        raise FormatError(expected=f"chunks of {shape} numbers of {dtype.itemsize} bytes", found=tuple(sizes))
    return Dataset(shape, dtype, tuple(sizes[:-1]), number(place + 3, 8), 0, filters)


def read_values(reader: Reader, trees: BTrees, dataset: Dataset, limit: int) -> NDArray[np.floating]:
    """Return the values of a data set.

    Args:
        reader: The file.
        trees: The file's B-trees.
        dataset: What to read.
        limit: The largest size of the values in bytes.

    Raises:
        FormatError: If the values exceed the limit, or the file does not have all of them.
    """
    shape = dataset.shape or ()
    needed = math.prod(shape) * dataset.dtype.itemsize
    if needed > limit:
        raise FormatError(expected=f"at most {limit:,} bytes of values", found=f"{needed:,}")
    if dataset.chunk is None:
        if dataset.size != needed:
            raise FormatError(expected=f"{needed:,} bytes of values", found=f"{dataset.size:,} in the file")
        return np.frombuffer(reader.take(dataset.place, needed), dataset.dtype).reshape(shape)
    chunks = dict(_chunks(reader, trees, dataset.place, len(shape)))
    grid = list(zip(shape, dataset.chunk, strict=True))
    count = math.prod(-(-size // width) for size, width in grid)
    stored = sum(size for _, size in chunks.values())
    chunk_bytes = math.prod(dataset.chunk) * dataset.dtype.itemsize
    # Before memory is allocated: the chunks must be there, and must be able to unpack to so much.
    if len(chunks) != count or count * chunk_bytes > unpacked_limit(stored) or stored > len(reader):
        raise FormatError(
            expected=f"{needed:,} bytes in {count:,} chunks", found=f"{stored:,} in {len(chunks):,}"
        )
    values = np.empty(shape, dataset.dtype)
    for corner in itertools.product(*(range(0, size, width) for size, width in grid)):
        if corner not in chunks:
            raise FormatError(expected=f"a chunk of its values at {corner}", found="none")
        content = _unpacked(reader.take(*chunks[corner]), dataset, chunk_bytes)
        chunk = np.frombuffer(content, dataset.dtype).reshape(dataset.chunk)
        # Chunks at the border reach beyond the array.
        target = tuple(
            slice(at, min(at + width, size)) for at, (size, width) in zip(corner, grid, strict=True)
        )
        values[target] = chunk[tuple(slice(0, each.stop - each.start) for each in target)]
    return values


def _shape(reader: Reader, message: Message) -> tuple[int, ...] | None:
    version, rank = reader.number(message.start, 1), reader.number(message.start + 1, 1)
    if version not in (1, 2) or rank > _MAX_DIMENSIONS:
        raise FormatError(
            expected="a shape of version 1 or 2", found=f"version {version} with {rank} dimensions"
        )
    if version == 2 and reader.number(message.start + 3, 1) == _NULL_SPACE:
        return None
    place = message.start + (8 if version == 1 else 4)
    return tuple(reader.number(place + 8 * index, 8) for index in range(rank))


def _dtype(reader: Reader, message: Message) -> np.dtype[np.floating]:
    place, number = message.start, reader.number
    kind, bits, size = number(place, 1) & 15, number(place + 1, 1), number(place + 4, 4)
    starts = itertools.accumulate(_FLOAT_FIELD_BYTES, initial=place + 8)
    layout = tuple(number(start, wide) for start, wide in zip(starts, _FLOAT_FIELD_BYTES, strict=False))
    name = _FLOATS.get(layout) if kind == 1 and not bits & 0x40 else None  # 0x40: VAX byte order
    if name is None or size != int(name[1]):
        what = KINDS.get(kind, "something else")
        raise FormatError(expected="floating-point numbers", found=f"{what} of {size:,} bytes")
    return np.dtype((">" if bits & 1 else "<") + name)


def _filters(reader: Reader, message: Message) -> tuple[int, ...]:
    number = reader.number
    version, count = number(message.start, 1), number(message.start + 1, 1)
    place, filters = message.start + (8 if version == 1 else 2), []
    for _ in range(count):
        code = number(place, 2)
        if version not in (1, 2) or code not in (_GZIP, _SHUFFLE):
            raise FormatError(f"its values are packed by HDF5's filter {code}; expected gzip or none")
        name_bytes = number(place + 2, 2) if version == 1 else 0
        settings = number(place + (6 if version == 1 else 4), 2)
        place += 8 + name_bytes + -name_bytes % 8 if version == 1 else 6
        place += 4 * (settings + (settings % 2 if version == 1 else 0))
        filters.append(code)
    return tuple(filters)


def _chunks(
    reader: Reader, trees: BTrees, tree: int, rank: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
    """Yield (corner, (first byte, size)) of each chunk."""
    if tree == UNDEFINED:
        return
    for key, child in trees.leaves(tree, CHUNK_NODE, 8 + 8 * (rank + 1)):
        if reader.number(key + 4, 4):
            raise FormatError("its chunks are not all packed by the same filters, which is not supported")
        corner = tuple(reader.number(key + 8 + 8 * index, 8) for index in range(rank))
        yield corner, (child, reader.number(key, 4))


def _unpacked(content: bytes, dataset: Dataset, size: int) -> bytes:
    """Return the `size` bytes of a chunk, with its filters undone."""
    for code in reversed(dataset.filters):
        if code == _GZIP:
            stream = zlib.decompressobj()
            try:
                content = stream.decompress(content, size + 1)  # one more shows that there are too many
            except zlib.error as error:
                raise FormatError(expected="a chunk packed with gzip", found=error) from error
        elif len(content) == size:  # shuffled: the first bytes of all items, then the second bytes, ...
            content = np.frombuffer(content, np.uint8).reshape(dataset.dtype.itemsize, -1).T.tobytes()
    if len(content) != size:
        raise FormatError(expected=f"a chunk of {size:,} bytes", found=f"{len(content):,}")
    return content
