"""What is plotted of an explained sequence, as the numbers that `scanline.plots` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.cells.base import Cell
from scanline.data.transforms.views import View
from scanline.explanation.attribution import Attribution
from scanline.explanation.trace import Trace
from scanline.plots import AttributionImage, Panel, SequenceData

_UNREAD = 110  # mid-grey


def sequence_data(
    trace: Trace,
    cell: Cell,
    values: NDArray[Any],
    picture: NDArray[np.uint8] | None,
    attribution: Attribution | None,
    pixel_attribution: NDArray[np.float64] | None,
    tokens: tuple[str, ...] = (),
) -> SequenceData:
    """Return the numbers of a plot.

    Args:
        trace: Probabilities, gates and states of T steps.
        cell: The network's cell, which names them.
        values: (T, F), as the network's steps.
        picture: (height, width) or (height, width, 3), or None.
        attribution: Attributions to the predicted class, or None.
        pixel_attribution: The same in the picture's place, (height, width), or None.
        tokens: Token of each step of a text, empty for other sequences.
    """
    image = None
    if attribution is not None:
        name = str(trace.classes[attribution.target])
        in_picture = pixel_attribution is not None
        image = AttributionImage(
            attribution.values.T if pixel_attribution is None else pixel_attribution, name, in_picture
        )
    several = len(trace.directions) > 1
    panels = tuple(
        Panel(
            f"{cell.titles.get(name, '')} {name}".lstrip() + (f", {direction.title}" if several else ""),
            part,
            name not in cell.clampable,  # gates range from 0 to 1, everything else around 0
        )
        for direction in trace.directions
        for name, part in direction.values.items()
    )
    return SequenceData(
        class_names=tuple(map(str, trace.classes)),
        probabilities=trace.probabilities,
        predicted=trace.prediction,
        settled=trace.settled,
        values=values,
        picture=picture,
        attribution=image,
        panels=panels,
        tokens=tokens,
    )


def picture_so_far(
    picture: NDArray[np.uint8], view: View, steps: tuple[int, int], upto: int
) -> NDArray[np.uint8]:
    """Return the picture as far as it has been read, the rest in mid-grey.

    Args:
        picture: (height, width) or (height, width, 3).
        view: How the picture is cut into steps.
        steps: (T, F) of the steps.
        upto: Number of steps read.
    """
    known = np.zeros(steps, bool)
    known[:upto] = True
    mask = view.undo(known[None])[0].reshape(view.height, view.width, view.channels)[..., 0]
    read: NDArray[np.uint8] = np.where(mask if picture.ndim == 2 else mask[..., None], picture, _UNREAD)
    return read
