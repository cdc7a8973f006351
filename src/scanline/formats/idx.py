"""IDX files, the format of MNIST, raw or compressed with gzip.

Layout: two zero bytes, a byte for the type, a byte for the number of dimensions, the size of each dimension
as a big-endian uint32, then the items in C order.
Source: http://yann.lecun.com/exdb/mnist/ ("THE IDX FILE FORMAT").
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

from scanline.errors import FormatError
from scanline.limits import excess, excess_unpacked, limit_of, unpacked_limit

REMEDY = "download the file again from its source"

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 2**20
_DEFLATE_RATIO = 1032  # the tightest that deflate compresses (https://zlib.net/zlib_tech.html)
_MAX_DIMENSIONS = 32  # of an array in NumPy 1.26


class Digest(Protocol):
    """The part of hashlib's objects that `read_idx` uses."""

    def update(self, data: bytes, /) -> None:
        """Add bytes to the digest."""


def read_idx(
    path: Path, *, dimensions: int | None = None, digest: Digest | None = None, remedy: str = REMEDY
) -> NDArray[Any]:
    """Read the array in an IDX file.

    Whether the file is compressed is decided by its first bytes, not by its name. Sizes are checked before
    memory is allocated, and a gzip stream is not decompressed past the size that the header declares (except
    for one buffer of the gzip module).

    Args:
        path: The file.
        dimensions: The number of dimensions that the array must have, or None for any.
        digest: Updated with every uncompressed byte, including the header.
        remedy: Advice at the end of error messages.

    Returns:
        An array of the file's type in native byte order.

    Raises:
        FormatError: If the file is missing, damaged or too large; names the byte, expected and found.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is not a regular file"
            raise FormatError(file=path, expected="an IDX file", found=found, remedy=remedy)
        if status.st_size > limit_of("FILE_BYTES"):
            raise FormatError(file=path, **excess("FILE_BYTES", status.st_size))
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.open(file) as stream:
                    return _Reader(path, stream, status.st_size, True, digest, remedy).array(dimensions)
            return _Reader(path, file, status.st_size, False, digest, remedy).array(dimensions)
    except FileNotFoundError as error:
        raise FormatError(file=path, expected="an IDX file", found="none", remedy=remedy) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", file=path, remedy=remedy) from error


def read_pair(
    images_path: Path,
    labels_path: Path,
    classes: int,
    *,
    digests: tuple[Digest | None, Digest | None] = (None, None),
    remedy: str = REMEDY,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read images and their labels.

    Args:
        images_path: File with 3 dimensions (N, rows, columns) of unsigned bytes.
        labels_path: File with 1 dimension (N,) of unsigned bytes; or, if its name has "idx2-int" as in
            QMNIST, with 2 dimensions (N, columns) of integers, of which the first column is the class.
        classes: Number of classes: labels are 0 to `classes` - 1.
        digests: Updated with the uncompressed bytes of the images and of the labels.
        remedy: Advice at the end of error messages.

    Returns:
        Images, uint8 (N, rows, columns), and labels, uint8 (N,).

    Raises:
        FormatError: As for `read_idx`, and if the counts differ or a label is out of range.
    """
    images = read_unsigned(images_path, 3, digests[0], remedy)
    labels = _read_labels(labels_path, digests[1], remedy)
    if len(images) != len(labels):
        raise FormatError(
            file=labels_path,
            expected=f"{len(images):,} labels, one for each image of {images_path}",
            found=f"{len(labels):,}",
            remedy=remedy,
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise FormatError(
            file=labels_path,
            place=f"item {first} (byte {8 + first})",
            expected=f"a label from 0 to {classes - 1}",
            found=f"{labels[first]} ({wrong.size:,} of {len(labels):,} are out of range)",
            remedy=remedy,
        )
    return images, labels.astype(np.uint8, copy=False)


def _read_labels(path: Path, digest: Digest | None, remedy: str) -> NDArray[Any]:
    if "idx2-int" not in path.name:
        return read_unsigned(path, 1, digest, remedy)
    table = read_idx(path, dimensions=2, digest=digest, remedy=remedy)
    if table.dtype.kind != "i" or table.shape[1] < 1:
        raise FormatError(
            file=path, expected="columns of integers", found=f"{table.dtype} {table.shape}", remedy=remedy
        )
    return np.asarray(table[:, 0])


def read_unsigned(
    path: Path, dimensions: int, digest: Digest | None = None, remedy: str = REMEDY
) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes; as `read_idx`, with a FormatError for other types."""
    array = read_idx(path, dimensions=dimensions, digest=digest, remedy=remedy)
    if array.dtype != np.uint8:
        raise FormatError(
            file=path,
            place="byte 2",
            expected="08 (unsigned bytes)",
            found=f"{array.dtype} items",
            remedy=remedy,
        )
    return array


class _Reader:
    """Reads one open file from its start and counts bytes, so that messages can name the place."""

    def __init__(
        self, path: Path, file: BufferedIOBase, size: int, packed: bool, digest: Digest | None, remedy: str
    ) -> None:
        self.path, self.file, self.size, self.packed = path, file, size, packed
        self.digest, self.remedy = digest, remedy
        self.place = 0

    def fail(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise FormatError(what, file=self.path, remedy=self.remedy) from cause

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, fewer only at the end of the data."""
        try:
            data = self.file.read(count)
        except EOFError as error:
            self.fail(f"the gzip stream ends early, after byte {self.place:,} of the unpacked data", error)
        except (gzip.BadGzipFile, zlib.error) as error:
            reason = " ".join(str(error).split())
            self.fail(
                f"the gzip stream is damaged after byte {self.place:,} of the unpacked data ({reason})", error
            )
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
        self.check_size(shape, declared)
        try:
            array = np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            self.fail(f"bytes 4 to {self.place - 1}: {declared:,} bytes of items do not fit in memory", error)
        # A byte view of the result: chunks are copied into place without an intermediate array.
        target = array.reshape(-1).view(np.uint8)
        filled = 0
        while filled < declared:
            data = self.read(min(_CHUNK_BYTES, declared - filled))
            if not data:
                self.fail(
                    f"truncated at byte {self.place:,}: the header declares {_product(shape)}, "
                    f"expected {declared:,} bytes of items, found {filled:,}"
                )
            target[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        # Reading past the end also makes the gzip module verify the stream's CRC and what follows it.
        if self.read(1):
            self.fail(f"byte {self.place - 1:,}: expected the end after {_product(shape)}, found more bytes")
        # Swapped in place: a copy would hold the data twice.
        return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))

    def layout(self, dimensions: int | None) -> tuple[np.dtype[Any], tuple[int, ...]]:
        magic = self.header(4)
        if magic[:2] != b"\0\0":
            self.fail(f"byte 0: not an IDX file: expected 00 00, found {magic[:2].hex(' ')}")
        if magic[2] not in _DTYPES:
            legal = ", ".join(f"{code:02x}" for code in _DTYPES)
            self.fail(f"byte 2: expected one of the IDX types {legal}, found {magic[2]:02x}")
        count = magic[3]
        if dimensions is not None and count != dimensions:
            self.fail(f"byte 3: expected {_dimensions(dimensions)}, found {_dimensions(count)}")
        if not 1 <= count <= _MAX_DIMENSIONS:
            self.fail(f"byte 3: expected 1 to {_MAX_DIMENSIONS} dimensions, found {count}")
        sizes = self.header(4 * count)
        shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(count))
        if 0 in shape:
            empty = shape.index(0)
            self.fail(f"byte {4 + 4 * empty}: expected at least 1 in dimension {empty}, found 0")
        return np.dtype(_DTYPES[magic[2]]), shape

    def check_size(self, shape: tuple[int, ...], declared: int) -> None:
        """Refuse a header that the file is too small for, before memory is allocated for it."""
        # A gzip file can hold at most its size times the deflate ratio; a raw file exactly its size.
        available = self.size * _DEFLATE_RATIO if self.packed else self.size - self.place
        rule = f"the header declares {_product(shape)}, expected {declared:,} bytes of items, found"
        if declared > available:
            found = f"a gzip file of {self.size:,} bytes" if self.packed else f"{available:,}"
            self.fail(f"truncated, or damaged at bytes 4 to {self.place - 1}: {rule} {found}")
        if self.packed and declared > unpacked_limit(self.size):
            raise FormatError(
                file=self.path,
                place=f"bytes 4 to {self.place - 1}",
                **excess_unpacked(self.size, declared),
            )
        if not self.packed and declared < available:
            self.fail(f"byte {self.place + declared:,}: expected the end: {rule} {available:,}")


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape) + (" items" if len(shape) == 1 else "")


def _dimensions(count: int) -> str:
    hint = {1: " (labels)", 3: " (images)"}.get(count, "")
    return f"{count} dimension{'' if count == 1 else 's'}{hint}"
