"""The data set that is taken where none is named."""

from __future__ import annotations

import os

from scanline.data import catalogue as catalog
from scanline.data.download import Progress, offline
from scanline.data.readers.arrays import Arrays
from scanline.data.reading import Samples
from scanline.errors import ScanlineError
from scanline.recipe import DataSettings

FIRST_CHOICE, FALLBACK = "mnist", "digits"


def read_or_default(
    source: str | Arrays, settings: DataSettings, on_progress: Progress | None = None
) -> tuple[Samples, str | None]:
    """What `source` names or is, and a line to tell the user if that is not what they might expect.

    "" takes MNIST if it is at hand or can be fetched, and otherwise scikit-learn's digits.
    """
    if source:
        return catalog.read(source, settings, on_progress), None
    try:
        return catalog.read(FIRST_CHOICE, settings, on_progress), None
    except ScanlineError:  # no mirror, no network wanted, or a cache that cannot be written
        if catalog.find(FIRST_CHOICE) is not None:  # it is there, but damaged: that must not pass unseen
            raise
        why = "SCANLINE_OFFLINE is set" if offline() else "cannot be fetched"
        named = os.environ.get("SCANLINE_DATA")
        where = f"at hand (SCANLINE_DATA is {named}, where it is not)" if named else "at hand"
        return catalog.read(FALLBACK, settings), (
            f"MNIST is not {where} and {why}: training on `digits`, the small ones of scikit-learn "
            "(`scanline train mnist` says what is missing)"
        )
