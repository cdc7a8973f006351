"""The small handwritten digits that come with scikit-learn: a data set that needs no network."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import Dataset, Provenance
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.source_info import SourceInfo
from scanline.data.splits import stratified

NAME = "digits"
# Number of sequences of the training, validation and test splits.
COUNTS = (1257, 180, 360)
SPLIT_SEED = 0
# Digest of the 1,797 x 8 x 8 pixels followed by the 1,797 labels, all as bytes.
_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def find() -> Path | None:
    """Return scikit-learn's file of the digits without importing scikit-learn, or None."""
    # Importing scikit-learn is slow, and only its location is needed.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return file if file.exists() else None


def is_original() -> bool:
    """Whether scikit-learn's digits are unchanged."""
    images, labels = _read()
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == _SHA256


def load() -> Dataset:
    """Return 1,797 digits of 8 rows of 8 pixels, 0 to 16, split by class with a fixed seed."""
    images, labels = _read()
    picture = PictureFormat(height=8, width=8, box=8, levels=16, centre="box")
    info = SourceInfo(full_scale=16.0, picture=picture)
    everything = replace(MemorySource.from_array(images, labels, tuple(range(10)), NAME), info=info)
    outer, test = stratified(everything, COUNTS[2] / len(everything), SPLIT_SEED)
    # The inner split indexes `rest`; outer[...] maps its indices back to the whole data set.
    rest = everything.take(outer)
    kept, held = stratified(rest, COUNTS[1] / len(rest), SPLIT_SEED)
    text = f"scikit-learn's 1,797 digits, drawn by class with seed {SPLIT_SEED}"
    indices = {"train": outer[kept], "validation": outer[held], "test": test}
    return Dataset(
        NAME,
        {split: everything.take(index) for split, index in indices.items()},
        fixed=True,
        provenance={split: Provenance(text, index) for split, index in indices.items()},
    )


def _read() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (1797, 8, 8) and labels (1797,), both uint8."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    return values.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
