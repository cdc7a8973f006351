"""The HTML page of a study."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.plots.search import INTERVALS_SHOWN
from scanline.reporting.page_files import check_page, write_page
from scanline.reporting.study.facts import StudyFacts
from scanline.reporting.study.figures import charts
from scanline.reporting.study.findings import findings, notes, result_sentence, score_text, test_metrics
from scanline.reporting.study.tables import tables
from scanline.reporting.templates import check_installed, resource, template_environment
from scanline.version import __version__

# How the page names the states of trials, in this order; those without trials are left out.
_STATES = {
    "complete": "trained fully",
    "stopped": "stopped early",
    "running": "running",
    "waiting": "waiting",
    "diverged": "diverged",
    "invalid": "invalid settings",
}
_FILES = ("study.json", "baselines.json")  # of the study itself


@dataclass(frozen=True)
class _Headline:
    """The number at the top of the page, and what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class _Command:
    """A command with what it does."""

    text: str
    command: str


def check_study_page(page: Path) -> None:
    """Check that the page can be written; raises as `check_page`, and MissingExtraError."""
    check_installed()
    check_page(page, [page.parent / name for name in _FILES], "study")


def write_study_page(facts: StudyFacts, page: Path) -> None:
    """Write the page of a study, and beside it a JSON file with every number.

    Args:
        facts: What is known about the study.
        page: The HTML file to write.

    Raises:
        MissingExtraError: If Jinja2 or Matplotlib is not installed.
        UsageError: If the name does not end in .html, or the JSON file would replace another file.
        ScanlineError: If a file cannot be written.
    """
    check_study_page(page)
    # The command line shows paths as they can be used; a page goes to other people.
    shared = facts.without_folders()
    write_page(page, render(shared, page.with_suffix(".json").name), study_json(shared))


def study_json(facts: StudyFacts) -> dict[str, Any]:
    """Return all numbers and sentences of a study as JSON."""
    return {
        "schema": 1,
        **facts.to_json(),
        "result": result_sentence(facts),
        "findings": [*findings(facts)],
        "notes": [*notes(facts)],
    }


def render(facts: StudyFacts, numbers: str) -> str:
    """Return the HTML of a study.

    Args:
        facts: What is known about the study.
        numbers: Name of the JSON file beside the page.
    """
    page = template_environment().get_template("study/study.html")
    text = page.render(
        facts=facts.to_json(),
        style=resource("page.css") + resource("study/study.css"),
        headline=_headline(facts),
        result=result_sentence(facts),
        findings=findings(facts),
        notes=notes(facts),
        states=[(words, facts.count(state)) for state, words in _STATES.items() if facts.count(state)],
        charts=charts(facts),
        tables=tables(facts),
        intervals=facts.study.metric == "accuracy" and len(facts.study.trials) <= INTERVALS_SHOWN,
        commands=_commands(facts),
        recipe=facts.study.recipe,
        numbers=numbers,
        version=__version__,
    )
    return text.strip() + "\n"


def _headline(facts: StudyFacts) -> _Headline | None:
    """Return the winner's accuracy on the test split, or the best validation score before it is tested."""
    test, metric = test_metrics(facts), facts.study.metric
    if test is not None and test.accuracy is not None:
        return _Headline(f"{100 * test.accuracy:.2f} %", "test accuracy")
    # Before the test, the label says that it is a validation score.
    last = facts.ranked[0].last if facts.ranked else None
    if last is None:
        return None
    return _Headline(score_text(last.score, metric), f"validation {metric}")


def _commands(facts: StudyFacts) -> list[_Command]:
    study = facts.study
    # A study of arrays of a program has no data that a command could name.
    data = data_name(study.recipe)
    commands = []
    if data:
        search = (
            f"scanline tune {shlex.quote(data)} --recipe RECIPE.toml --seed {study.seed} "
            f"--trials {len(study.trials)} --folds {study.folds}"
        )
        text = (
            "The search, with the recipe below in RECIPE.toml, and in its table [search] the searched "
            "settings if they are not the default ones:"
        )
        commands.append(_Command(text, search))
    if facts.winner is not None:
        train = f"scanline train --recipe {shlex.quote(str(facts.winner.recipe_file))}"
        commands.append(_Command("The winner:", train))
    return commands


def data_name(recipe: str) -> str:
    """Return the name or path of the data in a recipe, "" if it names none."""
    try:
        data = tomllib.loads(recipe).get("data")
    except tomllib.TOMLDecodeError:
        return ""
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else ""
