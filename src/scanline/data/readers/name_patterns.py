"""Groups and splits by the names of files, in folders with a file for each sequence.

The patterns are regular expressions that are searched in the path of a file below the folder that was named,
with `/` between folders: `7/7_jackson_3.wav`.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import without_unused_classes
from scanline.data.dataset import ALL
from scanline.data.memory import MemorySource
from scanline.errors import DataError, UsageError, one_line
from scanline.recipe import DataSettings

PATTERNS = ("group_pattern", "test_pattern", "validation_pattern")


def refuse_patterns(settings: DataSettings, name: str) -> None:
    """Check that no pattern of file names is set for data that are no folder of such files.

    Raises:
        UsageError: Names the setting and the data.
    """
    for key in PATTERNS:
        if getattr(settings, key):
            raise UsageError(
                f"data.{key} must be empty for {name}, which is no folder with a file for each sequence, "
                f"got {one_line(getattr(settings, key))}"
            )


def refuse_split_patterns(settings: DataSettings, name: str, why: str) -> None:
    """Check that no pattern assigns files to splits.

    Args:
        settings: The patterns.
        name: Name of the data, for the message.
        why: Why none may, as "which has folders of splits".

    Raises:
        UsageError: Names the setting.
    """
    for key in PATTERNS[1:]:
        if getattr(settings, key):
            raise UsageError(f"data.{key} must be empty for {name}, {why}")


def divide(source: MemorySource, settings: DataSettings, to_train: bool) -> dict[str, MemorySource]:
    """Return sequences with the groups, and divided into the splits, that the names of their files say.

    Args:
        source: Sequences whose ids are the paths of their files.
        settings: The patterns; without those of splits, all sequences are returned as "all".
        to_train: Whether a training split is needed.

    Raises:
        DataError: If a file has no group or two splits, or a split has no file.
        UsageError: If two patterns of splits are the same.
    """
    assert source.ids is not None
    names = [str(name) for name in source.ids]
    if settings.group_pattern:
        source = replace(source, groups=_groups(source, names, settings.group_pattern))
    held = {
        split: _matches(pattern, names)
        for split, pattern in (("test", settings.test_pattern), ("validation", settings.validation_pattern))
        if pattern
    }
    if not held or not to_train:
        return {ALL: source}
    for split, mask in held.items():
        if not mask.any():
            raise DataError(
                where=source.name,
                expected=f"files whose path matches data.{split}_pattern",
                found=f"none (the first is {one_line(names[0])})",
            )
    both = np.flatnonzero(sum(held.values()) > 1)
    if both.size:
        raise DataError(
            f"{source.name}: {one_line(names[both[0]])}: expected one split, found that both "
            "data.test_pattern and data.validation_pattern match"
        )
    train = np.flatnonzero(~np.any(list(held.values()), axis=0))
    if not train.size:
        raise DataError(f"{source.name}: expected some training files, found that the patterns match all")
    # A class that only held-out files have is unknown to training and must be reported as such.
    splits = {"train": without_unused_classes(source.take(train))}
    return splits | {split: source.take(np.flatnonzero(mask)) for split, mask in held.items()}


def _groups(source: MemorySource, names: list[str], pattern: str) -> NDArray[np.object_]:
    found = [re.search(pattern, name) for name in names]
    if None in found:
        first = found.index(None)
        raise DataError(
            where=f"{source.name}: {one_line(names[first])}",
            expected=f"a path that data.group_pattern ({one_line(pattern)}) matches",
            found="another",
        )
    return np.array([_group(each) for each in found if each is not None], object)


def _group(match: re.Match[str]) -> str:
    """Return what a pattern found: its part named "group", else its first part, else all of it."""
    named = match.groupdict()
    found = named["group"] if "group" in named else next(iter(match.groups()), None)
    return match[0] if found is None else found


def _matches(pattern: str, names: list[str]) -> NDArray[np.bool_]:
    return np.array([re.search(pattern, name) is not None for name in names], bool)
