"""Figures as SVG for pages, as PNG, and as animated GIF."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from scanline.plots.style import INK, PAPER, styled, without_control_characters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LAST_FRAME_MS = 2500
_FONT = re.compile(r"(font: [\d.]+px|font-family:) '[^']*'(?:, [^;\"]*)?")


@styled
def to_svg(figure: Figure, title: str) -> str:
    """Return the figure as an <svg> element for an HTML page.

    Text stays text in the page's font, and everything drawn in `INK` takes the page's text
    colour, in `PAPER` its background (the custom property `--paper`, or white). Element
    ids are unique among all figures of a page.

    Args:
        figure: The figure.
        title: Text for screen readers (`aria-label`).
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    title = without_control_characters(title)
    # Ids must be unique on a page with several figures. Ids that nothing refers to are dropped: Matplotlib
    # gives two equal images the same id.
    prefix = hashlib.sha256((title + text).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:"#|\(#)([^")]+)', text))

    def rewrite(tag: re.Match[str]) -> str:
        rewritten = tag[0].replace(INK, "currentColor").replace(PAPER, "var(--paper, #ffffff)")
        rewritten = _FONT.sub(r"\1 system-ui, sans-serif", rewritten)
        rewritten = re.sub(r' id="([^"]*)"', lambda id_: id_[0] if id_[1] in used else "", rewritten)
        return re.sub(r'(\bid="|"#|\(#)', rf"\g<1>f{prefix}-", rewritten)

    text = re.sub(r"<[^>]*>", rewrite, text)  # tags only: a class may be called "(#1)"
    # Without width and height, the page scales the figure by its viewBox.
    head, rest = text.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(title, quote=True)}">{rest}'.strip()


@styled
def to_png(figure: Figure, dots_per_inch: int = 150) -> bytes:
    """Return the figure as a PNG file, dark on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch, facecolor="#ffffff")
    return file.getvalue()


@styled
def to_gif(frames: Sequence[Figure], frame_ms: int = 180) -> bytes:
    """Return figures as an animated GIF that pauses on its last frame.

    Args:
        frames: Figures of equal size.
        frame_ms: How long each frame but the last is shown, in milliseconds.
    """
    from PIL import Image

    # 80 dots per inch keep the animation small; PNG is only the way from Matplotlib to Pillow.
    pictures = [Image.open(io.BytesIO(to_png(frame, dots_per_inch=80))).convert("RGB") for frame in frames]
    # One palette for all frames, made from the last one, which has every colour. MAXCOVERAGE keeps white
    # white.
    palette = pictures[-1].quantize(255, method=Image.Quantize.MAXCOVERAGE)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    file = io.BytesIO()
    times = [frame_ms] * (len(indexed) - 1) + [_LAST_FRAME_MS]
    indexed[0].save(
        file, "GIF", save_all=True, append_images=indexed[1:], duration=times, loop=0, optimize=False
    )
    return file.getvalue()
