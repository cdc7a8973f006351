"""Reads the four IDX files of a data set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.idx_files import find_idx_files
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError
from scanline.formats.idx import REMEDY, read_pair
from scanline.recipe import DataSettings

_ANY_BYTE = tuple(range(256))
# TensorFlow's tutorials validate on the first 5,000 of MNIST's 60,000 training images.
MNIST_TRAINING_FILE, MNIST_VALIDATION = 60_000, 5_000


def read_idx_folder(
    path: Path, settings: DataSettings, skip: Collection[str] = ()
) -> dict[str, MemorySource]:
    """Read four IDX files, raw or .gz; see `find_idx_files` for the names and the folder.

    The classes are the labels in the training file. EMNIST's pictures, which are stored by columns, are
    turned upright. The test files are not read if "test" is in `skip`.

    Returns:
        {"train": source, "test": source}. A training file of 60,000 images also has a "validation" split,
        its first 5,000 images, as in the tutorials for MNIST.

    Raises:
        DataError: Names the files that are missing or damaged, or do not fit together.
    """
    files = find_idx_files(path)
    if files is None:
        raise DataError(f"{path}: expected four IDX files, found none; add the missing files")
    train_images, train_labels, test_images, test_labels = files.paths
    train = _read(train_images, train_labels, files.transposed)
    # Labels need not be 0 to K - 1: EMNIST letters start from 1.
    known = np.unique(train.targets)
    train, held = _name_classes(train, known, train_labels), {}
    size = train.max_length, train.features
    if "test" not in skip:
        test = _name_classes(_read(test_images, test_labels, files.transposed), known, test_labels)
        if size != (test.max_length, test.features):
            raise DataError(
                f"{test_images}: expected pictures of {size[0]} x {size[1]} pixels as in {train_images}, "
                f"found {test.max_length} x {test.features}; {REMEDY}"
            )
        held = {"test": test}
    # MNIST's characters fill 20 of 28 pixels; other sizes keep that proportion.
    box = max(1, round(20 / 28 * min(size)))
    form = idx_format(train, box, settings)
    chosen = settings.model_copy(update={"picture": f"{form.height}x{form.width}"})

    def locate(index: int, step: int = 0, /) -> str:
        return f"item {index}"

    notes = (f"{files.folder}: EMNIST's pictures were turned upright",) if files.transposed else ()
    info = SourceInfo(chosen, locate, notes=notes, full_scale=255.0, picture=form)
    splits = {**tutorials_split(train), **held}
    return {name: replace(source, info=info) for name, source in splits.items()}


def _read(images: Path, labels: Path, transposed: bool) -> MemorySource:
    pictures, targets = read_pair(images, labels, len(_ANY_BYTE))
    if transposed:
        pictures = np.ascontiguousarray(pictures.transpose(0, 2, 1))
    return MemorySource.from_array(pictures, targets, _ANY_BYTE, str(images))


def idx_format(pictures: MemorySource, box: int, settings: DataSettings | None = None) -> PictureFormat:
    """Return how a picture file is fitted to these pictures: like MNIST, unless `settings` has a fit."""
    fit = settings.fit if settings is not None and settings.fit else "ink"
    return PictureFormat(pictures.max_length, pictures.features, box, levels=255, centre="mass", fit=fit)


def tutorials_split(train: MemorySource) -> dict[str, MemorySource]:
    """Split a training file of MNIST's size into "train" and "validation"; another is all "train"."""
    if len(train) != MNIST_TRAINING_FILE:
        return {"train": train}
    first = f"{MNIST_VALIDATION:,}"
    rest, held = train.take(slice(MNIST_VALIDATION, None)), train.take(slice(MNIST_VALIDATION))
    return {
        "train": replace(rest, name=f"{train.name} without its first {first} images"),
        "validation": replace(held, name=f"the first {first} images of {train.name}"),
    }


def _name_classes(part: MemorySource, known: NDArray[np.int64], labels: Path) -> MemorySource:
    """Return `part`, whose targets are label bytes as read, with the bytes in `known` as its classes.

    Args:
        part: The sequences.
        known: The label bytes of the training file, sorted.
        labels: The file with the labels, for messages.

    Raises:
        DataError: Names the first label that is not in `known`.
    """
    strange = np.flatnonzero(~np.isin(part.targets, known))
    if strange.size:
        first = int(strange[0])
        raise DataError(
            f"{labels}: item {first} (byte {8 + first}): expected a label that the training file has too, "
            f"found {part.targets[first]} ({strange.size:,} of {len(part):,} are unknown); {REMEDY}"
        )
    classes = tuple(int(label) for label in known)
    # `known` is sorted and has every label, so searchsorted gives the exact index.
    return replace(part, targets=np.searchsorted(known, part.targets), classes=classes)
