"""What a decoded picture leaves open: the value of white, and values of transparent pixels.

Pillow returns samples of more than 8 bits as stored, so white follows from the file's header or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError

if TYPE_CHECKING:
    from PIL import Image

_PHOTOMETRIC, _MAX_SAMPLE = 262, 281  # TIFF tags
_WHITE_IS_ZERO = 0
_DARK = 4  # integers that use less than this fraction of their range are probably narrower ones
_SIGNED_MAX = 2**31 - 1
# Factors from a sample of a narrow PNG to the 8 bits that Pillow widens it to, by its raw mode.
_WIDENED = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class BitDepth:
    """What the header says about samples of more than 8 bits.

    Attributes:
        white: Value of white; None if the header does not determine it.
        inverted: Whether 0 is white.
    """

    white: float | None = None
    inverted: bool = False


def bit_depth(picture: Image.Image) -> BitDepth:
    """Return the depth of a picture that is not decoded yet: decoding drops the raw mode."""
    if not _is_wide(picture):
        return BitDepth()
    tags = getattr(picture, "tag_v2", {})
    white: float | None = None
    if picture.format == "PPM":
        white = 65535  # Pillow has already scaled the samples by the maximum in the header
    elif _raw_mode(picture) == "I;12":
        white = 4095
    elif most := _declared(tags.get(_MAX_SAMPLE)):
        white = None if picture.mode == "F" else most
    # Pillow inverts 8-bit samples, but not wider ones.
    return BitDepth(white, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def widen_transparency(picture: Image.Image) -> None:
    """Give the transparent value of a PNG the depth of the decoded pixels: it is stored in the file's."""
    value, raw = picture.info.get("transparency"), _raw_mode(picture)
    if isinstance(value, int) and raw in _WIDENED:
        picture.info["transparency"] = value * _WIDENED[raw]
    elif isinstance(value, tuple) and raw == "RGB;16B":
        picture.info["transparency"] = tuple(part >> 8 for part in value)


def white_of(values: NDArray[Any], depth: BitDepth, name: str, given: int = 0) -> float:
    """Return the value of white in the samples (H, W) of a picture of more than 8 bits.

    Args:
        values: The samples: integers, or floats 0..1 or 0..255.
        depth: What the header says.
        name: Name of the picture for messages.
        given: Value of white in integers if the header does not determine it; 0: it is inferred.

    Raises:
        FormatError: If samples are out of range, or fill so little of it that white is doubtful.
    """
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 255):  # false for NaN, too
            raise FormatError(
                file=name, expected="floats 0..1 or 0..255", found=f"{low:g}..{high:g}", remedy="scale them"
            )
        return 255 if high > 1 else 1
    known = depth.white or float(given)
    if low < 0 or (known and high > known):
        most = f"..{known:.0f}" if known else ""
        raise FormatError(
            file=name,
            expected=f"samples of 0{most or ' or more'}",
            found=f"{low:.0f}..{high:.0f}",
            remedy="name the value of white with --white" if given else "save it with 8 bits",
        )
    if known:
        return known
    white = 65535 if high <= 65535 else _SIGNED_MAX
    if 0 < high <= white / _DARK:
        narrow = next(bits for bits in (8, 10, 12, 14, 16, 24, 29) if high < 2**bits)
        raise FormatError(
            file=name,
            expected="samples whose white is known",
            found=f"values up to {high:.0f}: white may be {2**narrow - 1} ({narrow} bits) or {white} (a dark "
            "picture)",
            remedy=f"name the value of white, such as --white {2**narrow - 1}, or save it with 8 bits",
        )
    return white


def is_transparent(picture: Image.Image) -> NDArray[np.bool_] | None:
    """Return which pixels (H, W) of a picture of more than 8 bits are transparent; None if it has no such."""
    value = picture.info.get("transparency")
    return np.asarray(picture) == value if isinstance(value, int) else None


def _declared(tag: Any) -> float:
    """Return the number in a TIFF tag that has one value, or 0."""
    value = tag[0] if isinstance(tag, tuple) and len(tag) == 1 else tag
    return float(value) if isinstance(value, int) else 0.0


def _is_wide(picture: Image.Image) -> bool:
    return picture.mode == "F" or picture.mode.startswith("I")


def _raw_mode(picture: Image.Image) -> str:
    tile = getattr(picture, "tile", None)
    arguments = tile[0][3] if tile else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""
