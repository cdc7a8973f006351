"""The data set that is taken where none is named."""

from __future__ import annotations

import os

from scanline.data import catalog
from scanline.data.download import Progress, offline
from scanline.data.splits import DataSet
from scanline.errors import ScanlineError

FIRST_CHOICE, FALLBACK = "mnist", "digits"


def load_or_default(name: str | None, on_progress: Progress | None = None) -> tuple[DataSet, str | None]:
    """The data set called `name`, and a line to tell the user if it is not what they might expect.

    name: a name of the catalog or a path; None or "" takes MNIST if it is at hand or can be fetched, and
    otherwise scikit-learn's digits.
    """
    if name:
        return catalog.load(name, on_progress), None
    try:
        return catalog.load(FIRST_CHOICE, on_progress), None
    except ScanlineError:  # no mirror, no network wanted, or a cache that cannot be written
        if catalog.find(FIRST_CHOICE) is not None:  # it is there, but damaged: that must not pass unseen
            raise
        why = "SCANLINE_OFFLINE is set" if offline() else "cannot be fetched"
        named = os.environ.get("SCANLINE_DATA")
        where = f"at hand (SCANLINE_DATA is {named}, where it is not)" if named else "at hand"
        return catalog.load(FALLBACK), (
            f"MNIST is not {where} and {why}: training on `digits`, the small ones of scikit-learn "
            "(`scanline train mnist` says what is missing)"
        )
