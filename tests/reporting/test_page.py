"""The page of a report agrees with the files of its run."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import tomllib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scanline
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.metrics.probabilities import softmax
from scanline.model.predictor import Predictor
from tests.reporting.pages import (
    POLICY,
    Shown,
    by_id,
    counts,
    facts,
    labels,
    notes,
    of_class,
    rows,
    sections,
    show,
    sound,
    words,
)


@pytest.fixture(scope="module")
def digits(trained, tmp_path_factory) -> Shown:
    return show(trained, tmp_path_factory.mktemp("digits") / "page.html")


@pytest.fixture(scope="module")
def probabilities(trained) -> np.ndarray:
    """What the model says of the test part, asked from Python."""
    return scanline.load(trained).predict_proba(catalog.load("digits").test.values)


# --- the page as a whole


def test_the_page_is_sound_small_and_leaves_the_run_alone(digits, trained):
    # `sound` has looked at it already.
    assert digits.path.stat().st_size < 5_000_000
    assert sorted(path.name for path in digits.path.parent.iterdir()) == ["page.html", "page.json"]
    assert not [path.name for path in trained.iterdir() if path.name.startswith("report")]


def test_the_checker_of_this_file_reports_faults(digits):
    text = digits.path.read_text("utf-8")
    for old, new in [
        ("</section>", "</sektion>"),
        ("</section>", ""),
        ('id="trust"', 'id="classes"'),
        ('href="#trust"', 'href="#nowhere"'),
        ('href="#trust"', 'href="https://example.org"'),
        ('href="#trust"', 'href="#trust" onclick="alert(1)"'),
        ('href="#trust"', 'href="#trust" href="#trust"'),
        ("<main ", "<script>alert(1)</script><main "),
        ("<main ", "<h1>another</h1><main "),
        ("<main ", "<!-- a word --><main "),
        (' alt="', ' data-alt="'),
        (' role="img"', ""),
        (POLICY, "default-src *"),
        ('<html lang="en">', "<html>"),
        ("<caption>Training history</caption>", "<caption></caption>"),
    ]:
        assert old in text
        with pytest.raises((AssertionError, AttributeError)):
            sound(text.replace(old, new, 1))


def test_every_section_is_there_and_the_menu_leads_to_each(digits):
    names = ["learning", "confusion", "mistakes", "classes", "trust", "along", "gates", "reproduce"]
    assert sections(digits.root) == names
    (menu,) = digits.root.iter("nav")
    assert [link.get("href") for link in menu.iter("a")] == [f"#{name}" for name in names]


# --- what it says of the run


def test_the_page_begins_with_the_results(digits):
    test = digits.result["test"]
    root = digits.root
    assert words(root.find("head/title")) == "run: digits"
    assert words(next(root.iter("h1"))) == "run"
    header = words(root.find("body/header"))
    assert "LSTM, 1 layer of 128 units, trained on digits, read by rows" in header
    assert [words(each) for each in of_class(root, "big")] == [f"{100 * test['accuracy']:.2f} % accuracy"]
    low, high = test["ci95"]
    assert (
        f"{test['correct']} of 360 sequences of the test split of digits are classified correctly. "
        f"95 % confidence interval of the accuracy: {100 * low:.2f}\N{EN DASH}{100 * high:.2f} %."
    ) in header
    content = facts(root)
    assert content["mean cross-entropy"] == f"{test['loss']:.4f} nats"
    assert content["calibration error"] == f"{test['calibration']['error']:.4f}"
    assert content["parameters"] == "71,946"
    assert content["recipe, seed"] == "digits, 0"
    assert content["training sequences"] == "19,968"
    assert (content["steps"], content["status"], content["device"]) == ("624", "finished", "cpu")
    assert notes(root) == []


def test_the_findings_follow_from_the_predictions(digits, probabilities):
    truth = catalog.load("digits").test.targets
    predicted, sure = probabilities.argmax(1), probabilities.max(1)
    right = predicted == truth
    pairs = Counter((int(t), int(a)) for t, a in zip(truth, predicted, strict=True) if t != a)
    half = right[np.argsort(-sure, kind="stable")[:180]].mean()
    gap = 100 * (sure.mean() - right.mean())
    mistakes = int((~right).sum())
    most = max(pairs.values())
    first, errors, surest, calibration, enough = digits.findings
    fraction = 100 * np.bincount(truth).max() / 360
    assert (
        first == f"Baseline: always predicting the most frequent class has an accuracy of {fraction:.1f} %."
    )
    match = re.fullmatch(
        rf"Most frequent of {mistakes} errors: (\d) classified as (\d) \((once|twice|{most} times)\)\.",
        errors,
    )
    assert pairs[int(match[1]), int(match[2])] == most
    assert match[3] == {1: "once", 2: "twice"}.get(most, f"{most} times")
    assert surest == f"Accuracy on the more confident half of the predictions: {100 * half:.2f} %."
    assert calibration.endswith(
        f"overall the model is {'over' if gap > 0 else 'under'}confident by {abs(gap):.2f} points."
    )
    count = digits.twin["along"]["enough"]
    assert enough.startswith("All 8 rows are needed: " if count == 8 else f"{count} of 8 rows suffice: ")


def test_the_json_file_holds_the_content_of_the_runs_files(digits, trained):
    twin = digits.twin
    assert (twin["kind"], twin["schema"], twin["run"]) == ("report", 1, "run")
    assert twin["figures"] == digits.result["test"]
    assert twin["training"] == digits.result["training"]
    assert twin["course"] == [
        json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()
    ]
    assert twin["recipe"] == tomllib.loads((trained / "recipe.toml").read_text())
    for name in ("environment", "split"):
        assert twin[name] == json.loads((trained / f"{name}.json").read_text())
    digest = twin["environment"]["data"]["test"]["sha256"]
    assert twin["judged"] == {"part": "test", "data": "digits", "n": 360, "sha256": digest}
    assert twin["model_sha256"] == json.loads((trained / "model" / "model.json").read_text())["sha256"]
    assert twin["notes"] == []
    assert "comparison" not in twin


def test_the_errors_in_the_json_file_match_predictions_for_prefixes(digits, trained):
    model = scanline.load(trained)
    test = model.align(catalog.load("digits").test)
    mistakes = digits.result["test"]["mistakes"]
    assert len(digits.twin["mistakes"]) == min(len(mistakes), 12) > 3
    for each, lines in zip(digits.twin["mistakes"], mistakes, strict=False):
        index = lines["index"]
        assert each["sequence"] == f"sequence {index}"
        assert (each["true"], each["answer"]) == (str(lines["true"]), str(lines["predicted"]))
        assert each["probability"] == pytest.approx(lines["probability"], abs=1e-5)
        values = test.values[index]
        assert np.array_equal(each["values"], values)
        along = softmax(
            np.concatenate(
                [
                    Predictor(model.network).outputs(from_steps(values[:count], test.classes))
                    for count in range(1, 9)
                ]
            )
        )
        assert each["along_answer"] == pytest.approx(along[:, int(each["answer"])], abs=1e-5)
        assert each["along_true"] == pytest.approx(along[:, int(each["true"])], abs=1e-5)
        others = [count for count, row in enumerate(along, 1) if row.argmax() != int(each["answer"])]
        assert each["settled"] == max(others, default=0) + 1
        assert np.shape(each["attribution"]) == (8, 8)


def from_steps(values: np.ndarray, classes: tuple[Any, ...]) -> Any:
    from scanline.data.memory import MemorySource

    return MemorySource.from_array(values[None], np.zeros(1, np.int64), classes, "the first steps")


def test_the_tables_hold_the_numbers_of_the_json_file(digits):
    root, twin = digits.root, digits.twin
    test = twin["figures"]

    def interval(value: float, ends: list[float], places: int) -> str:
        return f"{value:.{places}f} ({ends[0]:.{places}f}\N{EN DASH}{ends[1]:.{places}f})"

    assert rows(root, "Training history") == [
        [
            f"{each['step']:,}", f"{each['samples']:,}", each.get("part", "training batch"),
            f"{each['loss']:.4f}", f"{each['accuracy']:.4f}",
            f"{each['learning_rate']:.3g}" if "learning_rate" in each else "", f"{each['seconds']:.1f}",
        ]
        for each in twin["course"]
    ]  # fmt: skip
    assert rows(root, "Classes, with 95 % bootstrap intervals") == [
        [str(each["class"]), str(each["n"]), str(each["correct"])]
        + [interval(each[kind], each[f"{kind}_ci95"], 3) for kind in ("recall", "precision", "f1")]
        for each in test["classes"]
    ]
    assert rows(root, "Reliability") == [
        [
            f"{each['low']:.3f}\N{EN DASH}{each['high']:.3f}",
            str(each["n"]),
            f"{each['confidence']:.4f}",
            f"{each['accuracy']:.4f}",
        ]
        for each in test["calibration"]["bins"]
    ]
    assert [[fraction, n] for fraction, n, *_ in rows(root, "Coverage")] == [
        [f"{100 * each['coverage']:.0f} %", str(each["n"])] for each in test["coverage"]
    ]
    assert rows(root, "Accuracy against rows read") == [
        [str(each["step"]), "360", interval(each["accuracy"], each["ci95"], 4)]
        for each in twin["along"]["steps"]
    ]
    assert rows(root, "Early classification: stop once a class has this probability") == [
        [
            str(each["threshold"]),
            f"{each['accuracy']:.4f}",
            f"{each['mean_steps']:.1f}",
            f"{100 * each['stopped']:.2f} %",
        ]
        for each in twin["along"]["stops"]
    ]
    assert rows(root, "Gate values, fraction of all units and steps") == [
        [each["name"]] + [f"{100 * each[kind]:.2f} %" for kind in ("shut", "between", "open")]
        for each in twin["activity"]["gates"]
    ]
    splits = twin["environment"]["data"]
    assert rows(root, "Digests")[:3] == [
        [f"{name} split, {each['n']:,} sequences", each["sha256"]] for name, each in splits.items()
    ]
    assert [row[:2] for row in rows(root, "Splits")] == [
        [name, f"{each['n']:,}"] for name, each in twin["split"]["parts"].items()
    ]


def test_the_recipe_on_the_page_is_the_recipe_and_the_command_names_it(digits, trained):
    commands = list(digits.root.iter("pre"))
    assert words(commands[0]) == "scanline train --recipe run/recipe.toml"
    shown = "".join(commands[1].itertext())
    assert tomllib.loads(shown) == tomllib.loads((trained / "recipe.toml").read_text())


# --- what is taken for what


def test_the_matrix_is_that_of_the_result_and_every_count_leads_to_its_sequences(digits):
    confusion = digits.result["test"]["confusion"]
    assert counts(digits.root) == confusion
    (table,) = of_class(digits.root, "confusion")
    links = {link.get("href"): int(words(link)) for link in table.iter("a")}
    assert links == {
        f"#cell-{true}-{prediction}": n
        for true, row in enumerate(confusion)
        for prediction, n in enumerate(row)
        if n
    }
    for href, n in links.items():
        sheet = by_id(digits.root, href[1:])
        _, true, prediction = href.split("-")
        shown = len(of_class(sheet, "examples")[0])
        assert shown == min(n, 8 if true == prediction else 24)
        how = "correctly" if true == prediction else f"as {prediction}"
        more = ", most confident shown" if shown < n else ""
        assert words(next(sheet.iter("h3"))) == f"{true} classified {how}: {n}{more}"


def test_the_examples_of_a_cell_are_its_most_confident_pictures(digits, probabilities):
    test = catalog.load("digits").test
    predicted, sure = probabilities.argmax(1), probabilities.max(1)
    seen = 0
    for sheet in of_class(digits.root, "cell"):
        true, prediction = map(int, sheet.get("id").split("-")[1:])
        own = np.flatnonzero((test.targets == true) & (predicted == prediction))
        shown = []
        for thumb in of_class(sheet, "examples")[0]:
            name, shares = re.fullmatch(r"sequence (\d+)p = ([\d.]+)", words(thumb)).groups()
            index = int(name)
            shown.append(index)
            assert float(shares) == pytest.approx(sure[index], abs=6e-4)
            (image,) = thumb.iter("img")
            assert image.get("alt") == f"sequence {name}, {true}"
            data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"), validate=True)
            with Image.open(io.BytesIO(data)) as picture:
                assert picture.mode == "L"
                # The digits have 17 grey levels, 0 to 16.
                assert np.array_equal(np.asarray(picture), np.rint(test.values[index] * (255 / 16)))
        assert set(shown) <= set(own.tolist())
        assert sure[shown].min() >= np.sort(sure[own])[::-1][len(shown) - 1] - 1e-6
        assert sure[shown].tolist() == pytest.approx(sorted(sure[shown], reverse=True), abs=1e-6)
        seen += len(shown)
    assert seen > 80


def test_the_most_confident_errors_are_drawn_with_their_numbers(digits):
    strips = of_class(digits.root, "mistakes")[0]
    assert len(strips) == len(digits.twin["mistakes"])
    for number, (strip, each) in enumerate(zip(strips, digits.twin["mistakes"], strict=True), 1):
        assert words(next(strip.iter("figcaption"))) == (
            f"{each['true']} classified as {each['answer']} (p = {each['probability']:.3f}), "
            f"{each['sequence']}; settled from step {each['settled']} of 8"
        )
        title = f"Error {number}: {each['true']} classified as {each['answer']}, {each['sequence']}"
        assert labels(strip) == [title]


def test_every_chart_has_a_text_alternative(digits):
    test = digits.result["test"]
    assert [name for name in labels(digits.root) if not name.startswith("Error")] == [
        "Loss and accuracy over 624 training steps",
        "Recall and precision of each class with 95 % intervals",
        f"Reliability diagram; calibration error {test['calibration']['error']:.4f}",
        f"Accuracy against coverage, down to {test['accuracy']:.4f} at full coverage",
        f"Accuracy against rows read; {digits.twin['along']['enough']} suffice",
        "Saturation of each gate, and mean size of each unit's state",
    ]


# --- names that are no friends of markup

NAMES = [
    "<img src=x onerror=alert(1)>",
    "</svg><script>alert(2)</script>",
    "{{ 7*7 }}{% endif %}",
    "&amp; & &lt;",
    "\"double\" and 'single'",
    "]]> --> ##",
    "x" * 300,
    "中文类别",
    "\N{ZERO WIDTH SPACE}",
]


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Shown:
    """Of a run that has such names wherever names can be: classes, sequences, columns, files, folders."""
    folder = tmp_path_factory.mktemp("strange") / "<b>"
    folder.mkdir()
    data = folder / '<i>it\'s "{{ 7*7 }}" &amp;.csv'
    draw = np.random.default_rng(0)
    with data.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "time", "<u>x</u>", "label"])
        for number in range(5 * len(NAMES)):
            for step in range(3):
                name = NAMES[number % len(NAMES)]
                table.writerow([f"<s>{number}</s> &lt;", step, f"{draw.normal():.3f}", name])
    settings = {"train.samples": 0, "train.steps": 3, "train.epochs": 0, "model.hidden_size": 4}
    run = folder / "<img src=x onerror=alert(1)> {{ 7*7 }}"
    train(data, settings=settings, run=run, log=None)
    return show(run, folder / "{{ 7*7 }}<b>.html")


def test_unusual_names_are_plain_text(strange):
    # That nothing was made of them `sound` has seen: it knows every element and attribute that may be there.
    root = strange.root
    assert not list(root.iter("img"))
    (table,) = of_class(root, "confusion")
    heads = [cell for cell in table.iter("th") if cell.get("title") is not None]
    assert Counter("".join(each.itertext()) for each in heads) == Counter(NAMES * 2)
    assert Counter(each.get("title") for each in heads) == Counter(NAMES * 2)
    assert {row[0] for row in rows(root, "Classes, with 95 % bootstrap intervals")} == {
        " ".join(name.split()) for name in NAMES
    }
    assert sorted(strange.twin["classes"]) == sorted(NAMES)


def test_unusual_names_of_sequences_files_and_folders_are_plain_text(strange):
    root = strange.root
    run = strange.run.name
    assert words(next(root.iter("h1"))) == run
    assert words(root.find("head/title")) == f'{run}: the file <i>it\'s "{{{{ 7*7 }}}}" &amp;.csv'
    assert 'of the test split of <i>it\'s "{{ 7*7 }}" &amp;.csv are' in words(root.find("body/header"))
    named = re.compile(r"sequence (<s>\d+</s> &lt;), ")
    for image in [each for each in root.iter("svg") if each.get("viewbox") == "-1 -1 98 42"]:
        assert named.match(image.get("aria-label"))
    for each in strange.twin["mistakes"]:
        assert re.fullmatch(r"sequence <s>\d+</s> &lt;", each["sequence"])
        assert each["sequence"] in words(of_class(root, "mistakes")[0])
    command = words(next(root.iter("pre")))
    assert command == f"scanline train --recipe '{run}/recipe.toml'"
    assert words(root.find("body/footer")).endswith("are in {{ 7*7 }}<b>.json.")
    assert "<u>x</u>" in "".join(list(root.iter("pre"))[1].itertext())


def test_a_folder_name_is_quoted_in_the_command(strange, tmp_path):
    import shlex
    import shutil

    moved = tmp_path / "it's $HOME"
    shutil.copytree(strange.run, moved)
    shutil.rmtree(moved / "model")  # nothing to judge: quick
    page = show(moved, tmp_path / "page.html")
    command = words(next(page.root.iter("pre")))
    assert shlex.split(command) == ["scanline", "train", "--recipe", "it's $HOME/recipe.toml"]
