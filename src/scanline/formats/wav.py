"""WAV files (RIFF/WAVE) as samples from -1 to 1, checked before memory is taken.

Only uncompressed samples are read: PCM of 8, 16, 24 and 32 bits and floating-point numbers of 32 and 64 bits,
with one channel or two. Chunks other than "fmt " and "data" are skipped.

Source: Microsoft, "Multiple Channel Audio Data and WAVE Files"; IBM and Microsoft, "Multimedia Programming
Interface and Data Specifications 1.0", 1991.
"""

from __future__ import annotations

import io
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError
from scanline.limits import excess, limit_of

LOWEST_RATE, HIGHEST_RATE = 100, 768_000  # samples a second
_EXPECTED = "a WAV file"
_CHUNKS = 10_000  # a file of empty chunks would take long to walk through
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# What follows the format's number in the identifier of an extensible format.
_GUID_END = bytes.fromhex("000000001000800000aa00389b71")
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3"}
_READ = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}
_MAGIC = (
    (b"RF64", "an RF64 file, of more than 4 GiB"),
    (b"RIFX", "a RIFX file, of big-endian numbers"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"FORM", "an AIFF file"),
)


@dataclass(frozen=True, eq=False)
class Recording:
    """The samples of a WAV file.

    Attributes:
        samples: (S,) float32, at least one; full scale is -1 to 1. Two channels are mixed to their mean.
        rate: Samples a second.
        channels: Channels in the file, 1 or 2.
    """

    samples: NDArray[np.float32]
    rate: int
    channels: int


@dataclass(frozen=True)
class _Form:
    """The chunk "fmt ": numbers of the codec, of channels, of samples a second, and of bits a sample."""

    codec: int
    channels: int
    rate: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_wav(path: Path) -> Recording:
    """Read a WAV file.

    Args:
        path: The file.

    Raises:
        FormatError: If the file is missing, is no WAV file, is cut off, has no samples, has more than the
            limit STEPS, or is compressed; names the file.
    """
    name = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise FormatError(file=name, expected=_EXPECTED, found=kind, remedy="name one file")
        with path.open("rb") as file:
            return _read(file, status.st_size, name)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        if isinstance(error, FormatError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise FormatError(
            f"cannot be read ({reason})", file=name, expected=_EXPECTED, remedy="check the path"
        ) from error


def decode_wav(content: bytes, name: str) -> Recording:
    """Decode a WAV file in memory; as `read_wav`.

    Args:
        content: The bytes of the file.
        name: Name of the recording for messages.
    """
    return _read(io.BytesIO(content), len(content), name)


def _read(file: BinaryIO, size: int, name: str) -> Recording:
    if size == 0:
        raise FormatError(file=name, expected=_EXPECTED, found="an empty file (0 bytes)")
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        found = next((what for mark, what in _MAGIC if head.startswith(mark)), "something else")
        raise FormatError(file=name, expected=_EXPECTED, found=found, remedy="convert it to WAV")
    form: _Form | None = None
    place = 12
    for _ in range(_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            what = "samples (the chunk data)" if form else "a format (the chunk fmt)"
            raise FormatError(file=name, expected=what, found="the end of the file", remedy="save it again")
        kind, length = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        place += 8
        if kind == b"data":
            if form is None:
                raise FormatError(file=name, expected="a format (the chunk fmt) before the samples")
            return _samples(file, form, length, size - place, name)
        if kind == b"fmt ":
            form = _format(file.read(min(length, 40)), name)
        # Chunks begin at even places.
        place += length + length % 2
        file.seek(place)
    raise FormatError(file=name, expected=f"samples within {_CHUNKS:,} chunks", found="none")


def _format(chunk: bytes, name: str) -> _Form:
    """Return what the chunk "fmt " says. Raises FormatError if samples of this form are not read."""
    if len(chunk) < 16:
        raise FormatError(file=name, expected="a format of at least 16 bytes", found=f"{len(chunk)} bytes")
    codec, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if codec == _EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != _GUID_END:
            raise FormatError(file=name, expected=_supported(), found="an unknown extensible format")
        codec = struct.unpack("<H", chunk[24:26])[0]
    if (codec, bits) not in _READ:
        known = {_PCM: f"PCM of {bits} bits", _FLOAT: f"floating-point numbers of {bits} bits"}
        found = known.get(codec) or _CODECS.get(codec, f"the codec {codec}")
        raise FormatError(file=name, expected=_supported(), found=found, remedy="convert it to 16-bit PCM")
    if channels not in (1, 2):
        raise FormatError(
            file=name, expected="one channel or two", found=channels, remedy="mix it down to one channel"
        )
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        expected = f"{LOWEST_RATE:,} to {HIGHEST_RATE:,} samples a second"
        raise FormatError(file=name, expected=expected, found=f"{rate:,}")
    return _Form(codec, channels, rate, bits)


def _supported() -> str:
    return "PCM of 8, 16, 24 or 32 bits, or floating-point numbers"


def _samples(file: BinaryIO, form: _Form, length: int, available: int, name: str) -> Recording:
    """Read `length` bytes of samples, of which the file has `available`."""
    if length > available:
        raise FormatError(
            file=name,
            expected=f"{length:,} bytes of samples, as its header says",
            found=f"{available:,}, a truncated file",
            remedy="copy or record it again",
        )
    count = length // form.frame_bytes
    if count == 0:
        raise FormatError(file=name, expected="at least one sample", found="none")
    if length % form.frame_bytes:
        raise FormatError(
            file=name,
            expected=f"whole samples of {form.frame_bytes} bytes",
            found=f"{length:,} bytes",
            remedy="save it again",
        )
    if count > limit_of("STEPS"):
        raise FormatError(file=name, **excess("STEPS", count))
    content = file.read(length)
    if len(content) < length:
        raise FormatError(
            file=name, expected=f"{length:,} bytes of samples", found=f"{len(content):,}, a truncated file"
        )
    samples = _decode(content, form).reshape(count, form.channels)
    if form.codec == _FLOAT and not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples).all(1))[0])
        raise FormatError(
            file=name, expected="finite samples", found=f"{samples[first].min()} at sample {first:,}"
        )
    mixed = samples[:, 0] if form.channels == 1 else (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return Recording(np.ascontiguousarray(mixed), form.rate, form.channels)


def _decode(content: bytes, form: _Form) -> NDArray[np.float32]:
    """Return samples as float32, full scale -1 to 1."""
    if form.codec == _FLOAT:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is refused
            return np.frombuffer(content, f"<f{form.bits // 8}").astype(np.float32)
    if form.bits == 8:  # without sign, 128 is silence
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if form.bits == 24:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        # The three bytes become the upper ones of 32 bits, so that the sign is in its place.
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        integers = wide.reshape(-1).view("<i4")
    else:
        integers = np.frombuffer(content, f"<i{form.bits // 8}")
    full = 2.0 ** (15 if form.bits == 16 else 31)
    # Through float64 for 32 bits: rounded once.
    return (integers.astype(np.float64) / full).astype(np.float32)
