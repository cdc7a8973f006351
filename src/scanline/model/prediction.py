"""Predictions that display themselves in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.formats.png import data_uri

_SHOWN = 20
_NAMED = 3  # classes listed for each prediction


def split_steps(rows: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return the rows of the steps of N sequences, (S, ...), as an array of N arrays (T_i, ...).

    Args:
        rows: Rows of the steps, one sequence after another.
        lengths: (N,) number of steps of each sequence.
    """
    divided = np.empty(len(lengths), dtype=object)
    divided[:] = np.split(rows, np.cumsum(lengths)[:-1])
    return divided


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions for N sequences, as `Model.prediction` returns them.

    Attributes:
        labels: (N,) predictions: for a classification the names of the most probable classes.
        probabilities: (N, K), see `Task.probabilities`.
        classes: (K,) what the columns of `probabilities` are called: class names.
        pictures: What the network saw, N arrays (height, width) or (height, width, 3) from 0 to 255; None if
            the sequences are not pictures.
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float64]
    classes: NDArray[Any]
    pictures: list[NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def _repr_html_(self) -> str:
        rows = "".join(self._row(index) for index in range(min(len(self), _SHOWN)))
        more = f"<p>and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        seen = "" if self.pictures is None else "<th>what was read</th>"
        head = f"<tr>{seen}<th>prediction</th><th>probabilities</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{more}"

    def _row(self, index: int) -> str:
        cells = []
        if self.pictures is not None:
            source = data_uri(self.pictures[index])
            style = "height:42px;image-rendering:pixelated"
            cells.append(f'<img src="{source}" alt="what was read" style="{style}">')
        probabilities = self.probabilities[index]
        cells.append(f"<b>{escape(str(self.labels[index]))}</b>")
        best = np.argsort(-probabilities, kind="stable")[:_NAMED]
        cells.append("<br>".join(f"{escape(str(self.classes[k]))}: {probabilities[k]:.4f}" for k in best))
        return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
