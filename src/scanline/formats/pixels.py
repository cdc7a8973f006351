"""Decoded pictures of any mode as bytes, grey or in colour, on a plain background.

Conversions run over bands of rows: the floats of a whole picture of 60 megapixels would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_BAND_PIXELS = 2**20
_SAMPLED_PIXELS = 2**22  # a sample of this size decides which background a transparent picture gets
_REC601 = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as Pillow converts RGB to grey

Floats = NDArray[np.float32]
Rows = Callable[[int, int], Floats]  # (top, bottom) -> rows of grey (h, W) or colours (h, W, 3), 0..1
# Colours (h, W, 3) and grey (h, W), 0..1 and multiplied by the opacity, and the opacity (h, W).
Layers = tuple[Floats, Floats, Floats]


def picture_pixels(picture: Image.Image, colour: bool) -> NDArray[np.uint8]:
    """Return a Pillow image as bytes: grey (H, W, 1), or red, green and blue (H, W, 3)."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture)
        full = _white(values)

        def grey(top: int, bottom: int) -> Floats:
            return (values[top:bottom] / np.float32(full)).astype(np.float32)

        return in_bands(picture.size, grey, colour)
    if picture.has_transparency_data:

        def layers(top: int, bottom: int) -> Layers:
            # RGBa is RGBA with premultiplied alpha.
            rows = picture.crop((0, top, picture.width, bottom)).convert("RGBA").convert("RGBa")
            values: Floats = np.asarray(rows, np.float32) / np.float32(255)
            return values[..., :3], to_grey(values[..., :3]), values[..., 3]

        return on_background(picture.size, layers, colour)
    plain = np.asarray(picture.convert("RGB" if colour else "L"))
    return plain.reshape(*plain.shape[:2], -1)


def _white(values: NDArray[Any]) -> float:
    """Return the value of white in a picture of more than 8 bits.

    Pillow holds 16 bits a pixel in 16 or 32 bits; the floats of a TIFF are 0..1 or 0..255.

    Raises:
        ValueError: If floats are out of both ranges, or NaN.
    """
    if values.dtype.kind != "f":
        return 65535 if values.max() <= 65535 else 2**31 - 1
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # false for NaN, too
        raise ValueError("float pixels outside 0..1 and 0..255")
    return 255 if high > 1 else 1


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield (top, bottom) of each band."""
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def in_bands(size: tuple[int, int], values: Rows, colour: bool) -> NDArray[np.uint8]:
    """Return the bytes, (H, W, 1) or (H, W, 3), of a picture given by rows of floats 0..1.

    Args:
        size: Width and height.
        values: Function that returns the rows from `top` to `bottom`.
        colour: Whether the result is in colour; grey rows are then repeated.
    """
    width, height = size
    pixels = np.empty((height, width, 3 if colour else 1), np.uint8)
    for top, bottom in _bands(height, width):
        band = np.rint(np.clip(values(top, bottom), 0, 1) * np.float32(255)).astype(np.uint8)
        pixels[top:bottom] = band if band.ndim == 3 else band[:, :, None]
    return pixels


def to_grey(colours: Floats) -> Floats:
    """Return the luma (h, W) of colours (h, W, 3)."""
    return np.asarray(colours @ _REC601)


def on_background(
    size: tuple[int, int], layers: Callable[[int, int], Layers], colour: bool
) -> NDArray[np.uint8]:
    """Return a picture with transparent parts as bytes on a plain background.

    The background is white, unless the opaque part is all of one light grey, which white would hide: then
    it is black.

    Args:
        size: Width and height.
        layers: Function that returns the layers of the rows from `top` to `bottom`.
        colour: Whether the result is in colour.
    """
    width, height = size
    every = -(-height * width // _SAMPLED_PIXELS)
    greys, lowest_opacity = [], 1.0
    for top, bottom in _bands(height, width):
        _, light, alpha = layers(top, bottom)
        visible = alpha > 0.5
        # Undo the premultiplication; alpha > 0.5 here, so the division is safe.
        greys.append((light[visible] / alpha[visible])[::every])
        lowest_opacity = min(lowest_opacity, float(alpha.min()))
    background, opaque = 1.0, np.concatenate(greys)
    if opaque.size and lowest_opacity < 0.5:
        low, high = np.percentile(opaque, [5, 95])
        background = 0.0 if low > 0.5 and high - low < 0.3 else 1.0

    def blended(top: int, bottom: int) -> Floats:
        colours, light, alpha = layers(top, bottom)
        # The "over" operator for premultiplied colours: no multiplication of the foreground.
        through = background * (1 - alpha)
        return colours + through[:, :, None] if colour else light + through

    return in_bands(size, blended, colour)
