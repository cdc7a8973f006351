"""IDX files, the format of MNIST: a type, the sizes, then the items; raw or gzip-compressed.

Format: http://yann.lecun.com/exdb/mnist/ ("THE IDX FILE FORMAT"): two zero bytes, a type byte, a byte
that counts the dimensions, one big-endian uint32 for each dimension, then the items in C order.
"""

from __future__ import annotations

import gzip
import math
import stat
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import ClassName
from scanline.errors import DataError
from scanline.limits import exceeded, exceeded_unpacked, limit_of, unpacked_limit

REMEDY = "get the file again from its source"

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 2**20
# Deflate cannot pack tighter than 1032 to 1 (https://zlib.net/zlib_tech.html).
_DEFLATE_RATIO = 1032
# numpy 1.26 stops at 32 dimensions.
_MOST_DIMENSIONS = 32


class Digest(Protocol):
    """What hashlib's objects offer and `read_idx` needs."""

    def update(self, data: bytes, /) -> None: ...


def read_idx(
    path: Path, *, dimensions: int | None = None, digest: Digest | None = None, remedy: str = REMEDY
) -> NDArray[Any]:
    """The array in the IDX file `path`, raw or gzip (told by its first bytes, not by its name).

    dimensions: how many the array must have, or None for any number.
    digest: a hashlib object that is fed every uncompressed byte on the way, header included.
    remedy: what the message of an error tells the user to do.
    Returns an array of the file's type in the machine's byte order. Sizes are checked before memory is
    taken, and a gzip stream is not unpacked past the size that its header declares (but for one buffer
    of the gzip module's).
    Raises DataError of one line naming the file, the place, what was expected, what was found, the remedy.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is no regular file"
            raise DataError(f"{path}: expected an IDX file, found {found}; {remedy}")
        if status.st_size > limit_of("FILE_BYTES"):
            raise DataError(f"{path}: {exceeded('FILE_BYTES', status.st_size)}")
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.open(file) as stream:
                    reader = _Reader(path, stream, status.st_size, True, digest, remedy)
                    return reader.array(dimensions)
            return _Reader(path, file, status.st_size, False, digest, remedy).array(dimensions)
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected an IDX file, found none; {remedy}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error


def read_pair(
    images_path: Path,
    labels_path: Path,
    classes: tuple[ClassName, ...],
    source: str,
    *,
    digests: tuple[Digest | None, Digest | None] = (None, None),
    remedy: str = REMEDY,
) -> MemorySource:
    """Pictures and their labels as sequences of rows.

    images_path: 3 dimensions (N, rows, columns) of unsigned bytes. labels_path: 1 dimension (N,) of
    unsigned bytes, each an index into `classes`. source: what they are called in messages.
    digests: fed the uncompressed bytes of the images and of the labels. remedy: as for `read_idx`.
    Returns Sequences with uint8 values (N, rows, columns), all of full length.
    Raises DataError as `read_idx` does, and if the counts differ or a label is out of range.
    """
    images = read_unsigned(images_path, 3, digests[0], remedy)
    labels = read_unsigned(labels_path, 1, digests[1], remedy)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: expected {len(images):,} labels, one for each image of {images_path}, "
            f"found {len(labels):,}; {remedy}"
        )
    wrong = np.flatnonzero(labels >= len(classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{labels_path}: item {first} (byte {8 + first}): expected a label from 0 to {len(classes) - 1}, "
            f"found {labels[first]} ({wrong.size:,} of {len(labels):,} are out of range); {remedy}"
        )
    return MemorySource.from_array(images, labels, classes, source)


def read_unsigned(
    path: Path, dimensions: int, digest: Digest | None = None, remedy: str = REMEDY
) -> NDArray[Any]:
    """As `read_idx`, but a DataError also if the items are not unsigned bytes."""
    array = read_idx(path, dimensions=dimensions, digest=digest, remedy=remedy)
    if array.dtype != np.uint8:
        raise DataError(f"{path}: byte 2: expected 08 (unsigned bytes), found {array.dtype} items; {remedy}")
    return array


class _Reader:
    """Reads one open IDX file from its start, counting bytes so that messages can name the place."""

    def __init__(
        self, path: Path, file: BufferedIOBase, size: int, packed: bool, digest: Digest | None, remedy: str
    ) -> None:
        self.path, self.file, self.size, self.packed = path, file, size, packed
        self.digest, self.remedy = digest, remedy
        self.place = 0

    def fail(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise DataError(f"{self.path}: {what}; {self.remedy}") from cause

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end of the data."""
        try:
            data = self.file.read(count)
        except EOFError as error:
            self.fail(f"the gzip stream breaks off after byte {self.place:,} of what it unpacks to", error)
        except (gzip.BadGzipFile, zlib.error) as error:
            reason = " ".join(str(error).split())
            self.fail(f"the gzip stream is damaged after byte {self.place:,} unpacked ({reason})", error)
        self.place += len(data)
        if self.digest is not None:
            self.digest.update(data)
        return data

    def header(self, count: int) -> bytes:
        start = self.place
        data = self.read(count)
        if len(data) < count:
            self.fail(f"byte {start}: expected {count} more bytes of an IDX header, found {len(data)}")
        return data

    def array(self, dimensions: int | None) -> NDArray[Any]:
        dtype, shape = self.layout(dimensions)
        declared = dtype.itemsize * math.prod(shape)
        self.check_room(shape, declared)
        try:
            array = np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            self.fail(f"bytes 4 to {self.place - 1}: {declared:,} bytes of items do not fit in memory", error)
        target = array.reshape(-1).view(np.uint8)
        filled = 0
        while filled < declared:
            data = self.read(min(_CHUNK_BYTES, declared - filled))
            if not data:
                self.fail(
                    f"truncated at byte {self.place:,}: the header promises {_product(shape)}, "
                    f"expected {declared:,} bytes of items, found {filled:,}"
                )
            target[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        # Also what makes the gzip module check the stream's CRC and what follows it.
        if self.read(1):
            self.fail(f"byte {self.place - 1:,}: expected the end after {_product(shape)}, found more bytes")
        # In place: a copy would hold the data twice.
        return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))

    def layout(self, dimensions: int | None) -> tuple[np.dtype[Any], tuple[int, ...]]:
        magic = self.header(4)
        if magic[:2] != b"\0\0":
            self.fail(f"byte 0: not an IDX file: expected 00 00, found {magic[:2].hex(' ')}")
        if magic[2] not in _TYPES:
            legal = ", ".join(f"{code:02x}" for code in _TYPES)
            self.fail(f"byte 2: expected one of the IDX types {legal}, found {magic[2]:02x}")
        count = magic[3]
        if dimensions is not None and count != dimensions:
            self.fail(f"byte 3: expected {_kind(dimensions)}, found {_kind(count)}")
        if not 1 <= count <= _MOST_DIMENSIONS:
            self.fail(f"byte 3: expected 1 to {_MOST_DIMENSIONS} dimensions, found {count}")
        sizes = self.header(4 * count)
        shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(count))
        if 0 in shape:
            empty = shape.index(0)
            self.fail(f"byte {4 + 4 * empty}: expected at least 1 in dimension {empty}, found 0")
        return np.dtype(_TYPES[magic[2]]), shape

    def check_room(self, shape: tuple[int, ...], declared: int) -> None:
        """Nothing is allocated for a header that the file cannot live up to."""
        held = self.size * _DEFLATE_RATIO if self.packed else self.size - self.place
        promise = f"the header promises {_product(shape)}, expected {declared:,} bytes of items, found"
        if declared > held:
            room = f"a gzip file of {self.size:,} bytes" if self.packed else f"{held:,}"
            self.fail(f"truncated, or damaged at bytes 4 to {self.place - 1}: {promise} {room}")
        if self.packed and declared > unpacked_limit(self.size):
            self.fail(f"bytes 4 to {self.place - 1}: {exceeded_unpacked(self.size, declared)}")
        if not self.packed and declared < held:
            self.fail(f"byte {self.place + declared:,}: expected the end: {promise} {held:,}")


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape) + (" items" if len(shape) == 1 else "")


def _kind(dimensions: int) -> str:
    hint = {1: " (labels)", 3: " (images)"}.get(dimensions, "")
    return f"{dimensions} dimension{'' if dimensions == 1 else 's'}{hint}"
