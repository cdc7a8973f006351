"""Explanations as pictures, films and pages of their own."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scanline import plots
from scanline.errors import UsageError
from scanline.storage.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scanline.explanation.explain import Explanation

FORMATS = (".png", ".svg", ".gif", ".json", ".npz")
_MOST_FRAMES = 60


def check_ending(path: Path) -> None:
    """Raises UsageError if `save` knows no format of that ending."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"an explanation is saved as {', '.join(FORMATS)}, got {path}")


def save(explanation: Explanation, path: Path) -> None:
    """Write the explanation to `path`, whole or not at all, in the format that its name ends in.

    PNG and SVG are the whole picture, GIF a film of the reading, JSON and NPZ every number.
    Raises UsageError for another ending, ScanlineError if the file cannot be written.
    """
    check_ending(path)
    writers: dict[str, Callable[[Explanation], bytes]] = {
        ".png": lambda each: plots.to_png(figure(each)),
        ".svg": _svg,
        ".gif": _film,
        ".json": _json,
        ".npz": _npz,
    }
    write_atomic(path, writers[path.suffix.lower()](explanation))


def figure(explanation: Explanation, upto: int | None = None) -> Figure:
    """The whole picture; with `upto` as it is after so many steps."""
    e = explanation
    return plots.explanation(
        e.trace,
        e.picture if upto is None else _read_so_far(e, upto),
        e.values,
        e.attribution if upto is None else None,
        e.places,
        upto,
    )


def _read_so_far(explanation: Explanation, upto: int) -> np.ndarray | None:
    """The picture as far as it is read, the rest in mid-grey."""
    picture, view = explanation.picture, explanation.view
    if picture is None or view is None:
        return None
    known = np.zeros(explanation.values.shape, bool)
    known[:upto] = True
    mask = view.undo(known[None])[0].reshape(view.height, view.width, view.channels)[..., 0]
    seen: np.ndarray = np.where(mask if picture.ndim == 2 else mask[..., None], picture, 110)
    return seen


def _svg(explanation: Explanation) -> bytes:
    title = f"How {explanation.name} is read, and what each gate does"
    text = plots.to_svg(figure(explanation), title)
    # On its own an SVG file has no page to take its colour from.
    styled = text.replace("<svg", '<svg style="color:#1b1e23;background:#ffffff"', 1)
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + styled + "\n").encode()


def _film(explanation: Explanation) -> bytes:
    steps = len(explanation.trace.probabilities)
    chosen = np.unique(np.linspace(1, steps, min(steps, _MOST_FRAMES)).round().astype(int))
    return plots.film([figure(explanation, int(step)) for step in chosen])


def _json(explanation: Explanation) -> bytes:
    return (json.dumps({"schema": 1} | explanation.to_json(), allow_nan=False) + "\n").encode()


def _npz(explanation: Explanation) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **explanation.arrays())  # type: ignore[arg-type]
    return file.getvalue()


def explanation_html(explanation: Explanation) -> str:
    """For notebooks: the words, and the picture where Matplotlib is there."""
    words = "<br>".join(escape(line.strip()) for line in explanation.lines())
    if importlib.util.find_spec("matplotlib") is None:
        return f"<p>{words}</p>"
    drawn = plots.to_svg(figure(explanation), f"How {explanation.name} is read")
    return f'<div style="max-width:60em"><p>{words}</p>{drawn}</div>'
