"""Pictures as sequences of rows: their format, and grey levels that are pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scanline.data.checks import fail_at, first_wrong
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DataSettings

SIDE_LIMIT = 4096  # pixels


def picture_format(height: int, width: int, channels: int, settings: DataSettings) -> PictureFormat:
    """Return how a picture file becomes a picture of this size.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        channels: Values of a pixel, 1 or 3.
        settings: How pictures are fitted.

    Raises:
        UsageError: If the size is too large, or pictures in colour are to be fitted by their ink.
    """
    if max(height, width) > SIDE_LIMIT:
        raise UsageError(
            f"pictures must be at most {SIDE_LIMIT} pixels high and wide, got {height} x {width}; give "
            "the size to which all are fitted, such as --picture 28x28"
        )
    if channels == 3 and settings.fit == "ink":
        raise UsageError("data.fit must be contain, cover or stretch for pictures in colour, got ink")
    # The format is needed for the fit "ink" only; other fits ignore `box`.
    box = max(1, round(20 / 28 * min(height, width)))  # as in MNIST
    return PictureFormat(
        height, width, box, 255, "mass", 3 if channels == 3 else 1, settings.fit or "contain"
    )


def as_pictures(
    source: MemorySource, size: tuple[int, int], reason: str = "", channels: int = 1
) -> MemorySource:
    """Return sequences that hold pixels in reading order as pictures.

    Args:
        source: Sequences as they were read.
        size: (height, width) of the pictures.
        reason: Why they are taken for pictures, if that was inferred; "" if the user stated it.
        channels: Values of a pixel, 1 for grey levels, 3 for colours.

    Raises:
        DataError: If a value is not a grey level, naming its place; or there are too many or too few.
    """
    height, width = size
    wanted = height * width * channels
    # Only the number of values matters: a row of pixels may be one step or one value a step.
    if not source.uniform or source.max_length * source.features != wanted:
        largest = source.max_length * source.features
        counts = f"{largest:,}"
        if not source.uniform:
            counts = f"{source.lengths.min() * source.features:,} to {largest:,}"
        raise DataError(
            f"{source.name}: expected {wanted:,} values a sequence, pictures of {height} x {width}"
            + (" in colour" if channels == 3 else "")
            + f", found {counts}"
        )
    values = source.concatenated
    if values.dtype != np.uint8:
        place = first_wrong(values, lambda v: ~((v >= 0) & (v <= 255) & (np.trunc(v) == v)))
        if place is not None:
            found = "nothing" if np.isnan(values[place]) else f"{values[place]:g}"
            fail_at(source, *place, f"expected a grey level, an integer from 0 to 255, found {found}")
        values = values.astype(np.uint8)
    info, settings = source.info, source.info.settings or DEFAULT_DATA
    if values.size and values.max() == 1:
        doubt = (
            "the largest grey level is 1 of 255; if 1 is white, save booleans or multiply the values by 255"
        )
        info = replace(info, notes=(*info.notes, f"{source.name}: {doubt}"))
    note = f"pictures of {height} x {width} pixels, {reason} (data.picture=none reads them as numbers)"
    return replace(
        source,
        concatenated=values.reshape(-1, width * channels),
        lengths=np.full(len(source), height, np.int64),
        info=replace(
            info,
            settings=settled(settings, height, width, channels),
            feature_names=(),
            notes=(*info.notes, note) if reason else info.notes,
            full_scale=255.0,
            picture=picture_format(height, width, channels, settings),
        ),
    )


def settled(settings: DataSettings, height: int, width: int, channels: int) -> DataSettings:
    """Return `settings` with the size and the colours of pictures, so that others are read like them."""
    return settings.model_copy(update={"picture": f"{height}x{width}", "colour": channels == 3})
