"""Text files that may be compressed with gzip, in any encoding, as UTF-8.

They are decompressed no further than the limits allow.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from scanline.errors import FormatError
from scanline.limits import excess_unpacked, unpacked_limit

_MAGIC = b"\x1f\x8b"
ENCODING_REMEDY = "name the encoding with --encoding, such as --encoding cp1252"


def is_gzip(path: Path) -> bool:
    """Return whether the file begins like a gzip stream, whatever its name.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(2) == _MAGIC


@contextmanager
def open_text(path: Path, encoding: str = "", blanks: bool = False) -> Iterator[TextIO]:
    """Open a text file, decompressed if it is a gzip stream.

    Args:
        path: The file.
        encoding: As for `open_bytes`. Bytes that are not UTF-8 become surrogates if it is empty.
        blanks: As for `open_bytes`.

    Raises:
        FormatError: As `open_bytes`.
        OSError: If the file cannot be read.
    """
    with open_bytes(path, encoding, blanks) as stream:
        # BufferedReader adds the readline and buffering that RawIOBase lacks.
        buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
        yield io.TextIOWrapper(buffered, "utf-8-sig", "surrogateescape", newline="")


@contextmanager
def open_bytes(path: Path, encoding: str = "", blanks: bool = False) -> Iterator[Any]:
    """Open the bytes of a text file as UTF-8, decompressed if it is a gzip stream.

    Args:
        path: The file.
        encoding: Encoding of the text; empty: UTF-8, or UTF-16 if the text begins with its byte-order mark.
            UTF-8 is passed on as it is, whatever the bytes are.
        blanks: Whether runs of blanks become a tab each, and those around a line are removed.

    Raises:
        FormatError: If the gzip stream is damaged or too large, or bytes cannot be decoded; names the line.
        OSError: If the file cannot be read.
    """
    with gzip_errors(path), open(path, "rb") as file:
        packed = is_gzip(path)
        mark = _first_bytes(path, file, packed)
        # A byte-order mark says what the text is, whatever the user expects.
        if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        elif mark == codecs.BOM_UTF8:
            encoding = ""
        stream: Any = Unpacked(file, path) if packed else file
        if encoding and codecs.lookup(encoding).name != "utf-8":
            stream = Decoded(stream, path, encoding)
        yield SingleTabs(stream) if blanks else stream


def _first_bytes(path: Path, file: IO[bytes], packed: bool) -> bytes:
    first = bytearray(3)
    count = Unpacked(file, path).readinto(first) if packed else file.readinto(first)  # type: ignore[attr-defined]
    file.seek(0)
    return bytes(first[:count])


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


class _Converted(io.RawIOBase):
    """A stream whose bytes are converted chunk by chunk."""

    _CHUNK_BYTES = 2**18

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream, self._waiting, self._ended = stream, memoryview(b""), False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; return the number of bytes, 0 at the end."""
        while not self._waiting and not self._ended:
            chunk = bytearray(self._CHUNK_BYTES)
            count = self._stream.readinto(chunk)
            self._ended = not count
            self._waiting = memoryview(self._convert(bytes(chunk[:count]), self._ended))
        count = min(len(buffer), len(self._waiting))
        memoryview(buffer)[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def _convert(self, chunk: bytes, final: bool) -> bytes:
        raise NotImplementedError


class Decoded(_Converted):
    """The bytes of a stream of text in any encoding, as UTF-8 with line ends of one LF."""

    def __init__(self, stream: Any, path: Path, encoding: str) -> None:
        super().__init__(stream)
        self._path, self._encoding, self._line = path, encoding, 1
        self._decoder = codecs.getincrementaldecoder(encoding)()
        # Translates CR LF and CR into LF, also where a chunk ends between them, so that lines can be counted.
        self._lines = io.IncrementalNewlineDecoder(None, translate=True)

    def _convert(self, chunk: bytes, final: bool) -> bytes:
        try:
            text = self._lines.decode(self._decoder.decode(chunk, final), final)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(self._encoding, "replace")
            line = self._line + self._lines.decode(before, True).count("\n")
            raise FormatError(
                file=self._path,
                place=f"line {line}",
                expected=f"text in {self._encoding}",
                found=f"the byte 0x{error.object[error.start]:02x} ({error.reason})",
                remedy=ENCODING_REMEDY,
            ) from error
        self._line += text.count("\n")
        return text.encode("utf-8", "surrogatepass")


class SingleTabs(_Converted):
    """The bytes of a stream in which cells are separated by runs of blanks, with tabs instead."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._rest, self._begun = b"", False

    def _convert(self, chunk: bytes, final: bool) -> bytes:
        # Blanks and line ends at the end of a chunk may go on in the next one.
        text = self._rest + chunk
        if not self._begun:
            text = text.lstrip(b" \t")
            self._begun = bool(text)
        end = len(text) if final else len(text.rstrip(b" \t\r\n"))
        self._rest = text[end:]
        return re.sub(rb"[ \t]+", b"\t", re.sub(rb"[ \t]*([\r\n]+)[ \t]*", rb"\1", text[:end]))
