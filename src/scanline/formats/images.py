"""Pictures as files: read any still as bytes, write a prepared one."""

from __future__ import annotations

import base64
import io
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError
from scanline.formats.npy import read_header, read_values
from scanline.limits import PREFIX, exceeded, limit_of
from scanline.storage.atomic import write_atomic

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")  # Pillow's names; PPM reads PGM and PBM too
_EXPECTED = "expected a PNG, JPEG, PGM, PPM, BMP, TIFF or WebP picture, or a .npy array"
_MOST_DEFLATED = 1032  # bytes that a byte of DEFLATE stands for at most; https://zlib.net/zlib_tech.html
_MOST_JPEG_PIXELS = 2048  # that a byte stands for: four times what a bit for each block of 8 x 8 comes to
_BAND_PIXELS = 2**20
_SAMPLED_PIXELS = 2**22  # that decide which background a transparent picture was drawn for
# Of rows of a picture: colours (h, W, 3) and grey (h, W), 0..1, both times their opacity, and that (h, W).
Layers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
_REC601 = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as Pillow turns RGB to grey


def read_pixels(path: Path, colour: bool = False) -> NDArray[np.uint8]:
    """The picture in the file `path` as bytes (H, W, 1), grey, or (H, W, 3), red, green and blue; 0 is black.

    A name ending in .npy is read as an array (H, W), (H, W, 3) or (H, W, 4): whole numbers 0..255,
    floats 0..1, or booleans. Anything else is opened as PNG, JPEG, PGM, PPM, BMP, TIFF or WebP, whatever
    its name says, turned as its EXIF data say; of several frames or pages the first is read. What is
    transparent shows white, or black where the opaque part is all of one light colour.
    Raises DataError naming `path` if it is missing, empty, damaged, not a picture, or larger than
    64 megapixels, which is checked before anything is decoded.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise _out_of_reach(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise DataError(f"cannot read {path}: {_EXPECTED}, found {kind}; name one file")
    if found.st_size == 0:
        raise DataError(f"cannot read {path}: {_EXPECTED}, found an empty file (0 bytes); write it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities inside the file, of no use to its reader
            is_array = path.suffix.lower() == ".npy"
            return _read_array(path, colour) if is_array else _read_still(path, str(path), colour)
    except DataError:
        raise
    except OSError as error:  # the system's have a number, the decoders' have none
        raise _out_of_reach(path, error) if error.errno else _damaged(path, str(error)) from error
    except Exception as error:  # on damaged bytes decoders raise nearly every kind there is
        raise _damaged(path, str(error) or type(error).__name__) from error


def decode_pixels(content: bytes, name: str, colour: bool, limit: int | None = None) -> NDArray[np.uint8]:
    """As `read_pixels`, for a picture that is in memory. name: what messages call it; limit: of its pixels.

    Raises DataError if it is empty, damaged, not a picture, or larger, before anything is decoded.
    """
    if not content:
        raise DataError(f"cannot read {name}: {_EXPECTED}, found nothing (0 bytes); send it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read_still(io.BytesIO(content), name, colour, limit)
    except DataError:
        raise
    except Exception as error:  # on damaged bytes decoders raise nearly every kind there is
        raise _damaged(name, str(error) or type(error).__name__) from error


def _out_of_reach(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"cannot read {path}: {reason}; {_EXPECTED}; check the path")


def _damaged(path: Path | str, reason: str) -> DataError:
    reason = " ".join(reason.split())[:200]
    return DataError(f"cannot read {path}: {_EXPECTED}, found a damaged one ({reason}); save it again")


def _check_pixels(path: Path | str, height: int, width: int, limit: int | None = None) -> None:
    if height * width > (limit or limit_of("PIXELS")):
        raise _too_large(path, f"{height} x {width}", limit)


def _too_large(path: Path | str, found: str, limit: int | None) -> DataError:
    remedy = "" if limit else f", or raise {PREFIX}PIXELS where you trust it"
    return DataError(
        f"cannot read {path}: expected at most {limit or limit_of('PIXELS')} pixels, found {found}; "
        f"make it smaller first{remedy}"
    )


def _read_still(
    file: Path | io.BytesIO, name: str, colour: bool, limit: int | None = None
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        picture = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read {name}: {_EXPECTED}, found something else; convert it") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more", limit) from error
    with picture:
        _check_pixels(name, picture.height, picture.width, limit)
        _check_content(picture, file, name)
        return _pixels(ImageOps.exif_transpose(picture), colour)


def _check_content(picture: Image.Image, file: Path | io.BytesIO, name: str) -> None:
    """Raises DataError, before anything is decoded, if a file holds less than the picture it promises, which
    Pillow fills up with 0, or a JPEG more scans than encoders make: each takes as long as a whole picture."""
    height, width = picture.height, picture.width
    size = len(file.getbuffer()) if isinstance(file, io.BytesIO) else file.stat().st_size
    if picture.format == "TIFF":
        rows = max((tile[1][3] for tile in getattr(picture, "tile", ())), default=0)
        if rows < height:
            raise _damaged(name, f"{rows} of {height} rows")
    if picture.format == "PNG":
        bits = {"1": 1, "P": 1, "L": 2, "LA": 16, "I;16": 16, "RGB": 24, "RGBA": 32}  # a pixel has, at least
        if height * width * bits.get(picture.mode, 1) // 8 > size * _MOST_DEFLATED:
            raise _damaged(name, f"{size:,} bytes for {height} x {width} pixels")
    if picture.format in ("JPEG", "MPO"):
        if height * width > size * _MOST_JPEG_PIXELS:
            raise _damaged(name, f"{size:,} bytes for {height} x {width} pixels")
        content = file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()
        scans = content.count(b"\xff\xda")  # their marker; in what is coded a 0 follows each ff
        if scans > limit_of("SCANS"):
            raise DataError(f"cannot read {name}: {exceeded('SCANS', scans)}")


def _pixels(picture: Image.Image, colour: bool) -> NDArray[np.uint8]:
    """A decoded picture of any mode as grey bytes (H, W, 1) or colours (H, W, 3)."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture)
        full = _full(values)

        def grey(top: int, bottom: int) -> NDArray[np.float32]:
            return (values[top:bottom] / np.float32(full)).astype(np.float32)

        return _in_bands(picture.size, grey, colour)
    if picture.has_transparency_data:

        def layers(top: int, bottom: int) -> Layers:
            rows = picture.crop((0, top, picture.width, bottom)).convert("RGBA").convert("RGBa")
            values: NDArray[np.float32] = np.asarray(rows, np.float32) / np.float32(255)
            return values[..., :3], _grey(values[..., :3]), values[..., 3]

        return _on_background(picture.size, layers, colour)
    plain = np.asarray(picture.convert("RGB" if colour else "L"))
    return plain.reshape(*plain.shape[:2], -1)


def _full(values: NDArray[Any]) -> float:
    """What is white in a picture of 16 bits a pixel, which Pillow holds in 16 or in 32, or in the floats of a
    TIFF: 0..1 or 0..255. Raises ValueError if it is none of them."""
    if values.dtype.kind != "f":
        return 65535 if values.max() <= 65535 else 2**31 - 1
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # nor if one is NaN
        raise ValueError("float pixels outside 0..1 and 0..255")
    return 255 if high > 1 else 1


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    """First and last row of what is computed with at a time: floats of a whole picture of 60 megapixels take
    gigabytes."""
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def _in_bands(
    size: tuple[int, int], values: Callable[[int, int], NDArray[np.float32]], colour: bool
) -> NDArray[np.uint8]:
    """size: width and height. values: rows from one to another, grey (h, W) or colours (h, W, 3), 0..1."""
    width, height = size
    whole = np.empty((height, width, 3 if colour else 1), np.uint8)
    for top, bottom in _bands(height, width):
        band = np.rint(np.clip(values(top, bottom), 0, 1) * np.float32(255)).astype(np.uint8)
        whole[top:bottom] = band if band.ndim == 3 else band[:, :, None]
    return whole


def _grey(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(colours @ _REC601)


def _on_background(
    size: tuple[int, int], layers: Callable[[int, int], Layers], colour: bool
) -> NDArray[np.uint8]:
    """A picture with transparent parts on the background that it was drawn for: white, unless what is opaque
    is all of one light grey, which white would hide. size: width and height. layers: of rows."""
    width, height = size
    every = -(-height * width // _SAMPLED_PIXELS)
    greys, faintest = [], 1.0
    for top, bottom in _bands(height, width):
        _, light, alpha = layers(top, bottom)
        seen = alpha > 0.5
        greys.append((light[seen] / alpha[seen])[::every])
        faintest = min(faintest, float(alpha.min()))
    background, opaque = 1.0, np.concatenate(greys)
    if opaque.size and faintest < 0.5:
        low, high = np.percentile(opaque, [5, 95])
        background = 0.0 if low > 0.5 and high - low < 0.3 else 1.0

    def drawn(top: int, bottom: int) -> NDArray[np.float32]:
        colours, light, alpha = layers(top, bottom)
        through = background * (1 - alpha)
        return colours + through[:, :, None] if colour else light + through

    return _in_bands(size, drawn, colour)


def _read_array(path: Path, colour: bool) -> NDArray[np.uint8]:
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise DataError(
                f"cannot read {path}: expected a .npy array, found something else; use numpy.save"
            )
        file.seek(0)
        header = read_header(file, f"cannot read {path}")
    shape = header.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
        raise DataError(
            f"cannot read {path}: expected shape (height, width) or (height, width, 3 or 4), found {shape}; "
            "save one picture a file"
        )
    if header.dtype.kind not in "buif":
        raise DataError(
            f"cannot read {path}: expected whole numbers 0..255, floats 0..1 or booleans, "
            f"found type {header.dtype}; convert it with astype"
        )
    _check_pixels(path, shape[0], shape[1])
    if header.size > path.stat().st_size:
        raise _damaged(path, f"expected {header.size:,} bytes of values, found {path.stat().st_size:,}")

    def fail(what: str) -> NoReturn:
        raise _damaged(path, what)

    with open(path, "rb") as file:
        file.seek(header.start)
        array = read_values(file, header, fail)
    kind, legal = {"b": ("booleans", 1), "f": ("floats", 1)}.get(array.dtype.kind, ("whole numbers", 255))
    if not np.isfinite(array).all():
        raise DataError(
            f"cannot read {path}: expected {kind} 0..{legal}, found NaN or infinity; replace them"
        )
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > legal:
        raise DataError(
            f"cannot read {path}: expected {kind} 0..{legal}, found {low:g}..{high:g}; scale them first"
        )

    def values(top: int, bottom: int) -> NDArray[np.float32]:
        return array[top:bottom].astype(np.float32) / np.float32(legal)

    def layers(top: int, bottom: int) -> Layers:
        found = values(top, bottom)
        colours = found[..., :3] * found[..., 3:]
        return colours, _grey(colours), found[..., 3]

    def grey(top: int, bottom: int) -> NDArray[np.float32]:
        return _grey(values(top, bottom))

    size = shape[1], shape[0]
    if len(shape) == 3 and shape[2] == 4:
        return _on_background(size, layers, colour)
    return _in_bands(size, values if colour or len(shape) == 2 else grey, colour)


def save_picture(values: NDArray[np.uint8], path: Path, levels: int) -> None:
    """Write a prepared picture as a PNG: 0 black, `levels` white.

    values: (H, W) grey or (H, W, 3) coloured, 0..levels. levels: 1..255.
    Raises ValueError if the shape or a value does not fit, ScanlineError if the file cannot be written.
    """
    fits = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if not fits or values.size == 0 or not 1 <= levels <= 255 or int(values.max()) > levels:
        raise ValueError(
            f"expected (height, width) of 0..levels, 1 <= levels <= 255; got shape {values.shape}, "
            f"levels {levels}" + (f", largest value {values.max()}" if values.size else "")
        )
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.rint(values * (255 / levels)).astype(np.uint8)).save(content, "PNG")
    write_atomic(path, content.getvalue())


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture, (H, W) or (H, W, 3), 0 to 255, as the `src` of an <img> that needs no file: a PNG."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
