"""Fits pictures of any size into the field that the network reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scanline.data.picture_format import PictureFormat
from scanline.data.transforms.ink import prepare_picture

if TYPE_CHECKING:
    from PIL import Image


def fit_picture(pixels: NDArray[np.uint8], form: PictureFormat, source: str) -> NDArray[np.uint8]:
    """Return the picture as the network reads it.

    A picture of the field's size keeps its pixels, bit for bit, unless form.fit is "ink".

    Args:
        pixels: (H, W, form.channels), 0 black to 255 full.
        form: The format to fit it to.
        source: Name of the picture for messages.

    Returns:
        (form.height, form.width * form.channels), 0 to form.levels.

    Raises:
        DataError: For "ink", as `prepare_picture`.
    """
    height, width, channels = form.height, form.width, form.channels
    if form.fit == "ink":
        grey = pixels[..., 0].astype(np.float32)
        grey /= np.float32(255)
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
        scale = min(form.width / picture.width, form.height / picture.height)
        # Pillow's own `pad` loses a picture that is much longer than wide: no side may come out as 0.
        inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = _centred(picture.resize(inner, way), size, _margin(pixels))
    return np.asarray(picture, np.uint8).reshape(form.height, form.width, form.channels)


def _margin(pixels: NDArray[np.uint8]) -> tuple[int, ...]:
    """The usual colour of the picture's own border: on white paper the margin stays white."""
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    # The median, not the mean: ink that touches the border hardly changes it.
    return tuple(int(value) for value in np.median(edge, 0))


def _centred(picture: Image.Image, size: tuple[int, int], margin: tuple[int, ...]) -> Image.Image:
    from PIL import Image

    field = Image.new(picture.mode, size, margin if len(margin) > 1 else margin[0])
    place = round((size[0] - picture.width) / 2), round((size[1] - picture.height) / 2)
    field.paste(picture, place)
    return field
