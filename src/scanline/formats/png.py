"""Writing PNG pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray


def encode_levels(values: NDArray[np.uint8], levels: int) -> bytes:
    """Return a picture as the bytes of a PNG file, in which 0 is black and `levels` is white.

    Args:
        values: (H, W) grey or (H, W, 3) red, green and blue, 0 to `levels`.
        levels: The largest level, 1 to 255.

    Raises:
        ValueError: If the shape or a value is out of range.
    """
    fits = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if not fits or values.size == 0 or not 1 <= levels <= 255 or int(values.max()) > levels:
        raise ValueError(
            f"expected (height, width) of 0..levels, 1 <= levels <= 255; got shape {values.shape}, "
            f"levels {levels}" + (f", largest value {values.max()}" if values.size else "")
        )
    return _encode(np.rint(values * (255 / levels)).astype(np.uint8))


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Return a picture, (H, W) or (H, W, 3), 0 to 255, as a `data:` URI for the `src` of an <img>."""
    return f"data:image/png;base64,{base64.b64encode(_encode(picture, optimize=True)).decode()}"


def _encode(pixels: NDArray[np.uint8], **options: bool) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **options)
    return content.getvalue()
