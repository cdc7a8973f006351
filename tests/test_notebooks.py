"""The Python functions for reports and explanations, and the display of runs in a notebook."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scanline
from scanline.api import Run, train
from scanline.data import catalogue as catalog
from scanline.data.readers.arrays import Arrays
from scanline.errors import DataError, ModelError, UsageError
from tests.model.test_prediction import fragment
from tests.reporting.pages import sound, words

FEW = {"train.samples": 0, "train.epochs": 0, "train.steps": 6, "train.log_every": 2, "model.hidden_size": 4}


def run_of(path: Path) -> Run:
    return Run(path, json.loads((path / "result.json").read_text()))


def lines(text: str) -> list[str]:
    """The words of a run, line by line."""
    return [words(each) for each in fragment(text) if each.tag == "div" and not list(each.iter("svg"))]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Run:
    """A run on arrays of a program: no report can judge it, which makes it quick."""
    draw = np.random.default_rng(0)
    data = Arrays(draw.normal(size=(60, 3, 2)).astype(np.float32), np.arange(60) % 2)
    path = tmp_path_factory.mktemp("small") / "run"
    return train(data, settings=FEW | {"train.validate_every": 2}, run=path, log=None)


# --- a run


def test_a_run_shows_its_result_and_learning_curve(trained):
    run = run_of(trained)
    text = run._repr_html_()
    shown = lines(text)
    assert shown[0] == "digits on digits, finished"
    for line, name in zip(shown[1:3], ("test", "validation"), strict=True):
        figures = run.result[name]
        low, high = figures["ci95"]
        assert line == (
            f"{name} accuracy {100 * figures['accuracy']:.2f} % (95 % interval {100 * low:.2f}"
            f"\N{EN DASH}{100 * high:.2f} %), {figures['correct']:,} of {figures['n']:,} correct"
        )
    assert shown[3] == f"624 steps in {run.result['training']['seconds']:.1f} s; {trained}"
    assert len(shown) == 4
    (drawn,) = fragment(text).iter("svg")
    assert drawn.get("aria-label") == f"Learning curve of {trained}"
    assert {"training batch", "validation", "cross-entropy"} <= {words(each) for each in drawn.iter("text")}


def test_a_notebook_of_several_runs_has_every_name_once(trained, small):
    names = [re.findall(r'\bid="([^"]*)"', run._repr_html_()) for run in (run_of(trained), small)]
    assert all(names)
    assert not set(names[0]) & set(names[1])


def test_splits_that_were_not_evaluated_are_left_out(small, tmp_path):
    for result, expected in [
        (small.result | {"test": None}, ["validation"]),
        (small.result | {"validation": None}, ["test"]),
        ({key: value for key, value in small.result.items() if key not in ("test", "validation")}, []),
    ]:
        shown = lines(Run(small.path, result)._repr_html_())
        assert [line.split()[0] for line in shown[1:-1]] == expected


def test_without_its_history_a_run_still_shows_its_result(small, tmp_path):
    shutil.copytree(small.path, tmp_path / "run")
    moved = Run(tmp_path / "run", small.result)
    for content in (b"", b'{"event": "logg', b"\xff", None):
        metrics = moved.path / "metrics.jsonl"
        metrics.unlink() if content is None else metrics.write_bytes(content)
        text = moved._repr_html_()
        assert len(lines(text)) == 4
        assert "<svg" not in text


def test_without_matplotlib_a_run_shows_its_result(small, monkeypatch):
    whole = small._repr_html_()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = small._repr_html_()
    assert whole.startswith(text)
    assert "<svg" in whole
    assert "<svg" not in text
    assert len(lines(text)) == 4


def test_names_of_runs_and_data_with_markup_are_words(small, tmp_path):
    odd = tmp_path / "<img src=x onerror=alert(1)> {{ 7*7 }} &amp;"
    shutil.copytree(small.path, odd)
    text = Run(odd, small.result | {"data": "<script>alert(1)</script>"})._repr_html_()
    shown = lines(text)
    assert shown[0] == "sequences on <script>alert(1)</script>, finished"
    assert shown[-1].endswith(f"; {odd}")
    (drawn,) = fragment(text).iter("svg")
    assert drawn.get("aria-label") == f"Learning curve of {odd}"


# --- a report


def test_a_run_writes_its_report_into_its_folder_or_to_a_given_path(small, tmp_path):
    shutil.copytree(small.path, tmp_path / "run")
    run = Run(tmp_path / "run", small.result)
    assert run.report() == tmp_path / "run" / "report.html"
    assert run.report(str(tmp_path / "mine.html")) == tmp_path / "mine.html"
    for page in (tmp_path / "run" / "report.html", tmp_path / "mine.html"):
        assert words(next(sound(page.read_text("utf-8")).iter("h1"))) == "run"
        assert json.loads(page.with_suffix(".json").read_text())["kind"] == "report"


def test_the_package_itself_reports_and_explains(small, tmp_path):
    assert {"report", "explain", "Prediction", "Explanation"} <= set(dir(scanline)) & set(scanline.__all__)
    page = scanline.report(small.path, tmp_path / "page.html")
    assert page.is_file()
    with pytest.raises(UsageError, match=r"expected a report file ending in \.html, got"):
        scanline.report(small.path, tmp_path / "page.pdf")
    with pytest.raises(ModelError, match="there is no run"):
        scanline.report(tmp_path / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.json"]


# --- an explanation


def test_a_model_and_its_run_folder_explain_the_same(trained):
    picture = catalog.load("digits").test.values[3]
    model = scanline.load(trained)
    explanation = [scanline.explain(given, picture).to_json() for given in (model, trained, str(trained))]
    assert explanation[0] == explanation[1] == explanation[2]
    assert explanation[0]["label"] == model.predict(picture)[0]
    assert explanation[0]["sequence"] == "the given sequence"
    assert explanation[0]["true"] is None
    assert np.array_equal(explanation[0]["values"], picture)


def test_an_explanation_shows_itself_under_the_name_that_it_was_given(small):
    values = np.random.default_rng(0).normal(size=(3, 2))
    explained = scanline.explain(small.path, values, name="<b>mine</b> & yours")
    assert isinstance(explained, scanline.Explanation)
    text = explained._repr_html_()
    (drawn,) = fragment(text).iter("svg")
    assert drawn.get("aria-label") == "Explanation of <b>mine</b> & yours"
    output = words(next(fragment(text).iter("p")))
    fraction = explained.trace.probabilities[-1].max()
    assert output.startswith(f"<b>mine</b> & yours: {explained.label} ({fraction:.4f})")
    assert not list(fragment(text).iter("b"))


def test_values_that_do_not_fit_are_not_explained(small):
    unfit: Any
    for unfit, each in [(np.zeros((3, 5)), r"\(1, 3, 5\)|\(3, 5\)"), (np.zeros((2, 3, 2)), "got 2")]:
        with pytest.raises(DataError, match=each):
            scanline.explain(small.model, unfit)
    with pytest.raises(ModelError, match="there is no run"):
        scanline.explain("nowhere/at/all", np.zeros((3, 2)))
