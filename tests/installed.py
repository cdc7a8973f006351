"""A package for tests of entry points: its metadata, and its module if it has one, on the path."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def installed(folder: Path, name: str, entry_points: str, source: str | None = None) -> Iterator[None]:
    """Install a package as pip would, in an empty folder, until the end of the block.

    Args:
        folder: Stands for site-packages.
        name: Name of the distribution, and of its module.
        entry_points: Content of entry_points.txt.
        source: Source of the module; None for a package of metadata only.
    """
    if source is not None:
        (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop(name, None)
