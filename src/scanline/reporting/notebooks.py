"""A run as HTML for notebooks."""

from __future__ import annotations

import importlib.util
from html import escape
from pathlib import Path
from typing import Any

from scanline import plots
from scanline.reporting.figures import learning_curve
from scanline.training.run_files import read_metrics


def run_html(path: Path, result: dict[str, Any]) -> str:
    """Return the results of a run, and its learning curve if Matplotlib is installed.

    Args:
        path: Run directory.
        result: Content of its result.json.
    """
    training = result["training"]
    lines = [f"<b>{escape(result['recipe'])}</b> on {escape(result['data'])}, {escape(training['status'])}"]
    # Names and paths are untrusted and escaped; numbers need no escaping.
    for split in ("test", "validation"):
        metrics = result.get(split)
        if metrics and metrics.get("accuracy") is None:
            named = ", ".join(
                f"{escape(str(name))} <b>{value:.6g}</b>"
                for name, value in metrics.items()
                if isinstance(value, float)
            )
            lines.append(f"{split}: {named}, {metrics['n']:,} sequences")
        elif metrics:
            interval = "\N{EN DASH}".join(f"{100 * end:.2f}" for end in metrics["ci95"])
            lines.append(
                f"{split} accuracy <b>{100 * metrics['accuracy']:.2f} %</b> (95 % interval {interval} %), "
                f"{metrics['correct']:,} of {metrics['n']:,} correct"
            )
    lines.append(f"{training['steps']:,} steps in {training['seconds']:.1f} s; {escape(str(path))}")
    summary = "".join(f"<div>{line}</div>" for line in lines)
    history = read_metrics(path / "metrics.jsonl")
    if not history or importlib.util.find_spec("matplotlib") is None:
        return summary
    drawn = plots.to_svg(learning_curve(history), f"Learning curve of {path}")
    return f'{summary}<div style="max-width:28em">{drawn}</div>'
