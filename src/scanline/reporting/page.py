"""The page: words, charts and tables out of a story, put together by Jinja2."""

from __future__ import annotations

import importlib.resources
import importlib.util
import shlex
from typing import Any

import tomli_w

from scanline.errors import MissingExtraError
from scanline.reporting.charts import MOST_DISAGREEMENTS, charts, duration, strips, tables, unit
from scanline.reporting.gather import Story
from scanline.reporting.sheets import confusion_matrix, frequent_mistakes, sheets
from scanline.version import __version__


def render(story: Story, twin: str) -> str:
    """The HTML of a report. twin: the name of the JSON file beside it.

    Raises MissingExtraError naming what has to be installed.
    """
    check_installed()
    from jinja2 import Environment, StrictUndefined

    folder = importlib.resources.files("scanline.reporting")
    # Whatever a file or a class is called is text: everything is escaped but the charts' own SVG.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": lambda value: f"{value:,}", "duration": duration}
    page = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    facts, figures = story.facts, story.facts.get("figures")
    matrix = confusion_matrix(figures) if figures else None
    behind = (
        sheets(story.judgement, story.model, matrix) if story.judgement and story.model and matrix else []
    )
    text = page.render(
        facts=facts,
        figures=figures,
        unit=unit(facts),
        title=f"{facts['run']}: {facts.get('data', 'no model yet')}",
        style=(folder / "page.css").read_text(encoding="utf-8"),
        verdict=verdict(facts),
        charts=charts(facts),
        tables=tables(facts),
        strips=strips(story),
        best=_best(facts),
        matrix=matrix,
        sheets=behind,
        linked={(sheet["row"], sheet["column"]) for sheet in behind},
        most_disagreements=MOST_DISAGREEMENTS,
        recipe=tomli_w.dumps(facts["recipe"]) if "recipe" in facts else None,
        again=_command(facts),
        twin=twin,
        version=__version__,
    )
    return text.strip() + "\n"


def check_installed() -> None:
    """Raises MissingExtraError if something is missing that a report needs."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("a report", missing, "report")


def verdict(facts: dict[str, Any]) -> list[str]:
    """What the figures say, in sentences."""
    test, along = facts.get("figures"), facts.get("along")
    if test is None:
        return []
    largest = max(entry["n"] for entry in test["classes"]) / test["n"]
    half = next(each for each in test["coverage"] if each["coverage"] == 0.5)
    calibration = test["calibration"]
    mean = sum(each["n"] * each["confidence"] for each in calibration["bins"]) / test["n"]
    gap = 100 * (mean - test["accuracy"])
    said = [
        f"Always naming the most frequent class would be right in {100 * largest:.1f} %.",
        _errors(test),
        f"Of the half that it was surest of, {100 * half['accuracy']:.2f} % are right.",
        f"Its probabilities are off by {100 * calibration['error']:.2f} percentage points on average; "
        f"on the whole it is {abs(gap):.2f} points too {'sure of itself' if gap > 0 else 'modest'}.",
    ]
    if along and along["steps"][-1]["step"] > 1:
        said.append(
            f"{along['enough']} of {along['steps'][-1]['step']} {unit(facts)} are enough: "
            "from there on it is about as accurate as at the end."
        )
    return said


def _errors(test: dict[str, Any]) -> str:
    worst = frequent_mistakes(test["confusion"])
    if not worst:
        return "It made no mistake on these."
    count, row, column = worst[0]
    often = {1: "once", 2: "twice"}.get(count, f"{count:,} times")
    mistakes = test["n"] - test["correct"]
    classes = test["classes"]
    what = f"{classes[row]['class']} taken for {classes[column]['class']}, {often}"
    return (
        f"Its only mistake: {what}."
        if mistakes == 1
        else f"Most frequent of its {mistakes:,} mistakes: {what}."
    )


def _best(facts: dict[str, Any]) -> dict[str, Any] | None:
    """The validation that training was best in."""
    judged = [each for each in facts.get("course", []) if each.get("part") == "validation"]
    return max(judged, key=lambda each: each["accuracy"], default=None)


def _command(facts: dict[str, Any]) -> str | None:
    """What repeats the run."""
    if "recipe" not in facts:
        return None
    recipe = f"{facts['run']}/recipe.toml"
    if not facts["recipe"].get("data", {}).get("name"):
        return f"scanline.train(scanline.Arrays(values, labels), recipe={recipe!r})  # the same arrays"
    return f"scanline train --recipe {shlex.quote(recipe)}"
