"""A folder of four IDX files, named like MNIST's, as a data set."""

from __future__ import annotations

from pathlib import Path

from scanline.data.idx import REMEDY, read_pair, read_unsigned
from scanline.data.images import PictureFormat
from scanline.data.published import FILES
from scanline.data.sequences import Sequences
from scanline.data.splits import DataSet, stratified
from scanline.errors import DataError

SPLIT_SEED = 0
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

    names: what could be given in place of a folder, for the message. Classes are the whole numbers from 0
    to the largest label. A training file of 60,000 is split like MNIST's, of any other a twelfth validates.
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
    largest = max(int(read_unsigned(path, 1).max()) for path in (train_labels, test_labels))
    classes = tuple(range(largest + 1))
    train = read_pair(train_images, train_labels, classes, str(train_images))
    test = read_pair(test_images, test_labels, classes, str(test_images))
    sizes = [(part.steps, part.features) for part in (train, test)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{test_images}: expected pictures of {sizes[0][0]} x {sizes[0][1]} pixels as in {train_images}, "
            f"found {sizes[1][0]} x {sizes[1][1]}; {REMEDY}"
        )
    return byte_pictures(str(folder), train, test, box=max(1, round(20 / 28 * min(sizes[0]))))


def byte_pictures(name: str, rest: Sequences, test: Sequences, box: int) -> DataSet:
    """The data set whose training file holds `rest`: split like MNIST's, or a twelfth of it validates.

    box: as in PictureFormat. Raises DataError if a class is too small to be split.
    """
    picture = PictureFormat(height=rest.steps, width=rest.features, box=box, levels=255, centre="mass")
    if len(rest) == MNIST_TRAINING_FILE:
        validation, train = rest.take(slice(MNIST_VALIDATION)), rest.take(slice(MNIST_VALIDATION, None))
    else:
        try:
            kept, held = stratified(rest.labels, 1 / 12, SPLIT_SEED)
        except DataError as error:
            raise DataError(f"{rest.source}: {error}") from error
        train, validation = rest.take(kept), rest.take(held)
    return DataSet(name, train, validation, test, scale=255.0, picture=picture)
