"""A text as it is read: its tokens, on colours of their attributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scanline.plots.style import hide_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS, _ROWS = 52, 10  # characters and lines that fit
_UNREAD = "#8a8f98"
_STRONGEST = 0.6  # opacity behind the token of the largest attribution, so that text stays readable


def draw_tokens(
    axes: Axes, tokens: Sequence[str], shares: NDArray[np.float64] | None, upto: int | None
) -> None:
    """Draw tokens in lines, as many as fit.

    Args:
        axes: Where to draw.
        tokens: The T tokens.
        shares: (T,) attributions to the predicted class, or None: without colours.
        upto: Number of tokens read; the others are grey. None: all.
    """
    read = len(tokens) if upto is None else upto
    largest = 1.0 if shares is None else float(np.abs(shares).max()) or 1.0
    for index, (token, row, column) in enumerate(zip(tokens, *_places(tokens), strict=False)):
        # U+2028 and others would break the line within a token.
        shown = token if token.isprintable() else ascii(token)[1:-1]
        share = 0.0 if shares is None else float(shares[index]) / largest
        behind = {"facecolor": "#2166ac" if share > 0 else "#b2182b", "alpha": abs(share) * _STRONGEST}
        axes.text(
            column / _COLUMNS,
            1 - (row + 0.5) / _ROWS,
            shown.replace("$", r"\$"),
            ha="left",
            va="center",
            fontsize=8,
            family="monospace",
            color=_UNREAD if index >= read else None,
            bbox={"edgecolor": "none", "pad": 1.2, **behind},
            transform=axes.transAxes,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("input")
    hide_frame(axes)


def _places(tokens: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the lines and columns of the tokens that fit; single characters have no blanks between them."""
    gap = 1 if any(len(token) > 1 for token in tokens) else 0
    rows, columns, row, column = [], [], 0, 0
    for token in tokens:
        if column and column + len(token) > _COLUMNS:
            row, column = row + 1, 0
        if row >= _ROWS:
            break
        rows.append(row)
        columns.append(column)
        column += len(token) + gap
    return rows, columns
