"""The HTML page of a report, rendered by Jinja2 from text, charts and tables."""

from __future__ import annotations

import importlib.resources
import importlib.util
import shlex
from typing import Any

import tomli_w

from scanline import cells
from scanline.errors import MissingExtraError
from scanline.reporting.charts import charts, mistake_figures, unit
from scanline.reporting.confusion import cell_examples, confusion_matrix
from scanline.reporting.facts import ReportFacts
from scanline.reporting.findings import findings
from scanline.reporting.tables import MAX_DISAGREEMENTS, tables
from scanline.reporting.text import duration
from scanline.version import __version__


def render(report: ReportFacts, numbers: str) -> str:
    """Return the HTML of a report.

    Args:
        report: What the report shows.
        numbers: Name of the JSON file beside the page.

    Raises:
        MissingExtraError: If Jinja2 or Matplotlib is not installed.
    """
    check_installed()
    from jinja2 import Environment, StrictUndefined

    folder = importlib.resources.files("scanline.reporting")
    # Names of files and classes are untrusted text: everything is escaped except the charts' own SVG.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": lambda value: f"{value:,}", "duration": duration}
    page = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    facts: dict[str, Any] = report.to_json()
    figures = facts.get("figures")
    matrix = confusion_matrix(figures) if figures else None
    filled = []
    if report.evaluation and report.loaded and matrix:
        filled = cell_examples(report.evaluation, report.loaded, matrix)
    text = page.render(
        facts=facts,
        figures=figures,
        unit=unit(facts),
        network=_network(facts["network"]) if "network" in facts else None,
        title=f"{facts['run']}: {facts.get('data', 'no model yet')}",
        style=(folder / "page.css").read_text(encoding="utf-8"),
        findings=findings(facts),
        charts=charts(facts),
        tables=tables(facts),
        mistakes=mistake_figures(report),
        best=_best_validation(facts),
        matrix=matrix,
        cells=filled,
        linked={(cell["row"], cell["column"]) for cell in filled},
        max_disagreements=MAX_DISAGREEMENTS,
        recipe=tomli_w.dumps(facts["recipe"]) if "recipe" in facts else None,
        command=_command(facts),
        numbers=numbers,
        version=__version__,
    )
    return text.strip() + "\n"


def check_installed() -> None:
    """Raise MissingExtraError if a package is missing that a report needs."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("a report", missing, "report")


def _network(network: dict[str, Any]) -> str:
    """Return a network as text, for example "LSTM, 2 layers of 64 units, bidirectional"."""
    layers, units = network["layers"], network["hidden_size"]
    title = cells.get(network["cell"]).title
    directions = ", bidirectional" if network["bidirectional"] else ""
    return f"{title}, {layers} {'layer' if layers == 1 else 'layers'} of {units} units{directions}"


def _best_validation(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the validation with the highest accuracy, or None if there was none."""
    validations = [each for each in facts.get("course", []) if each.get("part") == "validation"]
    return max(validations, key=lambda each: each["accuracy"], default=None)


def _command(facts: dict[str, Any]) -> str | None:
    """Return the command that reproduces the run, or None if its recipe is unknown."""
    if "recipe" not in facts:
        return None
    recipe = f"{facts['run']}/recipe.toml"
    if not facts["recipe"].get("data", {}).get("name"):
        return f"scanline.train(scanline.Arrays(values, labels), recipe={recipe!r})  # the same arrays"
    return f"scanline train --recipe {shlex.quote(recipe)}"
