"""Reports of runs of every kind, whole and broken, and the two files that a report is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanline.api import Run, train
from scanline.errors import UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.reporting.gather import gather
from scanline.reporting.report import report
from scanline.training.run import TrainingRun
from tests.reporting.pages import (
    Shown,
    by_id,
    counts,
    facts,
    labels,
    notes,
    of_class,
    rows,
    section,
    sections,
    show,
    sound,
    words,
)

FEW = {"train.samples": 0, "train.epochs": 0, "train.steps": 3, "model.hidden_size": 4}
ALL = ["learning", "confusion", "mistakes", "classes", "trust", "along", "gates", "reproduce"]


def trained_on(folder: Path, X: Any, y: Any, **changes: Any) -> Run:
    """A run in `folder` on a file of arrays that lies beside it."""
    np.savez(folder / "data.npz", X=X, y=y)
    return train(folder / "data.npz", settings=FEW | changes, run=folder / "run", log=None)


def rising_and_falling(path: Path, n: int = 40) -> None:
    """A table of sequences of 1 to 9 steps, of which x rises or falls evenly and noise does not."""
    draw = np.random.default_rng(0)
    lines = ["id,time,x,noise,label"]
    for number in range(n):
        way, label = (1, "up") if number % 2 else (-1, "down")
        steps = range(1 + number % 9)
        lines += [f"r{number},{time},{way * time},{draw.normal():.3f},{label}" for time in steps]
    path.write_text("\n".join(lines) + "\n")


# --- a small model that is never wrong: two classes, sequences of one step, no validation part


@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> Shown:
    folder = tmp_path_factory.mktemp("perfect")
    draw = np.random.default_rng(0)
    signs = np.repeat([1, -1], 20)[:, None, None]
    X = (signs * np.array([[[1.0, -1.0]]]) + draw.normal(0, 0.01, (40, 1, 2))).astype(np.float32)
    changes = {"train.steps": 60, "train.log_every": 10, "split.validation": 0.0}
    run = trained_on(folder, X, np.repeat(["plus", "minus"], 20), **changes)
    assert run.result["test"]["correct"] == run.result["test"]["n"] == 8
    return show(run.path, folder / "page.html")


def test_a_model_without_errors_has_no_section_of_errors(perfect):
    assert perfect.findings[1] == "There are no errors on these sequences."
    assert sections(perfect.root) == [name for name in ALL if name not in ("mistakes", "along")]
    assert perfect.twin["mistakes"] == []
    assert counts(perfect.root) == [[4, 0], [0, 4]]
    assert [words(each) for each in of_class(perfect.root, "big")] == ["100.00 % accuracy"]


def test_sequences_of_one_step_have_no_accuracy_by_step(perfect):
    assert [each["step"] for each in perfect.twin["along"]["steps"]] == [1]
    assert not [line for line in perfect.findings if "suffice" in line or "needed" in line]
    assert not [label for label in labels(perfect.root) if "read" in label]


def test_a_run_without_a_validation_split_names_no_best_validation(perfect):
    assert perfect.result["validation"] is None
    assert "best on validation" not in facts(perfect.root)
    assert {each["event"] for each in perfect.twin["course"]} == {"logged"}
    assert "A temperature of" not in words(perfect.root)
    assert notes(perfect.root) == []


def test_the_same_run_gives_the_same_bytes_and_overwrites_its_own_report(perfect, tmp_path):
    page = tmp_path / "page.html"
    for _ in range(2):
        report(perfect.run, page)
        assert page.read_bytes() == perfect.path.read_bytes()
        assert page.with_suffix(".json").read_bytes() == perfect.path.with_suffix(".json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.json"]


def test_two_reports_of_one_run_can_have_different_names(perfect, tmp_path):
    shutil.copytree(perfect.run, tmp_path / "run")
    first = report(tmp_path / "run")
    assert first == tmp_path / "run" / "report.html"
    second = report(str(tmp_path / "run"), str(tmp_path / "run" / "Zwei.HTM"))
    for page in (first, second):
        footer = words(sound(page.read_text("utf-8")).find("body/footer"))
        assert footer.endswith(f" are in {page.stem}.json.")
        assert page.with_suffix(".json").is_file()
    # A report in the run folder is none of the run's: judging, going on and reporting again are as before.
    assert report(tmp_path / "run").read_bytes() == first.read_bytes()
    with pytest.raises(UsageError, match="has finished: nothing is left to do"):
        TrainingRun.resume(run=tmp_path / "run")


def test_a_model_directory_is_shown_without_facts_of_the_run(perfect, tmp_path):
    bundle = tmp_path / "sent"
    shutil.copytree(perfect.run / "model", bundle)
    with pytest.raises(UsageError, match=r"sent is a model directory, not a run .* --output FILE\.html"):
        report(bundle)
    shown = show(bundle, tmp_path / "page.html", data=perfect.run.parent / "data.npz")
    assert shown.twin["judged"]["n"] == 40
    assert sections(shown.root) == ["confusion", "classes", "trust", "gates", "reproduce"]
    assert "training time" not in facts(shown.root)
    assert [row[0] for row in rows(shown.root, "Digests")] == [
        "evaluated split, 40 sequences",
        "model.json, which holds the digest of every weight",
    ]
    nothing = show(bundle, tmp_path / "nothing.html")
    assert sections(nothing.root) == ["reproduce"]
    (note,) = notes(nothing.root)
    assert note.startswith("Nothing could be evaluated: ")
    assert "--data" in note


def test_small_counts_of_errors_are_words(perfect):
    from scanline.metrics.classification import ClassificationMetrics
    from scanline.reporting.facts import ReportFacts
    from scanline.reporting.findings import findings

    figures = perfect.twin["figures"]
    for confusion, correct, expected in [
        ([[3, 1], [0, 4]], 7, "The only error: minus classified as plus."),
        ([[4, 0], [2, 2]], 6, "Most frequent of 2 errors: plus classified as minus (twice)."),
        ([[0, 4], [1, 3]], 3, "Most frequent of 5 errors: minus classified as plus (4 times)."),
    ]:
        changed = figures | {"confusion": confusion, "correct": correct, "accuracy": correct / 8}
        metrics = ClassificationMetrics.model_validate(changed)
        assert findings(ReportFacts("run", [], metrics=metrics))[1] == expected


# --- many classes, a plain RNN, no test part


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Shown:
    folder = tmp_path_factory.mktemp("many")
    draw = np.random.default_rng(0)
    names = np.array([f"class {number % 45:02}" for number in range(180)])
    X = draw.normal(size=(180, 2, 2)).astype(np.float32)
    changes = {"model.cell": "rnn", "split.test": 0.0, "split.validation": 0.5}
    return show(trained_on(folder, X, names, **changes).path, folder / "page.html")


def test_too_many_classes_for_a_table_are_a_list_of_frequent_errors(many):
    assert not of_class(many.root, "confusion")
    own = section(many.root, "confusion")
    assert "a table of 45 classes would be too large" in words(own)
    confusion = np.array(many.twin["figures"]["confusion"])
    assert confusion.shape == (45, 45)
    off = confusion - np.diag(confusion.diagonal())
    body = [list(row) for row in next(own.iter("tbody"))]
    assert [int(words(row[2])) for row in body] == sorted(off[off > 0].tolist(), reverse=True)[:30]
    for is_, taken_for, times in body:
        true, prediction = int(words(is_)[-2:]), int(words(taken_for)[-2:])
        assert off[true, prediction] == int(words(times))
        href = next(times.iter("a")).get("href")
        assert href == f"#cell-{true}-{prediction}"
        assert len(of_class(by_id(many.root, href[1:]), "examples")[0]) == off[true, prediction]
    assert len(of_class(many.root, "cell")) == len(body)


def test_many_classes_have_their_figures_in_a_table_without_a_chart(many):
    assert not [label for label in labels(many.root) if label.startswith("Recall and precision")]
    assert [row[0] for row in rows(many.root, "Classes, with 95 % bootstrap intervals")] == (
        many.twin["classes"]
    )
    assert len(many.twin["mistakes"]) == 12


def test_without_a_test_split_the_validation_split_is_evaluated_with_a_note(many):
    assert many.result["test"] is None
    assert many.twin["figures"] == many.result["validation"]
    assert many.twin["judged"]["part"] == "validation"
    assert many.twin["judged"]["sha256"] == many.twin["environment"]["data"]["validation"]["sha256"]
    assert "sequences of the validation split of data.npz" in words(many.root.find("body/header"))
    (note,) = notes(many.root)
    assert note.startswith("There is no test split: the metrics are of the validation split")


def test_a_plain_rnn_has_units_and_no_gates(many):
    assert "RNN, 1 layer of 4 units, bidirectional" in words(many.root.find("body/header"))
    assert many.twin["activity"]["gates"] == []
    assert [len(each["mean_size"]) for each in many.twin["activity"]["states"]] == [4, 4]


# --- a table of sequences of different lengths, a GRU of two layers in both directions


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Shown:
    folder = tmp_path_factory.mktemp("table")
    rising_and_falling(folder / "lines.csv")
    settings = FEW | {"model.cell": "gru", "model.layers": 2, "model.bidirectional": True}
    run = train(folder / "lines.csv", settings=settings, run=folder / "run", log=None)
    return show(run.path, folder / "page.html")


def test_sequences_of_different_lengths_are_evaluated_by_length(table):
    groups = table.result["test"]["by_length"]
    assert len(groups) > 2
    assert [row[:3] for row in rows(table.root, "Accuracy by length")] == [
        [
            str(each["from"]) if each["from"] == each["to"] else f"{each['from']} to {each['to']}",
            str(each["n"]),
            str(each["correct"]),
        ]
        for each in groups
    ]
    assert "Accuracy by sequence length" in labels(table.root)
    along = table.twin["along"]["steps"]
    assert [each["n"] for each in along] == sorted((each["n"] for each in along), reverse=True)
    assert rows(table.root, "Accuracy against steps read")[0][1] == "8"


def test_several_layers_and_directions_are_named(table):
    header = words(table.root.find("body/header"))
    assert "GRU, 2 layers of 4 units, bidirectional, trained on the file lines.csv" in header
    places = ["layer 1", "layer 1, backward", "layer 2", "layer 2, backward"]
    activity = table.twin["activity"]
    assert {each["name"] for each in activity["gates"]} == {
        f"{gate}, {place}" for gate in ("reset gate", "update gate") for place in places
    }
    assert [each["name"] for each in activity["states"]] == places


def test_sequences_that_are_no_pictures_are_drawn_as_lines_under_their_names(table):
    assert not list(table.root.iter("img"))
    assert table.twin["view"] is None
    split = json.loads((table.run / "split.json").read_text())["parts"]
    seen = []
    for sheet in of_class(table.root, "cell"):
        for thumb in of_class(sheet, "examples")[0]:
            number = int(re.match(r"sequence r(\d+)p = ", words(thumb))[1])
            seen.append(f"r{number}")
            lines = [
                [tuple(map(float, point.split(","))) for point in each.get("points").split()]
                for each in thumb.iter("polyline")
            ]
            assert [len(line) for line in lines] == [1 + number % 9] * 2
            heights = [-y for _, y in lines[0]]  # downwards on a page
            assert heights == sorted(heights, reverse=number % 2 == 0)
            assert [x for x, _ in lines[0]] == sorted(x for x, _ in lines[0])
    assert sorted(seen) == sorted(split["test"]["ids"])
    for item in table.twin["mistakes"]:
        number = int(item["sequence"].removeprefix("sequence r"))
        assert np.shape(item["attribution"]) == np.shape(item["values"]) == (1 + number % 9, 2)
        assert len(item["along_answer"]) == len(item["along_true"]) == 1 + number % 9


def test_without_its_data_a_run_shows_curves_and_a_note(table, tmp_path):
    shutil.copytree(table.run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("lines.csv", "gone.csv"))
    shown = show(tmp_path / "run", tmp_path / "page.html")
    assert sections(shown.root) == ["learning", "reproduce"]
    (note,) = notes(shown.root)
    assert re.match(r"Nothing could be evaluated: .*gone\.csv: no such file or folder", note)
    assert "GRU, 2 layers of 4 units" in words(shown.root.find("body/header"))
    assert "figures" not in shown.twin
    assert shown.twin["course"] == table.twin["course"]


def test_changed_data_are_noted(perfect, tmp_path):
    shutil.copytree(perfect.run.parent, tmp_path / "here")
    recipe = tmp_path / "here" / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(perfect.run.parent), str(tmp_path / "here")))
    with np.load(tmp_path / "here" / "data.npz") as file:
        X, y = file["X"], file["y"]
    np.savez(tmp_path / "here" / "data.npz", X=-X, y=y)
    facts = gather(str(tmp_path / "here" / "run"))
    assert facts.metrics.correct == 0
    assert len(facts.notes) == 1
    assert "data have changed since training" in facts.notes[0]


def test_data_with_missing_values_have_not_changed(tmp_path):
    X = np.arange(80, dtype=np.float32).reshape(20, 4, 1) % 7
    X[:, 2] = np.nan
    run = trained_on(tmp_path, X, np.repeat(["a", "b"], 10), **{"input.missing": "mean"})
    assert gather(str(run.path)).notes == []


@pytest.mark.parametrize(
    "settings",
    [
        {"input.missing": "zero"},
        {"input.missing": "forward-fill"},
        {"input.missing": "mean", "input.features": 6},
        {"input.view": "columns"},
        {"input.view": "permuted"},
        {"input.view": "patches:2"},
    ],
)
def test_evaluation_has_the_digest_that_training_recorded(tmp_path, settings):
    draw = np.random.default_rng(0)
    pictures = "input.view" in settings
    X = draw.integers(0, 256, (20, 4, 6), dtype=np.uint8) if pictures else draw.normal(size=(20, 4, 3))
    if not pictures:
        X[::2, 1] = np.nan
    run = trained_on(tmp_path, X, np.repeat(["a", "b"], 10), **settings)
    digests = json.loads((run.path / "environment.json").read_text())["data"]
    assert evaluate_run(str(run.path), None).steps_digest == digests["test"]["sha256"]
