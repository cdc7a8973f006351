"""Every picture that is drawn, with Matplotlib: as SVG for pages, as PNG, and read-along films as GIF.

Lines and texts take the colour of the page they stand on: in SVG they are `currentColor`, so one picture
serves light and dark. Figures are as narrow as a telephone and grow with the page.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from scanline.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scanline.explanation.attribution import Attribution
    from scanline.explanation.trace import Trace

WIDTH = 3.7  # inches
WHOLE = 8.8  # of a whole explanation, which is no picture for a telephone
PARTS = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate",
    "o": "output gate",
    "c": "cell",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate",
    "h": "state",
}
_INK = "#010203"  # stands for the page's own colour in SVG, and is drawn nowhere else; near black elsewhere
BLUE, ORANGE, GREY = "#3c82c8", "#d9822b", "#8a8f98"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "scanline",
    "text.parse_math": False,  # a dollar sign in a class name is one
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
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlesize": 9.0,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
}


P = ParamSpec("P")
R = TypeVar("R")


def _styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Runs `draw` with our style; raises MissingExtraError naming the extra where Matplotlib is absent."""

    @wraps(draw)
    def styled(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            from matplotlib import rc_context
        except ImportError:
            raise MissingExtraError("plotting", ["matplotlib"], "report") from None
        with rc_context(_STYLE), warnings.catch_warnings():
            # A class name in Chinese is an empty box in a PNG; in SVG the page has letters for it.
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            return draw(*arguments, **options)

    return styled


def _figure(
    height: float,
    rows: int = 1,
    columns: int = 1,
    width: float = WIDTH,
    layout: Literal["constrained"] | None = "constrained",
    **options: Any,
) -> Figure:
    """A figure with axes, drawn in `_INK` on nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    figure.subplots(rows, columns, **options)
    return figure


@_styled
def to_svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element for a page, which says `title` to who cannot see it.

    title: for readers of the page, who may meet several figures.
    """
    from html import escape

    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    title = _plain(title)
    # On a page with several figures every name must be one figure's alone. Names that nobody uses go: of two
    # alike images both have the same.
    own = hashlib.sha256((title + text).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:"#|\(#)([^")]+)', text))

    def fit(tag: re.Match[str]) -> str:
        fitted = tag[0].replace(_INK, "currentColor")
        fitted = re.sub(
            r"(font: [\d.]+px|font-family:) '[^']*'(?:, [^;\"]*)?", r"\1 system-ui, sans-serif", fitted
        )
        fitted = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in used else "", fitted)
        return re.sub(r'(\bid="|"#|\(#)', rf"\g<1>f{own}-", fitted)

    text = re.sub(r"<[^>]*>", fit, text)  # tags alone: a class may be called "(#1)"
    head, rest = text.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    label = escape(title, quote=True)
    return f'{head} role="img" aria-label="{label}">{rest}'.strip()


@_styled
def to_png(figure: Figure, dots_per_inch: int = 150) -> bytes:
    """The figure as a PNG, dark on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch, facecolor="#ffffff")
    return file.getvalue()


# --- training and judging


@_styled
def learning_curve(course: Sequence[dict[str, Any]]) -> Figure:
    """Loss of the training batches and of the validation part, and accuracy, against the step.

    course: the lines of metrics.jsonl.
    """
    logged = [entry for entry in course if entry["event"] == "logged"]
    judged = [entry for entry in course if entry.get("part") == "validation"]
    figure = _figure(3.6, 2, 1, sharex=True)
    loss, accuracy = figure.axes
    steps, losses = [e["step"] for e in logged], [e["loss"] for e in logged]
    loss.plot(steps, losses, color=GREY, lw=0.9, label="training batch")
    if judged:
        steps, losses = [e["step"] for e in judged], [e["loss"] for e in judged]
        loss.plot(steps, losses, "o-", ms=3, color=BLUE, label="validation")
    loss.set_ylabel("cross-entropy")
    positive = [e["loss"] for e in logged + judged if e["loss"] > 0]
    if positive and max(positive) > 30 * min(positive):
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    accuracy.plot([e["step"] for e in logged], [e["accuracy"] for e in logged], color=GREY, lw=0.9)
    accuracy.plot([e["step"] for e in judged], [e["accuracy"] for e in judged], "o-", ms=3, color=BLUE)
    accuracy.set_ylabel("accuracy")
    accuracy.set_xlabel("step")
    _legend(loss)
    return figure


@_styled
def class_figures(classes: Sequence[dict[str, Any]]) -> Figure:
    """Recall and precision of each class with their 95 % intervals. classes: as `judge` gives them."""
    figure = _figure(0.8 + 0.27 * len(classes))
    (axes,) = figure.axes
    for shift, kind, colour in ((-0.14, "recall", BLUE), (0.14, "precision", ORANGE)):
        known = [(row, entry) for row, entry in enumerate(classes) if entry[kind] is not None]
        places = [row + shift for row, _ in known]
        lows, highs = ([entry[f"{kind}_ci95"][end] for _, entry in known] for end in (0, 1))
        axes.hlines(places, lows, highs, color=colour, lw=1.4)
        axes.plot([entry[kind] for _, entry in known], places, "o", ms=4, color=colour, label=kind)
    axes.set_yticks(range(len(classes)), [_short(str(entry["class"])) for entry in classes])
    axes.invert_yaxis()
    axes.set_xlabel("share, with its 95 % interval")
    axes.set_xlim(right=1.005)
    _legend(axes, loc="lower right", ncols=2, bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return figure


@_styled
def reliability_diagram(calibration: dict[str, Any]) -> Figure:
    """Accuracy of the answers against the probability they were given with, and how many there are."""
    bins = calibration["bins"]
    figure = _figure(3.6, 2, 1, sharex=True, height_ratios=[3, 1])
    axes, counts = figure.axes
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="as it should be")
    widths = [entry["high"] - entry["low"] for entry in bins]
    lows = [entry["low"] for entry in bins]
    axes.bar(lows, [e["accuracy"] for e in bins], widths, align="edge", color=BLUE, alpha=0.45)
    confidence, right = [e["confidence"] for e in bins], [e["accuracy"] for e in bins]
    axes.plot(confidence, right, "o", ms=3.5, color=BLUE, label="as it is")
    axes.set_ylabel("share right")
    axes.set_ylim(0, 1.02)
    counts.bar(lows, [e["n"] for e in bins], widths, align="edge", color=GREY)
    counts.set_yscale("log")
    counts.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    counts.set_ylabel("answers")
    counts.set_xlabel("probability of the answer")
    counts.set_xlim(0, 1)
    _legend(axes, loc="upper left")
    return figure


@_styled
def coverage_curve(coverage: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy on the share of the sequences that the network is surest of."""
    figure = _figure(2.4)
    (axes,) = figure.axes
    axes.plot([e["coverage"] for e in coverage], [e["accuracy"] for e in coverage], "o-", ms=3, color=BLUE)
    axes.set_xlabel("share that is answered, the surest first")
    axes.set_ylabel("accuracy")
    axes.set_xlim(0, 1.02)
    return figure


@_styled
def accuracy_by_length(groups: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy of groups of sequences of alike lengths, with 95 % intervals."""
    figure = _figure(2.4)
    (axes,) = figure.axes
    places = range(len(groups))
    values = np.array([entry["accuracy"] for entry in groups])
    ends = np.array([entry["ci95"] for entry in groups])
    axes.vlines(places, ends[:, 0], ends[:, 1], color=BLUE, lw=1.4)
    axes.plot(places, values, "o", ms=4, color=BLUE)
    names = [str(e["from"]) if e["from"] == e["to"] else f"{e['from']}-{e['to']}" for e in groups]
    axes.set_xticks(list(places), names)
    axes.set_xlabel("steps")
    axes.set_ylabel("accuracy")
    return figure


@_styled
def accuracy_along(along: dict[str, Any], unit: str = "steps") -> Figure:
    """Accuracy against the steps read, and where it is as good as at the end. along: from `read_along`."""
    steps = along["steps"]
    figure = _figure(2.7)
    (axes,) = figure.axes
    x = [entry["step"] for entry in steps]
    axes.fill_between(
        x, [e["ci95"][0] for e in steps], [e["ci95"][1] for e in steps], color=BLUE, alpha=0.2, lw=0
    )
    axes.plot(x, [entry["accuracy"] for entry in steps], color=BLUE, lw=1.6)
    axes.axvline(along["enough"], color=ORANGE, lw=1, ls="--")
    left = along["enough"] <= len(steps) / 2
    axes.annotate(
        f"{along['enough']} {'is' if along['enough'] == 1 else 'are'} enough",
        (along["enough"], 0.06),
        xytext=(4 if left else -4, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        fontsize=8.5,
    )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=1)
    axes.set_xlabel(f"{unit} read")
    axes.set_ylabel("accuracy")
    return figure


@_styled
def gate_activity(activity: dict[str, Any]) -> Figure:
    """For each gate how often it is nearly shut, between, or nearly open; for each unit its mean size of
    state."""
    gates, states = activity["gates"], activity["states"]
    figure = _figure(1.6 + 0.25 * max(len(gates), 1) + 1.6, 2, 1, height_ratios=[max(len(gates), 1), 4])
    bars, units = figure.axes
    names = [entry["name"] for entry in gates]
    left = np.zeros(len(gates))
    for kind, colour, alpha in (("shut", GREY, 0.9), ("between", BLUE, 0.35), ("open", BLUE, 1.0)):
        values = np.array([entry[kind] for entry in gates])
        bars.barh(range(len(gates)), values, left=left, color=colour, alpha=alpha, label=kind)
        left = left + values
    bars.set_yticks(range(len(gates)), names)
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xlabel("share of all steps and units")
    bars.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    for entry, colour in zip(states, (BLUE, ORANGE, GREY, "#5aa469"), strict=False):
        units.plot(sorted(entry["mean_size"], reverse=True), lw=1.3, color=colour, label=entry["name"])
    units.set_xlabel("units, the busiest first")
    units.set_ylabel("mean |state|")
    units.set_ylim(bottom=0)
    _legend(units)
    return figure


# --- one sequence


@_styled
def mistake(
    trace: Trace,
    picture: NDArray[Any] | None,
    values: NDArray[Any],
    attribution: Attribution,
    seen: NDArray[Any] | None,
    true: int,
) -> Figure:
    """In a small space: what was read, what spoke for the answer, and how sure it was after each step of its
    answer and of the class that it should have been.

    picture, values, seen: as for `explanation`. true: index of the class.
    """
    figure = _figure(1.35, 1, 3, width_ratios=[1, 1, 1.9])
    what, why, when = figure.axes
    _draw_input(what, picture, values, None)
    _draw_attribution(why, attribution, seen, trace)
    what.set_title("read", fontsize=8)
    why.set_title("for and against", fontsize=8)
    for axes in (what, why):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("")
        axes.set_ylabel("")
    steps = np.arange(1, len(trace.probabilities) + 1)
    for index, colour, style in ((trace.answer, BLUE, "-"), (true, ORANGE, "--")):
        label = _short(str(trace.classes[index]), 10)
        style += _dot(steps)
        when.plot(steps, trace.probabilities[:, index], style, ms=4, color=colour, lw=1.5, label=label)
    when.set_ylim(-0.03, 1.03)
    when.set_yticks([0, 1])
    when.set_xlim(1, max(len(steps), 2))
    when.set_title("probability, step by step", fontsize=8)
    when.tick_params(labelsize=7.5)
    _legend(when, loc="upper left", fontsize=7.5, borderpad=0, handlelength=1.4)
    return figure


@_styled
def explanation(
    trace: Trace,
    picture: NDArray[Any] | None,
    values: NDArray[Any],
    attribution: Attribution | None = None,
    seen: NDArray[Any] | None = None,
    upto: int | None = None,
) -> Figure:
    """One sequence as the network read it: its values, the answer after each step, and every gate and state.

    picture: (height, width) or (height, width, 3) to show, or None. values: (T, F), shown as lines where
    there is no picture. seen: the attribution in the picture's place, (height, width). upto: only so many
    steps are read yet; the rest is left out.
    """
    parts = [(each.title, name, each.parts[name]) for each in trace.directions for name in each.parts]
    single = len(trace.directions) == 1
    rows = 2 + -(-len(parts) // 2)
    heights = [1.9, 1.6, *[1.25] * (rows - 2)]
    total = sum(heights) + 0.62 * rows  # inches, with room for titles and ticks
    # No layout engine: the same places in every frame of a film, and a quarter of the time.
    figure = _figure(total, rows, 2, width=WHOLE, layout=None, height_ratios=heights)
    figure.subplots_adjust(
        left=0.07,
        right=0.935,
        top=1 - 0.3 / total,
        bottom=0.42 / total,
        wspace=0.3,
        hspace=0.62 * rows / sum(heights),
    )
    axes = np.array(figure.axes).reshape(rows, 2)
    T = len(trace.probabilities)
    shown = T if upto is None else upto
    _draw_input(axes[0, 0], picture, values, shown if upto is not None else None)
    _draw_attribution(axes[0, 1], attribution, seen, trace)
    lines, heat = axes[1]
    _draw_probabilities(lines, heat, trace, shown)
    for place, (title, name, part) in zip(axes[2:].reshape(-1), parts, strict=False):
        signed = name in ("g", "n", "c", "h")
        limit = max(1.0, float(np.abs(part).max())) if signed else 1.0
        image = np.full(part.T.shape, np.nan)
        image[:, :shown] = part[:shown].T[np.argsort(-part.mean(0), kind="stable")]
        drawn = place.imshow(
            image,
            aspect="auto",
            cmap="PuOr" if signed else "viridis",
            vmin=-limit if signed else 0,
            vmax=limit,
            interpolation="nearest",
            extent=(0.5, T + 0.5, part.shape[1] + 0.5, 0.5),
        )
        place.set_title(f"{PARTS[name]} {name}" + ("" if single else f", {title}"))
        place.set_ylabel("units, sorted")
        place.set_yticks([])
        place.grid(False)
        bar = figure.colorbar(drawn, cax=place.inset_axes((1.015, 0, 0.022, 1)))
        bar.set_ticks([-limit, 0, limit] if signed else [0, 1], labels=_ends(limit, signed))
        bar.outline.set_visible(False)
        _unframed(place)
    for place in axes[2:].reshape(-1)[len(parts) :]:
        place.set_axis_off()
    for place in axes[-1]:
        place.set_xlabel("step")
    return figure


def _ends(limit: float, signed: bool) -> list[str]:
    return [f"{-limit:.3g}", "0", f"{limit:.3g}"] if signed else ["0", "1"]


def _unframed(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_input(axes: Axes, picture: NDArray[Any] | None, values: NDArray[Any], upto: int | None) -> None:
    axes.grid(False)
    if picture is not None:
        shown = picture if picture.ndim == 3 else np.ma.masked_invalid(picture.astype(float))
        axes.imshow(shown, cmap="gray", interpolation="nearest", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("what is read")
        _unframed(axes)
        return
    steps = np.arange(1, len(values) + 1)
    for index in range(min(values.shape[1], 12)):
        axes.plot(steps[:upto], values[:upto, index], _dot(steps[:upto]), ms=3, lw=1, alpha=0.8)
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.locator_params(axis="x", integer=True)
    axes.set_title("what is read" + (", 12 of its features" if values.shape[1] > 12 else ""))


def _draw_attribution(
    axes: Axes, attribution: Attribution | None, seen: NDArray[Any] | None, trace: Trace
) -> None:
    axes.grid(False)
    if attribution is None:
        axes.set_axis_off()
        return
    image = attribution.values.T if seen is None else seen
    limit = float(np.abs(image).max()) or 1.0
    axes.imshow(
        image,
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        aspect="auto" if seen is None else "equal",
    )
    name = _short(str(trace.classes[attribution.target]))
    axes.set_title(f"what speaks for {name} (blue) and against (red)")
    axes.set_xticks([])
    axes.set_yticks([])
    _unframed(axes)
    if seen is None:
        axes.set_xlabel("step")
        axes.set_ylabel("features")


def _draw_probabilities(lines: Axes, heat: Axes, trace: Trace, shown: int) -> None:
    shares = trace.probabilities
    T, K = shares.shape
    steps = np.arange(1, T + 1)
    top = np.argsort(-shares.max(0), kind="stable")[:4]
    top = top if trace.answer in top else np.append(top[:3], trace.answer)
    colours = {trace.answer: BLUE}
    for index, colour in zip([k for k in top if k != trace.answer], (ORANGE, GREY, "#5aa469"), strict=False):
        colours[int(index)] = colour
    for index, colour in colours.items():
        label = _short(str(trace.classes[index]))
        lines.plot(
            steps[:shown], shares[:shown, index], _dot(steps[:shown]), ms=4, lw=1.6, color=colour, label=label
        )
    late = trace.settled > T / 2
    if shown == T:
        lines.axvline(trace.settled, color=_INK, lw=0.8, ls=":")
        above: dict[str, Any] = {
            "xytext": (0, 3),
            "textcoords": "offset points",
            "ha": "center",
            "va": "bottom",
        }
        lines.annotate("settled", (trace.settled, 1.02), fontsize=8, **above)
    lines.set_xlim(0.5, T + 0.5)
    lines.locator_params(axis="x", integer=True)
    lines.set_ylim(-0.02, 1.02)
    lines.set_ylabel("probability if it ended here")
    side = ("left", 0) if late else ("right", 1)  # where "settled" is not
    corner: dict[str, Any] = {"loc": f"lower {side[0]}", "bbox_to_anchor": (side[1], 1)}
    _legend(lines, ncols=4, borderaxespad=0.2, handlelength=1.2, columnspacing=1.2, **corner)
    image = np.full((K, T), np.nan)
    image[:, :shown] = shares[:shown].T
    heat.imshow(
        image,
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0.5, T + 0.5, K - 0.5, -0.5),
    )
    if K <= 20:
        heat.set_yticks(range(K), [_short(str(name)) for name in trace.classes])
    _unframed(heat)
    heat.set_title("probability of each class")
    heat.grid(False)


@_styled
def film(frames: Sequence[Figure], milliseconds: int = 180) -> bytes:
    """Figures as an animated GIF that stays on its last one for a while."""
    from PIL import Image

    pictures = [Image.open(io.BytesIO(to_png(frame, dots_per_inch=80))).convert("RGB") for frame in frames]
    # One palette for all, made of the last frame, which has every colour.
    palette = pictures[-1].quantize(255, method=Image.Quantize.MAXCOVERAGE)  # which keeps white white
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    file = io.BytesIO()
    times = [milliseconds] * (len(small) - 1) + [2500]
    small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=times, loop=0, optimize=False)
    return file.getvalue()


def _dot(places: Sequence[Any] | NDArray[Any]) -> str:
    """What a line is drawn with besides: a line through a single point would not be seen."""
    return "o" if len(places) == 1 else ""


def _legend(axes: Axes, **options: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(labelcolor=_INK, **options)


def _plain(text: str) -> str:
    """`text` without the characters that XML has no place for."""
    return re.sub(
        "[^\t\n\r -\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text
    )


def _short(name: str, most: int = 14) -> str:
    """A class name for an axis."""
    name = _plain(" ".join(name.split()))
    return name if len(name) <= most else f"{name[: most - 1]}…"
