"""Names of splits in files, folders and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from scanline.errors import UsageError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def find_split_folders(
    folder: Path, children: Iterable[Path], holds_classes: Callable[[Path], bool]
) -> dict[str, Path]:
    """Return the folders of the splits, by the name of the split.

    Args:
        folder: The folder of the data set, for messages.
        children: Its sub-folders.
        holds_classes: Whether a sub-folder has files of the kind that is read.

    Raises:
        UsageError: If two may be the same split.
    """
    folders: dict[str, Path] = {}
    for child in children:
        split = SPLIT_NAMES.get(child.name.lower())
        if split is None or not holds_classes(child):
            continue
        if split in folders:
            raise UsageError(
                f"{folder}: expected one folder of the {split} split, got {folders[split].name} and "
                f"{child.name}; remove one"
            )
        folders[split] = child
    return folders
