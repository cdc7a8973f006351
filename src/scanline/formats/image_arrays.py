"""Pictures stored as .npy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError
from scanline.formats.npy import MAGIC, Header, read_header, read_values
from scanline.formats.pixels import Floats, Layers, in_bands, on_background, to_grey
from scanline.limits import limit_of


def read_array_picture(path: Path, colour: bool, white: int = 0) -> NDArray[np.uint8]:
    """Return the picture in a .npy file as bytes (H, W, 1) or (H, W, 3).

    The array is (H, W) or (H, W, 3 or 4): whole numbers 0..255, floats 0..1, or booleans. A `white` other
    than 0 is the value of white in whole numbers of more than 8 bits.

    Raises:
        FormatError: If the array has another shape, type or range, or is damaged or too large.
        OSError: If the file cannot be read.
    """
    array, limit = _read(path, white)

    def values(top: int, bottom: int) -> Floats:
        return array[top:bottom].astype(np.float32) / np.float32(limit)

    def layers(top: int, bottom: int) -> Layers:
        rows = values(top, bottom)
        # on_background expects premultiplied colours; the file has straight alpha.
        colours = rows[..., :3] * rows[..., 3:]
        return colours, to_grey(colours), rows[..., 3]

    def grey(top: int, bottom: int) -> Floats:
        return to_grey(values(top, bottom))

    size = array.shape[1], array.shape[0]
    if array.ndim == 3 and array.shape[2] == 4:
        return on_background(size, layers, colour)
    return in_bands(size, values if colour or array.ndim == 2 else grey, colour)


def _read(path: Path, white: int) -> tuple[NDArray[Any], int]:
    """Return the array, and the value of white in it."""
    name = str(path)
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(
                file=name, expected="a .npy array", found="something else", remedy="use numpy.save"
            )
        file.seek(0)
        header = read_header(file, name)
        # Shape and size are checked on the header, before read_values allocates memory.
        _check_header(path, name, header)
        file.seek(header.start)
        array = read_values(file, header, name)
    kind, limit = {"b": ("booleans", 1), "f": ("floats", 1)}.get(array.dtype.kind, ("whole numbers", 255))
    if white and array.dtype.kind in "ui" and array.dtype.itemsize > 1:
        limit = white
    rule = f"{kind} 0..{limit}"
    if not np.isfinite(array).all():
        raise FormatError(file=name, expected=rule, found="NaN or infinity", remedy="replace them")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > limit:
        remedy = "name the value of white with --white" if low >= 0 and limit > 1 else "scale them first"
        raise FormatError(file=name, expected=rule, found=f"{low:g}..{high:g}", remedy=remedy)
    return array, limit


def _check_header(path: Path, name: str, header: Header) -> None:
    shape = header.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
        raise FormatError(
            file=name,
            expected="shape (height, width) or (height, width, 3 or 4)",
            found=shape,
            remedy="save one picture a file",
        )
    if header.dtype.kind not in "buif":
        raise FormatError(
            file=name,
            expected="whole numbers 0..255, floats 0..1 or booleans",
            found=f"type {header.dtype}",
            remedy="convert it with astype",
        )
    check_pixels(name, shape[0], shape[1])
    size = path.stat().st_size
    if header.size > size:
        raise FormatError(
            file=name,
            expected=f"{header.size:,} bytes of values",
            found=f"{size:,}",
            remedy="save it again",
        )


def check_pixels(name: str, height: int, width: int, limit: int | None = None) -> None:
    """Check the size of a picture before memory is taken for it.

    Args:
        name: Name of the picture for messages.
        height: Height in pixels.
        width: Width in pixels.
        limit: The largest number of pixels, or None for `scanline.limits`.

    Raises:
        FormatError: If the picture is larger.
    """
    if height * width > (limit or limit_of("PIXELS")):
        raise too_large(name, f"{height} x {width}", limit)


def too_large(name: str, found: str, limit: int | None) -> FormatError:
    """Return the error about a picture of too many pixels; arguments as for `check_pixels`."""
    remedy = "make it smaller" + ("" if limit else ", or, if you trust it, raise SCANLINE_LIMIT_PIXELS")
    return FormatError(
        file=name, expected=f"at most {limit or limit_of('PIXELS')} pixels", found=found, remedy=remedy
    )
