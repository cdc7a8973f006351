"""The HTML page of a report, rendered by Jinja2 from text, charts and tables."""

from __future__ import annotations

import shlex
from typing import Any

import tomli_w

from scanline import cells
from scanline.metrics.classification import ClassificationMetrics
from scanline.metrics.regression import RegressionMetrics
from scanline.metrics.step_numbers import StepNumberMetrics
from scanline.reporting.charts import charts, mistake_figures, unit
from scanline.reporting.confusion import CellExamples, cell_examples, confusion_matrix
from scanline.reporting.facts import ReportFacts
from scanline.reporting.figures import loss_name
from scanline.reporting.findings import findings
from scanline.reporting.tables import MAX_DISAGREEMENTS, Table, tables
from scanline.reporting.templates import resource, template_environment
from scanline.training.run_files import EvaluatedLine
from scanline.version import __version__


def render(report: ReportFacts, numbers: str) -> str:
    """Return the HTML of a report.

    Args:
        report: What the report shows.
        numbers: Name of the JSON file beside the page.

    Raises:
        MissingExtraError: If Jinja2 or Matplotlib is not installed.
    """
    page = template_environment().get_template("page.html")
    facts: dict[str, Any] = report.to_json()
    metrics = report.metrics if isinstance(report.metrics, ClassificationMetrics) else None
    matrix = confusion_matrix(metrics) if metrics else None
    filled: list[CellExamples] = []
    if report.evaluation and report.loaded and matrix:
        filled = cell_examples(report.evaluation, report.loaded, matrix)
    text = page.render(
        facts=facts,
        figures=facts["figures"] if metrics else None,
        regression=report.metrics if isinstance(report.metrics, RegressionMetrics) else None,
        numbers_of_steps=isinstance(report.metrics, StepNumberMetrics),
        unit=unit(report),
        network=_network(report) if report.model else None,
        title=f"{report.run}: {report.model.data if report.model else 'no model yet'}",
        style=resource("page.css"),
        findings=findings(report),
        charts=charts(report),
        tables=tables(report),
        task_tables=[Table(each.caption, each.heads, each.rows) for each in report.task_tables],
        learning_caption=_learning_caption(report),
        mistakes=mistake_figures(report),
        best=_best_validation(report),
        matrix=matrix,
        cells=filled,
        linked={(cell.row, cell.column) for cell in filled},
        max_disagreements=MAX_DISAGREEMENTS,
        recipe=tomli_w.dumps(report.files.recipe) if report.files else None,
        command=_command(report),
        numbers=numbers,
        version=__version__,
    )
    return text.strip() + "\n"


def _network(report: ReportFacts) -> str:
    """Return a network as text, for example "LSTM, 2 layers of 64 units, bidirectional"."""
    network = report.model.architecture if report.model else None
    if network is None:
        return f"Ensemble of {len(report.loaded.models)} models" if report.loaded else "Ensemble"
    title = cells.get(network.cell).title
    layers = "1 layer" if network.layers == 1 else f"{network.layers} layers"
    directions = ", bidirectional" if network.bidirectional else ""
    dense = f", {network.dense_text}".rstrip(", ")
    return f"{title}, {layers} of {network.hidden_size} units{directions}{dense}"


def _best_validation(report: ReportFacts) -> EvaluatedLine | None:
    """Return the validation with the highest score, or None if there was none."""
    lines = report.files.history if report.files else []
    validations = [line for line in lines if isinstance(line, EvaluatedLine) and line.part == "validation"]
    return max(validations, key=lambda line: line.value, default=None)


def _learning_caption(report: ReportFacts) -> str:
    """Return the caption of the learning curve."""
    lines = report.files.history if report.files else []
    score = lines[0].score_name if lines else "accuracy"
    return (
        f"{loss_name(score).capitalize()} and {score} of the training batch at each logged step, and of the "
        "validation split."
    )


def _command(report: ReportFacts) -> str | None:
    """Return the command that reproduces the run, or None if its recipe is unknown."""
    if report.files is None:
        return None
    recipe = f"{report.run}/recipe.toml"
    data = report.files.recipe.get("data")
    # A run trained on arrays has no data that a command could name.
    if not (isinstance(data, dict) and data.get("name")):
        return f"scanline.train(scanline.Arrays(values, labels), recipe={recipe!r})  # the same arrays"
    return f"scanline train --recipe {shlex.quote(recipe)}"
