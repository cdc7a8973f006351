"""A folder of four IDX files, named like MNIST's, as a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.idx import REMEDY, read_pair
from scanline.data.prepare import PictureFormat
from scanline.data.published import FILES
from scanline.data.sequences import Sequences
from scanline.data.splits import DataSet, stratified
from scanline.errors import DataError

SPLIT_SEED = 0
_ANY_BYTE = tuple(range(256))
# The tutorials' split of MNIST: the first 5,000 of the 60,000 training images validate, the rest train.
MNIST_TRAINING_FILE, MNIST_VALIDATION = 60_000, 5_000


def exists(path: Path) -> bool:
    """Whether `path` exists and can be reached; never raises."""
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def idx_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, packed or not, also with the dot that some programs unpack it with."""
    # Packed first: `fetch --force` writes the .gz, which must win over a damaged raw file beside it.
    spellings = (name, name.replace("-idx", ".idx"))
    paths = [folder / (spelling + end) for spelling in spellings for end in (".gz", "")]
    return next((path for path in paths if exists(path)), None)


def load_folder(folder: Path, names: tuple[str, ...]) -> DataSet:
    """The data set of the four IDX files in `folder`, found under MNIST's names, raw or .gz.

    names: what could be given in place of a folder, for the message. Classes are the labels that the
    training file has. One of 60,000 images is split like MNIST's, of any other a twelfth validates.
    Raises DataError naming the files that are missing or damaged, or that do not fit together.
    """
    if not (exists(folder) and folder.is_dir()):
        found = "a file" if exists(folder) else "none"
        raise DataError(
            f"{folder}: expected a folder of IDX files, found {found}; "
            f"give a folder that has {', '.join(FILES)}, or one of the names {', '.join(names)}"
        )
    paths = [idx_file(folder, file) for file in FILES]
    missing = [file for file, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{folder}: expected four IDX files, raw or .gz, found no {', no '.join(missing)}; "
            "put them there, named like that"
        )
    train_images, train_labels, test_images, test_labels = (path for path in paths if path is not None)
    train = read_pair(train_images, train_labels, _ANY_BYTE, str(train_images))
    test = read_pair(test_images, test_labels, _ANY_BYTE, str(test_images))
    known = np.unique(train.labels)
    train, test = _name_classes(train, known, train_labels), _name_classes(test, known, test_labels)
    sizes = [(part.steps, part.features) for part in (train, test)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{test_images}: expected pictures of {sizes[0][0]} x {sizes[0][1]} pixels as in {train_images}, "
            f"found {sizes[1][0]} x {sizes[1][1]}; {REMEDY}"
        )
    try:
        data = byte_pictures(folder.resolve().name, train, test, box=max(1, round(20 / 28 * min(sizes[0]))))
    except DataError as error:
        raise DataError(f"{train_labels}: {error}; give more of that class, or leave it out") from error
    return replace(data, folder=folder)


def _name_classes(part: Sequences, known: NDArray[np.int64], labels: Path) -> Sequences:
    """`part`, whose labels are bytes as they were read, with the bytes in `known` as classes.

    labels: the file that they came from. Raises DataError naming the first label that is not known.
    """
    strange = np.flatnonzero(~np.isin(part.labels, known))
    if strange.size:
        first = int(strange[0])
        raise DataError(
            f"{labels}: item {first} (byte {8 + first}): expected a label that the training file has too, "
            f"found {part.labels[first]} ({strange.size:,} of {len(part):,} are unknown); {REMEDY}"
        )
    classes = tuple(int(label) for label in known)
    return replace(part, labels=np.searchsorted(known, part.labels), classes=classes)


def byte_pictures(name: str, rest: Sequences, test: Sequences, box: int) -> DataSet:
    """The data set whose training file holds `rest`: split like MNIST's, or a twelfth of it validates.

    box: as in PictureFormat. Raises DataError if a class is too small to be split.
    """
    picture = PictureFormat(height=rest.steps, width=rest.features, box=box, levels=255, centre="mass")
    if len(rest) == MNIST_TRAINING_FILE:
        validation, train = rest.take(slice(MNIST_VALIDATION)), rest.take(slice(MNIST_VALIDATION, None))
    else:
        kept, held = stratified(rest, 1 / 12, SPLIT_SEED)
        train, validation = rest.take(kept), rest.take(held)
    return DataSet(name, train, validation, test, scale=255.0, picture=picture)
