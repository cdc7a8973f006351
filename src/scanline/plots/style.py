"""The common style of all plots: colours, fonts, sizes, labels.

Lines and text are drawn in `INK`, which `to_svg` replaces by `currentColor`, and `PAPER` by the page's
background, so that one SVG serves light and dark pages. Figures are as narrow as a phone's screen and scale
with the page.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from numpy.typing import NDArray

from scanline.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.7  # inches
# A colour that nothing else is drawn in, so that it can be replaced in SVG; near black in PNG.
INK = "#010203"
# The same for the page's background, behind labels that lines cross; near white in PNG.
PAPER = "#fdfefc"
BLUE, ORANGE, GREY, GREEN = "#3c82c8", "#d9822b", "#8a8f98", "#5aa469"

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "scanline",  # the same figure gives the same bytes
    "text.parse_math": False,  # a class name may contain dollar signs
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 9.0,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
}
# Characters that XML 1.0 does not allow: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r -\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Return `draw`, run with Scanline's style and without changing Matplotlib's global settings.

    Args:
        draw: A function that uses Matplotlib.

    Returns:
        The wrapped function. It raises MissingExtraError if Matplotlib is not installed.
    """

    @wraps(draw)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            from matplotlib import rc_context
        except ImportError:
            raise MissingExtraError("plotting", ["matplotlib"], "report") from None
        # Restored on exit: the settings of a notebook or an application are left as they were.
        with rc_context(_STYLE), warnings.catch_warnings():
            # A PNG shows boxes for scripts that the font lacks; in SVG the browser has the glyphs.
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            return draw(*arguments, **options)

    return wrapped


def new_figure(
    height: float,
    rows: int = 1,
    columns: int = 1,
    width: float = WIDTH,
    layout: Literal["constrained"] | None = "constrained",
    **options: Any,
) -> Figure:
    """Return a figure with `rows` x `columns` axes.

    Args:
        height: In inches.
        rows: Rows of axes.
        columns: Columns of axes.
        width: In inches.
        layout: Matplotlib's layout engine, or None for fixed positions.
        options: Passed to `Figure.subplots`.

    Returns:
        The figure; its background is transparent.
    """
    from matplotlib.figure import Figure

    # Not `pyplot.figure`: pyplot keeps a global reference to every figure and selects a GUI backend.
    figure = Figure(figsize=(width, height), layout=layout)
    figure.subplots(rows, columns, **options)
    return figure


def hide_frame(axes: Axes) -> None:
    """Hide the four lines around the axes."""
    for spine in axes.spines.values():
        spine.set_visible(False)


def add_legend(axes: Axes, **options: Any) -> None:
    """Add a legend if anything in the axes has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(labelcolor=INK, **options)


def marker_for(points: Sequence[Any] | NDArray[Any]) -> str:
    """Return a marker for a line through `points`; a line through one point would be invisible without."""
    return "o" if len(points) == 1 else ""


def without_control_characters(text: str) -> str:
    """Return `text` with characters that XML does not allow replaced by U+FFFD."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def short_label(name: str, limit: int = 14) -> str:
    """Return a class name for an axis or a legend, on one line and at most `limit` characters long."""
    name = without_control_characters(" ".join(name.split()))
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
