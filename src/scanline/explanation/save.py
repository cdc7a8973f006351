"""Explanations as files: a figure, an animation, or every number."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scanline import plots
from scanline.errors import UsageError
from scanline.explanation.explanation import Explanation
from scanline.storage.atomic import write_atomic

_MAX_FRAMES = 60


def check_suffix(path: Path) -> None:
    """Raise UsageError if `save` has no format for the suffix of `path`."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"expected an explanation file ending in {', '.join(FORMATS)}; got {path}")


def save(explanation: Explanation, path: Path) -> None:
    """Write an explanation to a file, completely or not at all.

    Args:
        explanation: The explanation.
        path: The file. Its suffix chooses the format: .png and .svg are the figure, .gif an animation with
            a frame per step, .json and .npz every number.

    Raises:
        UsageError: If the suffix is unknown.
        MissingExtraError: If the format needs Matplotlib and it is not installed.
        ScanlineError: If the file cannot be written.
    """
    check_suffix(path)
    write_atomic(path, _WRITERS[path.suffix.lower()](explanation))


def _png(explanation: Explanation) -> bytes:
    return plots.to_png(explanation.figure())


def _svg(explanation: Explanation) -> bytes:
    text = plots.to_svg(explanation.figure(), f"Explanation of {explanation.name}: gates and states by step")
    # An SVG file has no page whose text colour it could use.
    coloured = text.replace("<svg", '<svg style="color:#1b1e23;background:#ffffff"', 1)
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + coloured + "\n").encode()


def _gif(explanation: Explanation) -> bytes:
    T = len(explanation.trace.probabilities)
    steps = np.unique(np.linspace(1, T, min(T, _MAX_FRAMES)).round().astype(int))
    return plots.to_gif([explanation.figure(int(step)) for step in steps])


def _json(explanation: Explanation) -> bytes:
    return (json.dumps({"schema": 1} | explanation.to_json(), allow_nan=False) + "\n").encode()


def _npz(explanation: Explanation) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **explanation.arrays())  # type: ignore[arg-type]
    return file.getvalue()


_WRITERS: dict[str, Callable[[Explanation], bytes]] = {
    ".png": _png,
    ".svg": _svg,
    ".gif": _gif,
    ".json": _json,
    ".npz": _npz,
}
FORMATS = tuple(_WRITERS)
