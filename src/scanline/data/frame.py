"""Pictures of any size fitted into the field that the network reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.prepare import PictureFormat, prepare_picture


def fit_picture(pixels: NDArray[np.uint8], form: PictureFormat, source: str) -> NDArray[np.uint8]:
    """The picture as the network wants it, (form.height, form.width x form.channels), 0..form.levels.

    pixels: (H, W, form.channels), 0 black to 255 full. source: what messages call it.
    A picture of the field's size keeps its pixels, bit for bit, unless form.fit is "ink".
    Raises DataError as `prepare_picture` does, for "ink".
    """
    height, width, channels = form.height, form.width, form.channels
    if form.fit == "ink":
        grey = pixels[..., 0].astype(np.float32) / np.float32(255)
        return prepare_picture(grey, form, source)
    if pixels.shape[:2] != (height, width):
        pixels = _resize(pixels, form)
    if form.levels != 255:
        pixels = np.rint(pixels * (form.levels / 255)).astype(np.uint8)
    return pixels.reshape(height, width * channels)


def _resize(pixels: NDArray[np.uint8], form: PictureFormat) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    size = form.width, form.height
    picture = Image.fromarray(pixels[..., 0] if form.channels == 1 else pixels)
    way = Image.Resampling.BICUBIC
    if form.fit == "stretch":
        picture = picture.resize(size, way)
    elif form.fit == "cover":
        picture = ImageOps.fit(picture, size, way)
    else:
        # The margin takes the colour of the picture's own border: on white paper it stays white.
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        margin = tuple(int(value) for value in np.median(edge, 0))
        picture = ImageOps.pad(picture, size, way, margin[0] if form.channels == 1 else margin)
    return np.asarray(picture, np.uint8).reshape(form.height, form.width, form.channels)
