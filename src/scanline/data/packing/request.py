"""What is to be packed, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.data.picture_format import PictureFormat
from scanline.data.targets import LABEL_SETS, STEP_CLASSES, STEP_NUMBERS
from scanline.errors import UsageError
from scanline.recipe import DataSettings, SplitSettings

DEFAULT_MEMORY_BYTES = 2 * 10**9
LEAST_MEMORY_BYTES = 512 * 10**6
DEFAULT_ROW_GROUP_MB = 32
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@dataclass(frozen=True)
class PackRequest:
    """What `pack` does.

    Attributes:
        sources: Names, paths and patterns such as `data/*.csv`; several are read as one source.
        target: URI of the packed data set.
        settings: How to read the sources; its `test` and `validation` are paths of further splits.
        split: Sizes and seed of the splits that are drawn; None: one split "all".
        labelled: Whether the sequences must have labels.
        keep_order: Whether the sequences stay in the order of the source; otherwise they are shuffled.
        row_group_mb: Size of a row group in MB of step values.
        memory_bytes: How much memory may be used.
        temp: Folder for temporary files; None: beside a local target, or that of the system.
        force: Whether to replace a packed data set, or an unfinished one of another request.
    """

    sources: tuple[str, ...]
    target: str
    settings: DataSettings
    split: SplitSettings | None
    labelled: bool = True
    keep_order: bool = False
    row_group_mb: int = DEFAULT_ROW_GROUP_MB
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    temp: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.settings.targets in (STEP_CLASSES, STEP_NUMBERS):
            raise UsageError(
                "packed data have a label for each sequence, not for each step: train on the files"
            )
        if self.settings.targets == LABEL_SETS or self.settings.label_columns:
            raise UsageError(
                "packed data have one label for each sequence, not several (the tasks multilabel, and "
                "regression with --label-columns): train on the files"
            )

    @property
    def seed(self) -> int:
        """Seed of the order of the sequences."""
        return self.split.seed if self.split else 0

    def facts(self) -> dict[str, Any]:
        """Return what the packed data set depends on besides the source files, ready for JSON."""
        return {
            "sources": list(self.sources),
            "target": self.target,
            "settings": self.settings.model_dump(mode="json"),
            "split": self.split and self.split.model_dump(mode="json"),
            "labelled": self.labelled,
            "keep_order": self.keep_order,
            "row_group_mb": self.row_group_mb,
        }


def parse_bytes(text: str) -> int:
    """Return a size such as 2GB, 512MiB or 3e9 in bytes.

    Raises:
        UsageError: If it is not a size, or less than packing needs.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][0-9]{1,2})?)\s*([KMG]I?)?B?\s*", text.upper())
    if match is None:
        raise UsageError(f"--memory must be a size such as 2GB or 512MiB, got {text[:40]!r}")
    size = int(min(float(match[1]) * _UNITS[match[2] or ""], 2**53))
    if size < LEAST_MEMORY_BYTES:
        raise UsageError(f"--memory must be at least {LEAST_MEMORY_BYTES // 10**6} MB, got {text[:40]!r}")
    return size


def same_pictures(one: PictureFormat | None, other: PictureFormat | None) -> bool:
    """Return whether pictures of two formats have the same size and colours."""
    if one is None or other is None:
        return one is other
    return (one.height, one.width, one.channels) == (other.height, other.width, other.channels)
