"""How a run shows itself in a notebook."""

from __future__ import annotations

import importlib.util
from html import escape
from pathlib import Path
from typing import Any

from scanline import plots
from scanline.training.run_directory import training_history


def run_html(path: Path, result: dict[str, Any]) -> str:
    """The verdict on a run, and how it learnt where Matplotlib is there.

    path: the run folder. result: what its result.json holds.
    """
    training = result["training"]
    told = [f"<b>{escape(result['recipe'])}</b> on {escape(result['data'])}, {escape(training['status'])}"]
    for part in ("test", "validation"):
        figures = result.get(part)
        if figures:
            low, high = (f"{100 * end:.2f}" for end in figures["ci95"])
            right = f"{figures['correct']:,} of {figures['n']:,} right"
            accuracy = f"<b>{100 * figures['accuracy']:.2f} %</b>"
            told.append(f"{part}: {right}, {accuracy} (95 % interval {low} to {high} %)")
    told.append(f"{training['steps']:,} steps in {training['seconds']:.1f} s; {escape(str(path))}")
    words = "".join(f"<div>{line}</div>" for line in told)
    course = training_history(path / "metrics.jsonl")
    if not course or importlib.util.find_spec("matplotlib") is None:
        return words
    drawn = plots.to_svg(plots.learning_curve(course), f"How {path} learnt")
    return f'{words}<div style="max-width:28em">{drawn}</div>'
