"""Recognises the files of one data set, one for each split, by their names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from scanline import formats
from scanline.data.readers.dialects import TEXT_SUFFIXES
from scanline.data.readers.split_names import SPLIT_NAMES
from scanline.data.readers.tables import SUFFIXES
from scanline.errors import UsageError, join_names

_ENDINGS = (*SUFFIXES, ".npz", ".npy")


def named_like(path: Path) -> dict[str, Path]:
    """Return {"train": NAME_TRAIN.ts, "test": NAME_TEST.ts, ...} for the path of NAME, or {}.

    Raises:
        UsageError: If several files match a split.
    """
    return _match(path.parent, re.escape(path.name) + r"[-_]", path) if path.name else {}


def pair_in(folder: Path) -> dict[str, Path]:
    """Return the same for train.csv and test.csv in `folder`, with any common prefix.

    train.txt beside folders of pictures is usually a list of their names, so `.txt` does not count.
    """
    return _match(folder, r"(?:.*[-_])?", folder, exclude=TEXT_SUFFIXES)


def _match(folder: Path, stem: str, path: Path, exclude: tuple[str, ...] = ()) -> dict[str, Path]:
    words = "|".join(SPLIT_NAMES)
    kept = [ending for ending in (*_ENDINGS, *formats.suffixes()) if ending not in exclude]
    endings = "|".join(map(re.escape, sorted(kept, key=len, reverse=True)))
    pattern = re.compile(rf"({stem})({words})({endings})", re.IGNORECASE)
    found: dict[str, list[Path]] = {}
    kinds = set()
    for name in _names_in(folder):
        match = pattern.fullmatch(name)
        if match:
            found.setdefault(SPLIT_NAMES[match[2].lower()], []).append(folder / name)
            kinds.add((match[1].lower(), match[3].lower()))
    if "train" not in found:
        return {}
    # Several kinds, such as train.csv beside train.npz, may be different data: the user has to choose.
    if len(kinds) > 1 or any(len(files) > 1 for files in found.values()):
        names = sorted(file.name for files in found.values() for file in files)
        raise UsageError(f"{path}: expected one data set; give the path of one of {join_names(names)}")
    return {part: files[0] for part, files in found.items()}


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):  # no such folder, or no permission to list it
        return []
