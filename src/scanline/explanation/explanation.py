"""An explanation of one prediction: its trace and attributions, as text, numbers and a figure."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline import cells, plots
from scanline.data.source import ClassName
from scanline.data.transforms.views import View
from scanline.explanation.attribution import Attribution
from scanline.explanation.plot_data import picture_so_far, sequence_data
from scanline.explanation.trace import Trace

if TYPE_CHECKING:
    from scanline.plots import Figure, SequenceData


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model made a prediction for one sequence of T steps.

    Attributes:
        name: Name of the sequence.
        trace: Probabilities after each step, gates and states.
        attribution: How much each value contributed to the logit of the predicted class.
        values: (T, F), the network's steps.
        picture: (height, width) or (height, width, 3) if the sequence is a picture, else None.
        pixel_attribution: (height, width), the attribution in the picture's place, or None.
        cell: Name of the network's cell.
        view: How the picture is cut into steps, or None.
        true: Name of the true class, or None if it is unknown.
        tokens: Token of each step of a text, empty for other sequences.
    """

    name: str
    trace: Trace
    attribution: Attribution
    values: NDArray[Any]
    picture: NDArray[np.uint8] | None
    pixel_attribution: NDArray[np.float64] | None
    cell: str
    view: View | None = None
    true: ClassName | None = None
    tokens: tuple[str, ...] = ()

    @property
    def label(self) -> ClassName | float:
        """The prediction: for a classification the name of a class."""
        return self.trace.label

    def to_json(self) -> dict[str, Any]:
        """Return every number, ready for JSON."""
        attribution = self.attribution
        return {
            "sequence": self.name,
            "true": self.true,
            **self.trace.to_json(),
            "attribution": {
                "of": self.trace.classes[attribution.target],
                "values": attribution.values.tolist(),
                "sum": float(attribution.values.sum()),
                "difference_of_logits": attribution.difference,
                "error": attribution.error,
            },
            "values": np.asarray(self.values, np.float64).tolist(),
        } | ({"tokens": list(self.tokens)} if self.tokens else {})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every number as named arrays, for an .npz file."""
        return {
            **self.trace.arrays(),
            "attribution": self.attribution.values,
            "values": self.values,
            "classes": np.array([str(name) for name in self.trace.classes]),
        }

    def lines(self) -> list[str]:
        """Return a summary in two lines."""
        trace, steps = self.trace, len(self.trace.probabilities)
        unit = "step" if self.view is None else self.view.unit
        probability = trace.probabilities[-1, trace.prediction]
        prediction = f"{self.name}: {self.label}"
        prediction += "" if trace.predicts_numbers else f" ({probability:.4f})"
        if self.true is not None and trace.predicts_numbers:
            prediction += f"; the target is {self.true}"
        elif self.true is not None:
            correct = str(self.true) == str(self.label)
            prediction += ", correct" if correct else f", wrong: the true class is {self.true}"
        changes = {0: "never changed", 1: "changed once"}.get(trace.changes, f"changed {trace.changes} times")
        return [
            prediction,
            f"  first predicted after {unit} {trace.first_reached}, settled from {unit} {trace.settled} "
            f"of {steps}; the prediction {changes}",
        ]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(T,) contribution of each step to the predicted class, from -1 to 1: 1 is the largest magnitude."""
        sums: NDArray[np.float64] = self.attribution.values.sum(1)
        return sums / (float(np.abs(sums).max()) or 1.0)

    def _marked_tokens(self) -> str:
        """Return the tokens of a text as HTML: blue ones are for the predicted class, red ones against it."""
        if not self.tokens:
            return ""
        spans = []
        for token, share in zip(self.tokens, self.shares, strict=True):
            colour = "33,102,172" if share > 0 else "178,24,43"
            style = f"background:rgba({colour},{0.6 * abs(share):.2f});padding:.1em .15em;border-radius:3px"
            spans.append(f'<span style="{style}">{escape(token)}</span>')
        between = " " if any(len(token) > 1 for token in self.tokens) else ""
        return f'<p style="white-space:pre-wrap;line-height:1.8">{between.join(spans)}</p>'

    def plot_data(self, upto: int | None = None) -> SequenceData:
        """Return the numbers of the figure, or of its frame after `upto` steps, counted from 1."""
        cell = cells.get(self.cell)
        if upto is None:
            return sequence_data(
                self.trace,
                cell,
                self.values,
                self.picture,
                self.attribution,
                self.pixel_attribution,
                self.tokens,
            )
        T, F = self.values.shape
        picture = None
        if self.picture is not None and self.view is not None:
            picture = picture_so_far(self.picture, self.view, (T, F), upto)
        # The attribution depends on all steps, so no frame shows it.
        return sequence_data(self.trace, cell, self.values, picture, None, None, self.tokens)

    def figure(self, upto: int | None = None) -> Figure:
        """Return the explanation as a Matplotlib figure.

        Args:
            upto: Show only the first `upto` steps; None shows all.

        Raises:
            MissingExtraError: If Matplotlib is not installed.
        """
        return plots.explanation(self.plot_data(upto), upto)

    def _repr_html_(self) -> str:
        """For notebooks: the summary, and the figure if Matplotlib is installed."""
        summary = "<br>".join(escape(line.strip()) for line in self.lines())
        if importlib.util.find_spec("matplotlib") is None:
            return f"<p>{summary}</p>{self._marked_tokens()}"
        drawn = plots.to_svg(self.figure(), f"Explanation of {self.name}")
        return f'<div style="max-width:60em"><p>{summary}</p>{self._marked_tokens()}{drawn}</div>'
