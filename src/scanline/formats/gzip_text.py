"""Files that may be compressed with gzip, decompressed no further than the limits allow."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from scanline.errors import FormatError
from scanline.limits import excess_unpacked, unpacked_limit

_MAGIC = b"\x1f\x8b"


def is_gzip(path: Path) -> bool:
    """Return whether the file begins like a gzip stream, whatever its name.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(2) == _MAGIC


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, decompressed if it is a gzip stream. Bytes that are not UTF-8 become surrogates.

    Raises:
        FormatError: If the gzip stream is damaged or too large.
        OSError: If the file cannot be read.
    """
    with gzip_errors(path), open(path, "rb") as file:
        # BufferedReader adds the readline and buffering that RawIOBase lacks.
        stream = io.BufferedReader(Unpacked(file, path)) if is_gzip(path) else file
        yield io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")


@contextmanager
def gzip_errors(path: Path) -> Iterator[None]:
    """Turn the errors of damaged gzip streams into FormatError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"the gzip stream is damaged ({error})", file=path) from error


class Unpacked(io.RawIOBase):
    """The decompressed bytes of a gzip file, up to the limit on packed files.

    The limit is that of the compressed bytes read so far, so that a decompression bomb is refused where it
    begins.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__()
        self._file, self._path, self._unpacked_bytes = file, path, 0
        self._stream = gzip.GzipFile(fileobj=file)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; return the number of bytes, 0 at the end.

        Raises:
            FormatError: If the stream unpacks to too many bytes.
        """
        count = self._stream.readinto(buffer)
        self._unpacked_bytes += count
        # GzipFile reads ahead by one buffer, so `packed` may exceed what was decompressed by that much.
        packed = self._file.tell()
        if self._unpacked_bytes > unpacked_limit(packed):
            raise FormatError(file=self._path, **excess_unpacked(packed, self._unpacked_bytes))
        return count
