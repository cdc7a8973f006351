"""Picture files written for tests, and folders of them read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scanline.data.memory import MemorySource
from scanline.data.readers.picture_folders import read_picture_folder
from scanline.recipe import DEFAULT_DATA, DataSettings


def data_settings(**settings) -> DataSettings:
    """Return the default settings of the data with changes."""
    return DEFAULT_DATA.model_copy(update=settings)


def grey(value, height=4, width=3):
    return np.full((height, width), value, np.uint8)


def put(path: Path, pixels, **options) -> Path:
    """A picture file of `pixels`: (H, W), (H, W, 3) or (H, W, 4), or a PIL picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(path, **options)
    return path


def read(folder, **settings) -> MemorySource:
    """Read a folder that has no parts."""
    return read_picture_folder(folder, data_settings(**settings))["all"]


def first_pixels(source):
    return source.values[:, 0, 0].tolist()
