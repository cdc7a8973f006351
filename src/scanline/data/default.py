"""The data set that is used if none is named."""

from __future__ import annotations

import os
from collections.abc import Collection

from scanline.data import catalogue
from scanline.data.dataset import Dataset
from scanline.data.download import Progress, offline
from scanline.data.readers.arrays import Arrays
from scanline.errors import ScanlineError
from scanline.recipe import DataSettings

FIRST_CHOICE, FALLBACK = "mnist", "digits"


def read_or_default(
    source: str | Arrays,
    settings: DataSettings,
    on_progress: Progress | None = None,
    skip: Collection[str] = (),
) -> tuple[Dataset, str | None]:
    """Read a data set, or the default one.

    Args:
        source: A name, a path, or arrays. "" reads MNIST if it is installed or can be downloaded, and
            scikit-learn's digits otherwise.
        settings: How to read it.
        on_progress: Called with (received, total) bytes of a download.
        skip: Splits that are left out; files of their own are not opened.

    Returns:
        The data set as it was read, and a line for the user if it is the fallback, otherwise None.
    """
    if source:
        return catalogue.read(source, settings, on_progress, skip=skip), None
    try:
        return catalogue.read(FIRST_CHOICE, settings, on_progress, skip=skip), None
    except ScanlineError:  # no mirror, offline, or a cache that cannot be written
        if catalogue.find(FIRST_CHOICE) is not None:  # a damaged copy must be reported
            raise
        why = "SCANLINE_OFFLINE is set" if offline() else "it cannot be downloaded"
        folder = os.environ.get("SCANLINE_DATA")
        where = f"in SCANLINE_DATA ({folder})" if folder else "on this machine"
        return catalogue.read(FALLBACK, settings, skip=skip), (
            f"MNIST is not {where}, and {why}: training on `digits`, scikit-learn's small digits "
            "(run `scanline train mnist` to see what is missing)"
        )
