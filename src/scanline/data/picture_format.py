"""What pictures look like to a model: their size, their values and how files are fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PictureFormat:
    """How a picture file becomes the picture that the network reads.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        box: Longest side of the ink in pixels; for the fit "ink".
        levels: Largest pixel value, 255 for bytes.
        centre: What is moved to the centre, the ink's centre of mass or its bounding box; for the fit "ink".
        channels: 1 for grey levels, 3 for red, green and blue.
        fit: How a picture fills the format. "ink" locates the character, resizes and centres it; "contain"
            shows the whole picture with a margin, "cover" crops it, "stretch" ignores its proportions.
    """

    height: int
    width: int
    box: int
    levels: int
    centre: Literal["mass", "box"]
    channels: Literal[1, 3] = 1
    fit: Literal["ink", "contain", "cover", "stretch"] = "ink"
