"""A folder of four IDX files, named like MNIST's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.published import FILES
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError
from scanline.formats.idx import REMEDY, read_pair
from scanline.recipe import DataSettings

_ANY_BYTE = tuple(range(256))
# The tutorials' split of MNIST: the first 5,000 of the 60,000 training images validate, the rest train.
MNIST_TRAINING_FILE, MNIST_VALIDATION = 60_000, 5_000


def idx_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, packed or not, also with the dot that some programs unpack it with."""
    # Packed first: `fetch --force` writes the .gz, which must win over a damaged raw file beside it.
    spellings = (name, name.replace("-idx", ".idx"))
    paths = [folder / (spelling + end) for spelling in spellings for end in (".gz", "")]
    return next((path for path in paths if path.exists()), None)


def is_idx_folder(folder: Path) -> bool:
    """Whether one of the four files is in `folder`."""
    return any(idx_file(folder, name) for name in FILES)


def read_idx_folder(folder: Path, settings: DataSettings) -> dict[str, MemorySource]:
    """{"train": ..., "test": ...} of the four IDX files in `folder`, under MNIST's names, raw or .gz.

    Classes are the labels that the training file has. One of 60,000 images has a "validation" part too, the
    tutorials' for MNIST: its first 5,000.
    Raises DataError naming the files that are missing or damaged, or that do not fit together.
    """
    paths = [idx_file(folder, file) for file in FILES]
    missing = [file for file, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{folder}: expected four IDX files, raw or .gz, found no {', no '.join(missing)}; "
            "put them there, named like that"
        )
    train_images, train_labels, test_images, test_labels = (path for path in paths if path is not None)
    train, test = (
        MemorySource.from_array(*read_pair(images, labels, len(_ANY_BYTE)), _ANY_BYTE, str(images))
        for images, labels in ((train_images, train_labels), (test_images, test_labels))
    )
    known = np.unique(train.targets)
    train, test = _name_classes(train, known, train_labels), _name_classes(test, known, test_labels)
    sizes = [(part.max_length, part.features) for part in (train, test)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{test_images}: expected pictures of {sizes[0][0]} x {sizes[0][1]} pixels as in {train_images}, "
            f"found {sizes[1][0]} x {sizes[1][1]}; {REMEDY}"
        )
    box = max(1, round(20 / 28 * min(sizes[0])))
    form = idx_format(train, box, settings)
    chosen = settings.model_copy(update={"picture": f"{form.height}x{form.width}"})

    def locate(index: int, step: int = 0, /) -> str:
        return f"item {index}"

    info = SourceInfo(chosen, locate, full_scale=255.0, picture=form)
    splits = {**tutorials_split(train), "test": test}
    return {name: replace(source, info=info) for name, source in splits.items()}


def idx_format(pictures: MemorySource, box: int, settings: DataSettings | None = None) -> PictureFormat:
    """How a picture file gets to look like these: as LeCun made MNIST, unless said otherwise."""
    fit = settings.fit if settings is not None and settings.fit else "ink"
    return PictureFormat(pictures.max_length, pictures.features, box, levels=255, centre="mass", fit=fit)


def tutorials_split(train: MemorySource) -> dict[str, MemorySource]:
    """A training file of MNIST's size as {"train": ..., "validation": ...}, another as {"train": ...}."""
    if len(train) != MNIST_TRAINING_FILE:
        return {"train": train}
    first = f"{MNIST_VALIDATION:,}"
    rest, held = train.take(slice(MNIST_VALIDATION, None)), train.take(slice(MNIST_VALIDATION))
    return {
        "train": replace(rest, name=f"{train.name} without its first {first} images"),
        "validation": replace(held, name=f"the first {first} images of {train.name}"),
    }


def _name_classes(part: MemorySource, known: NDArray[np.int64], labels: Path) -> MemorySource:
    """`part`, whose labels are bytes as they were read, with the bytes in `known` as classes.

    labels: the file that they came from. Raises DataError naming the first label that is not known.
    """
    strange = np.flatnonzero(~np.isin(part.targets, known))
    if strange.size:
        first = int(strange[0])
        raise DataError(
            f"{labels}: item {first} (byte {8 + first}): expected a label that the training file has too, "
            f"found {part.targets[first]} ({strange.size:,} of {len(part):,} are unknown); {REMEDY}"
        )
    classes = tuple(int(label) for label in known)
    return replace(part, targets=np.searchsorted(known, part.targets), classes=classes)
