"""`scanline tune show`, on a real search of four trials."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import scanline
from scanline.cli import command
from scanline.errors import ScanlineError
from tests.reporting.pages import sound, strict

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")

SETTINGS = {"model.hidden_size": 4, "train.samples": 0, "train.epochs": 0, "train.steps": 8}
RATES = {"low": 0.001, "high": 0.1, "log": True}
SPACE = {"model.readout": ["last", "mean", "max"], "train.learning_rate": RATES}
OPTIONS = {"trials": 4, "workers": 0, "folds": 0, "space": SPACE, "settings": SETTINGS, "log": None}
DATABASE = "sqlite:///studies/waves/study.db"


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """A folder with the study `waves`."""
    folder = tmp_path_factory.mktemp("searched")
    draw = np.random.default_rng(0)
    labels = np.array(["a", "b"])[np.arange(60) % 2]
    data = scanline.Arrays(draw.normal(size=(60, 6, 2)) + (labels == "a")[:, None, None], labels)
    scanline.tune(data, study=folder / "studies" / "waves", **OPTIONS)
    return folder


@pytest.fixture
def here(searched, tmp_path, monkeypatch) -> Path:
    """A copy of it, in which a test is."""
    shutil.copytree(searched / "studies", tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(*arguments: str, columns: int = 140) -> str:
    result = CliRunner().invoke(command, ["tune", "show", *arguments], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["tune", "show", *arguments])
    assert isinstance(result.exception, ScanlineError)
    return f"{result.exception.exit_code} {result.exception}"


def test_a_study_is_named_by_its_folder_or_its_name(here):
    text = shown("waves")
    assert text.startswith("waves: 4 trials on ")
    assert shown("studies/waves") == shown(str(here / "studies" / "waves")).replace(f"{here}/", "") == text
    assert shown("waves", "--storage", f"sqlite:///{here}/studies/waves/study.db") == text


def test_the_table_has_each_trial_and_the_end_has_the_winner(here):
    lines = shown("waves").splitlines()
    content = json.loads(shown("waves", "--json"))
    head = lines.index(next(line for line in lines if line.startswith("#  trial")))
    rows = [line.split() for line in lines[head + 1 :] if line[:2].strip().isdigit()]
    assert [(int(row[0]), int(row[1])) for row in rows] == [
        (each["rank"], each["number"]) for each in content["trials"]
    ]
    first = content["trials"][0]
    assert (
        f"{100 * first['score']:.2f} % ({100 * first['ci95'][0]:.1f}-{100 * first['ci95'][1]:.1f})"
        in lines[head + 1]
    )
    test = json.loads(Path("studies/waves/winner/result.json").read_text())["test"]
    assert any(f"winner of the search  {100 * test['accuracy']:.2f} %" in line for line in lines)
    assert lines[-2:] == ["winner: studies/waves/winner", "recipe: studies/waves/winner.toml"]


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(here, columns):
    lines = shown("waves", columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    # Settings are beside the other columns where there is room, and below where there is none.
    assert any("settings that differ from the recipe" in line for line in lines) == (columns == 140)


def test_fewer_trials_are_listed_on_request(here):
    assert "and 1 more (--top N lists more, --json all)" in shown("waves", "--top", "3")
    assert "more (" not in shown("waves")


def test_the_json_has_a_schema_and_all_trials(here):
    content = strict(shown("waves", "--top", "1", "--json"))
    assert content["schema"] == 1
    assert sorted(each["number"] for each in content["trials"]) == [0, 1, 2, 3]
    assert content["importance"]["note"].endswith("there are 4.")
    assert tomllib.loads(content["winner"]["recipe"])["model"]["hidden_size"] == 4
    assert [each["name"] for each in content["baselines"]["measured"]][:2] == [
        "majority class",
        "1-nearest neighbour",
    ]
    assert content["findings"]
    assert content["result"].startswith(f"Trial {content['winner']['trial']} is the best of 4 trials")


def test_a_report_is_written_into_the_folder_or_to_a_file(here):
    assert shown("waves", "--report").splitlines()[-1] == "report: studies/waves/report.html"
    written = Path("studies/waves/report.html").read_text()
    sound(written)
    content = json.loads(shown("waves", "--json", "--report", "mine.html"))
    assert (content["page"], content["numbers"]) == ("mine.html", "mine.json")
    assert (
        Path("mine.html").read_text().replace("mine.json", "report.json")
        == Path("studies/waves/report.html").read_text()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "4 none is not a study: expected a folder with study.json"),
        (("studies/waves/winner",), "4 studies/waves/winner is not a study"),
        (("waves", "--report", "page.txt"), "2 expected a report file ending in .html, got page.txt"),
        (
            ("waves", "--report", "studies/waves/study.html"),
            "2 studies/waves/study.json is a file of the study",
        ),
        (("waves", "--report", "no/page.html"), "1 cannot write no/page.json"),
        (
            ("waves", "--storage", "mysql://x/y"),
            "2 --storage: expected a postgresql:// or sqlite:/// address",
        ),
        (
            ("other", "--storage", DATABASE),
            f"4 {DATABASE} has no study other",
        ),
    ],
)
def test_an_invalid_request_is_one_line(here, arguments, message):
    text = refused(*arguments)
    assert text.startswith(message)
    assert "\n" not in text


def test_damaged_files_are_named(here):
    path = Path("studies/waves/baselines.json")
    path.write_text(path.read_text().replace("1", "2", 1))
    assert refused("waves") == "4 studies/waves/baselines.json is damaged: its content is not what was saved"
    path.unlink()
    Path("studies/waves/winner/result.json").write_text("{")
    assert refused("waves").startswith("4 studies/waves/winner/result.json is damaged")


def test_a_study_without_winner_and_baselines_is_shown(here):
    shutil.rmtree("studies/waves/winner")
    for name in ("winner.toml", "baselines.json"):
        Path("studies/waves", name).unlink()
    text = shown("waves")
    assert "note: The winner has not been trained again and tested yet." in text
    assert "winner of the search" not in text


@pytest.mark.campaign
def test_a_longer_search_trains_and_shows_its_new_winner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    labels = np.array(["a", "b"])[np.arange(80) % 2]
    data = scanline.Arrays(draw.normal(size=(80, 6, 2)) + 0.7 * (labels == "a")[:, None, None], labels)
    winners = []
    for trials in (1, 4):
        found = scanline.tune(data, study="studies/s", baselines=False, **OPTIONS | {"trials": trials})
        winners.append(found.winner.number)
        for name in ("winner.toml", "winner/recipe.toml"):
            recipe = tomllib.loads(Path("studies/s", name).read_text())
            assert recipe["model"]["readout"] == found.winner.settings["model.readout"]
            assert recipe["train"]["learning_rate"] == found.winner.settings["train.learning_rate"]
    assert winners[0] != winners[1]  # otherwise this test shows nothing
    assert "note:" not in shown("s")
    content = json.loads(found.report().with_suffix(".json").read_text())
    assert content["winner"]["trial"] == winners[1]
