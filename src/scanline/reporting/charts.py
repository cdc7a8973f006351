"""The charts of a report, as SVG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scanline import plots
from scanline.reporting import figures
from scanline.reporting.facts import ReportFacts

if TYPE_CHECKING:
    from scanline.plots import Figure

MAX_CLASSES = 40  # that a chart or the confusion matrix shows


def unit(facts: dict[str, Any]) -> str:
    """Return what steps are called, in the plural: "rows" for pictures that are read by rows."""
    view = facts.get("view") or ""
    return view if view in ("rows", "columns", "pixels") else "steps"


def charts(facts: dict[str, Any]) -> dict[str, str]:
    """Return the charts as SVG, by name; a chart without data is left out."""
    test, along, history = facts.get("figures"), facts.get("along"), facts.get("course")
    wanted: dict[str, tuple[Callable[[], Figure], str]] = {}
    if history:
        title = f"Loss and accuracy over {history[-1]['step']:,} training steps"
        wanted["learning"] = (lambda: figures.learning_curve(history), title)
    if test:
        if len(test["classes"]) <= MAX_CLASSES:
            title = "Recall and precision of each class with 95 % intervals"
            wanted["classes"] = (lambda: figures.class_metrics(test["classes"]), title)
        title = f"Reliability diagram; calibration error {test['calibration']['error']:.4f}"
        wanted["reliability"] = (lambda: figures.reliability_diagram(test["calibration"]), title)
        title = f"Accuracy against coverage, down to {test['accuracy']:.4f} at full coverage"
        wanted["coverage"] = (lambda: figures.coverage_curve(test["coverage"]), title)
        if len(test["by_length"]) > 1:
            title = "Accuracy by sequence length"
            wanted["lengths"] = (lambda: figures.accuracy_by_length(test["by_length"]), title)
    if along and len(along["steps"]) > 1:
        title = f"Accuracy against {unit(facts)} read; {along['enough']} suffice"
        wanted["along"] = (lambda: figures.accuracy_by_step(along, unit(facts)), title)
    if "activity" in facts:
        title = "Saturation of each gate, and mean size of each unit's state"
        wanted["activity"] = (lambda: figures.gate_activity(facts["activity"]), title)
    return {name: plots.to_svg(draw(), title) for name, (draw, title) in wanted.items()}


def mistake_figures(report: ReportFacts) -> list[dict[str, Any]]:
    """Return the numbers of each of the most confident errors, with its figure as "svg"."""
    made = []
    pairs = zip(report.errors, report.explanations, strict=True)
    for number, (error, each) in enumerate(pairs, 1):
        true = [str(name) for name in each.trace.classes].index(error.true)
        drawn = plots.mistake(each.plot_data(), true)
        title = f"Error {number}: {error.true} classified as {error.answer}, {error.sequence}"
        made.append(asdict(error) | {"steps": len(each.values), "svg": plots.to_svg(drawn, title)})
    return made
