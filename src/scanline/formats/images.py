"""Picture files as bytes: any still image, checked before it is decoded."""

from __future__ import annotations

import contextlib
import io
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError
from scanline.formats.bit_depth import bit_depth, widen_transparency
from scanline.formats.image_arrays import check_pixels, read_array_picture, too_large
from scanline.formats.pixels import picture_pixels
from scanline.limits import excess, limit_of

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")  # Pillow's names; PPM reads PGM and PBM, too
_EXPECTED = "a PNG, JPEG, PGM, PPM, BMP, TIFF or WebP picture, or a .npy array"
_DEFLATE_RATIO = 1032  # the tightest that deflate compresses (https://zlib.net/zlib_tech.html)
# Pixels a byte of a JPEG can stand for: four times one bit for each block of 8 x 8.
_JPEG_PIXELS_PER_BYTE = 2048
_TIFF_ROWS = 257  # tag
_JPEG_SCAN = b"\xff\xda"  # marker; within coded data a zero byte follows each ff
# Formats that are recognised, to name them, but not read: (offset, bytes, name).
_OTHER_KINDS = (
    (0, b"GIF8", "a GIF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIF picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (128, b"DICM", "a DICOM picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x93NUMPY", "an array without the suffix .npy"),
)
# Bits of a pixel in a PNG, at least, by Pillow's mode.
_PNG_BITS = {"1": 1, "P": 1, "L": 2, "LA": 16, "I;16": 16, "RGB": 24, "RGBA": 32}


def read_pixels(path: Path, colour: bool = False, white: int = 0) -> NDArray[np.uint8]:
    """Read a picture file as bytes.

    A name ending in .npy is read as an array, see `read_array_picture`. Any other file is decoded by its
    content, whatever its name; EXIF orientation is applied; of several frames or pages the first is read.
    Transparent parts become white, or black if the opaque part is all of one light colour.

    Args:
        path: The file.
        colour: Whether to return colours instead of grey.
        white: Value of white in samples of more than 8 bits if the file does not define it; 0: inferred.

    Returns:
        (H, W, 1) grey, or (H, W, 3) red, green and blue; 0 is black.

    Raises:
        FormatError: If the file is missing, empty, damaged, not a picture, or larger than the limit PIXELS,
            which is checked before decoding.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _cannot_open(path, error) from error
    name = str(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise FormatError(file=name, expected=_EXPECTED, found=kind, remedy="name one file")
    if status.st_size == 0:
        raise FormatError(
            file=name, expected=_EXPECTED, found="an empty file (0 bytes)", remedy="write it again"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of oddities that users cannot act on
            if path.suffix.lower() == ".npy":
                return read_array_picture(path, colour, white)
            return _read_still(path, name, colour, None, white)
    except FormatError:
        raise
    except OSError as error:  # errors of the system have a number, those of decoders have none
        raise _cannot_open(path, error) if error.errno else _damaged(name, str(error)) from error
    except Exception as error:  # decoders raise many kinds of exceptions for damaged bytes
        raise _damaged(name, str(error) or type(error).__name__) from error


def decode_pixels(
    content: bytes, name: str, colour: bool, limit: int | None = None, white: int = 0
) -> NDArray[np.uint8]:
    """Decode a picture in memory; as `read_pixels`, without .npy arrays.

    Args:
        content: The bytes of the file.
        name: Name of the picture for messages.
        colour: Whether to return colours instead of grey.
        limit: The largest number of pixels, or None for the limit PIXELS.
        white: As for `read_pixels`.

    Raises:
        FormatError: If it is empty, damaged, not a picture, or too large.
    """
    if not content:
        raise FormatError(file=name, expected=_EXPECTED, found="nothing (0 bytes)", remedy="send it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read_still(io.BytesIO(content), name, colour, limit, white)
    except FormatError:
        raise
    except Exception as error:  # decoders raise many kinds of exceptions for damaged bytes
        raise _damaged(name, str(error) or type(error).__name__) from error


def _cannot_open(path: Path, error: Exception) -> FormatError:
    reason = getattr(error, "strerror", None) or error
    return FormatError(f"cannot be read ({reason})", file=path, expected=_EXPECTED, remedy="check the path")


def _damaged(name: str, reason: str) -> FormatError:
    reason = " ".join(reason.split())[:200]
    found = f"a damaged one ({reason})"
    return FormatError(file=name, expected=_EXPECTED, found=found, remedy="save it again")


def _read_still(
    file: Path | io.BytesIO, name: str, colour: bool, limit: int | None = None, white: int = 0
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    # An open file, not a path: Pillow maps uncompressed files into memory by their path, and a TIFF that is
    # to be turned is then read with height and width swapped.
    with file.open("rb") if isinstance(file, Path) else contextlib.nullcontext(file) as opened:
        try:
            picture = Image.open(opened, formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise FormatError(
                file=name, expected=_EXPECTED, found=_other_kind(file), remedy="convert it"
            ) from error
        except Image.DecompressionBombError as error:
            raise too_large(name, "more", limit) from error
        with picture:
            # Image.open reads only the header; pixels are decoded below, by exif_transpose or convert.
            check_pixels(name, picture.height, picture.width, limit)
            _check_content(picture, file, name)
            # Both need the raw mode, which decoding drops.
            depth = bit_depth(picture)
            widen_transparency(picture)
            return picture_pixels(ImageOps.exif_transpose(picture), colour, depth, name, white)


def _other_kind(file: Path | io.BytesIO) -> str:
    """Return what a file is that is not a picture of a format that is read."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            head = opened.read(256)
    else:
        head = file.getvalue()[:256]
    return next(
        (name for offset, mark, name in _OTHER_KINDS if head[offset:].startswith(mark)), "something else"
    )


def _check_content(picture: Image.Image, file: Path | io.BytesIO, name: str) -> None:
    """Check before decoding that the file can hold the picture that its header declares.

    Pillow fills missing rows with 0. Every scan of a JPEG takes as long as a whole picture, and encoders make
    only a few.
    """
    height, width = picture.height, picture.width
    size = len(file.getbuffer()) if isinstance(file, io.BytesIO) else file.stat().st_size
    too_few = _damaged(name, f"{size:,} bytes for {height} x {width} pixels")
    if picture.format == "TIFF":
        rows = max((tile[1][3] for tile in getattr(picture, "tile", ())), default=0)
        # `height` is that of the upright picture; the tag has the rows as they are stored.
        stored = getattr(picture, "tag_v2", {}).get(_TIFF_ROWS, height)
        if rows < stored:
            raise _damaged(name, f"{rows} of {stored} rows")
    if picture.format == "PNG":
        bits = _PNG_BITS.get(picture.mode, 1)
        # A lower bound of the raw size against an upper bound of what deflate can expand to.
        if height * width * bits // 8 > size * _DEFLATE_RATIO:
            raise too_few
    if picture.format in ("JPEG", "MPO"):
        if height * width > size * _JPEG_PIXELS_PER_BYTE:
            raise too_few
        # Counting markers in the bytes finds every scan without decoding any.
        content = file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()
        scans = content.count(_JPEG_SCAN)
        if scans > limit_of("SCANS"):
            raise FormatError(file=name, **excess("SCANS", scans))
