"""Decoded pictures of any mode as bytes, grey or in colour, on a plain background.

Conversions run over bands of rows: the floats of a whole picture of 60 megapixels would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scanline.formats.bit_depth import BitDepth, is_transparent, white_of

if TYPE_CHECKING:
    from PIL import Image

_BAND_PIXELS = 2**20
_SAMPLED_PIXELS = 2**22  # a sample of this size decides which background a transparent picture gets
_REC601 = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as Pillow converts RGB to grey

Floats = NDArray[np.float32]
Rows = Callable[[int, int], Floats]  # (top, bottom) -> rows of grey (h, W) or colours (h, W, 3), 0..1
# Colours (h, W, 3) and grey (h, W), 0..1 and multiplied by the opacity, and the opacity (h, W).
Layers = tuple[Floats, Floats, Floats]


def picture_pixels(
    picture: Image.Image, colour: bool, depth: BitDepth, name: str, white: int = 0
) -> NDArray[np.uint8]:
    """Return a Pillow image as bytes.

    Args:
        picture: The image.
        colour: Whether to return colours instead of grey.
        depth: What the header says about samples of more than 8 bits.
        name: Name of the picture for messages.
        white: As `given` in `white_of`.

    Returns:
        Grey (H, W, 1), or red, green and blue (H, W, 3).

    Raises:
        FormatError: If it is doubtful which value is white.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _wide_pixels(picture, colour, depth, name, white)
    if picture.has_transparency_data:

        def layers(top: int, bottom: int) -> Layers:
            # RGBa is RGBA with premultiplied alpha.
            rows = picture.crop((0, top, picture.width, bottom)).convert("RGBA").convert("RGBa")
            values: Floats = np.asarray(rows, np.float32) / np.float32(255)
            return values[..., :3], to_grey(values[..., :3]), values[..., 3]

        return on_background(picture.size, layers, colour)
    plain = np.asarray(picture.convert("RGB" if colour else "L"))
    return plain.reshape(*plain.shape[:2], -1)


def _wide_pixels(
    picture: Image.Image, colour: bool, depth: BitDepth, name: str, white: int
) -> NDArray[np.uint8]:
    """Return a grey picture of more than 8 bits as bytes."""
    values, clear = np.asarray(picture), is_transparent(picture)
    full = np.float32(white_of(values, depth, name, white))

    def grey(top: int, bottom: int) -> Floats:
        light = (values[top:bottom] / full).astype(np.float32)
        return 1 - light if depth.inverted else light

    def layers(top: int, bottom: int) -> Layers:
        assert clear is not None
        alpha = np.where(clear[top:bottom], np.float32(0), np.float32(1))
        light = grey(top, bottom) * alpha
        return np.repeat(light[:, :, None], 3, axis=2), light, alpha

    return (
        in_bands(picture.size, grey, colour) if clear is None else on_background(picture.size, layers, colour)
    )


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
