"""The page as a browser reads it: sound, at rest in itself, and saying what the run's files say."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import re
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scanline
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.metrics.probabilities import softmax
from scanline.model.predictor import Predictor
from scanline.reporting.report import report

Element = ElementTree.Element

VOID = {"meta", "link", "br", "img"}
HTML = {
    "html", "head", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "small", "ul", "li", "dl",
    "div", "dt", "dd", "nav", "main", "section", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "figure", "figcaption", "details", "summary", "strong", "span", "pre", "code", "footer", *VOID,
}  # fmt: skip
SVG = {"svg", "defs", "style", "g", "path", "clippath", "use", "text", "tspan", "rect", "image", "polyline"}
BLOCKS = {"p", "div", "ul", "dl", "table", "figure", "section", "pre", "details", "h1", "h2", "h3"}
LINKS = {"href", "xlink:href", "src", "srcset", "data", "action", "formaction", "poster", "background"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Reader(HTMLParser):
    """Makes a tree of a page, and forgives nothing."""

    known = HTML

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.builder, self.open, self.declared = ElementTree.TreeBuilder(), [], []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"
        self.root = self.builder.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = "svg" in self.open or tag == "svg"
        assert tag in (SVG if inside else self.known), f"<{tag}> in {self.open}"
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"twice in one <{tag}>: {names}"
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is closed by its own in HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes {self.open}"
        self.open.pop()
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.builder.data(data)
        else:
            assert not data.strip(), f"outside of all: {data}"

    def handle_decl(self, decl: str) -> None:
        self.declared.append(decl)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def of_class(root: Element, name: str) -> list[Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def by_id(root: Element, name: str) -> Element:
    (found,) = [each for each in root.iter() if each.get("id") == name]
    return found


def section(root: Element, name: str) -> Element:
    """The section whose heading has that id."""
    (found,) = [each for each in root.iter("section") if each.get("aria-labelledby") == name]
    return found


def sections(root: Element) -> list[str]:
    return [
        each.get("aria-labelledby") for each in root.iter("section") if "sheet" not in each.get("class", "")
    ]


def rows(root: Element, caption: str) -> list[list[str]]:
    """The cells of the one table with that caption, its head left out."""
    (table,) = [each for each in root.iter("table") if [words(c) for c in each.iter("caption")] == [caption]]
    return [[words(cell) for cell in row] for row in table.find("tbody")]


def facts(root: Element) -> dict[str, str]:
    return {words(each[0]): words(each[1]) for dl in of_class(root, "facts") for each in dl}


def notes(root: Element) -> list[str]:
    return [words(each) for each in of_class(root, "note")]


def labels(root: Element) -> list[str]:
    """What the drawings are called."""
    return [each.get("aria-label") for each in root.iter("svg")]


def sound(text: str) -> Element:
    """The page's tree, after all that holds for every page."""
    reader = Reader(text)
    root = reader.root
    assert reader.declared == ["doctype html"]
    assert (root.tag, root.get("lang")) == ("html", "en")
    assert [each.tag for each in root] == ["head", "body"]
    head, body = root
    first, _, policy = list(head)[:3]
    assert first.get("charset") == "utf-8"
    assert (policy.get("http-equiv"), policy.get("content")) == ("Content-Security-Policy", POLICY)
    assert words(head.find("title"))
    assert len(list(body.iter("h1"))) == len(list(body.iter("main"))) == 1

    ids = [each.get("id") for each in root.iter() if "id" in each.attrib]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for each in root.iter():
        for name, value in each.attrib.items():
            assert not name.startswith("on"), name
            if name in LINKS:
                assert value.startswith("data:") or value.removeprefix("#") in ids, f"{name}={value}"
            if name in ("aria-labelledby", "for"):
                assert value in ids
            for place in re.findall(r"url\(([^)]*)\)", value):
                assert place.removeprefix("#") in ids
            if not name.startswith("xmlns") and name not in ("title", "alt", "aria-label"):
                assert "//" not in value or value.startswith("data:image/png;base64,"), value
    for each in root.iter("style"):
        assert not re.search(r"url\(|@import|//", each.text or "")
    for each in root.iter("img"):
        assert each.get("src").startswith("data:image/png;base64,")
        assert each.get("alt").strip()
    for each in root.iter("svg"):
        assert each.get("role") == "img"
        assert each.get("aria-label").strip()
    for each in root.iter("p"):
        assert not [inner.tag for inner in each.iter() if inner.tag in BLOCKS and inner is not each]
    for holder in root.iter():
        for table in holder.findall("table"):
            assert (
                words(table.find("caption"))
                if table.find("caption") is not None
                else (holder.get("aria-label"))
            )
            wide = len(table.find("thead")[0])
            assert [len(row) for row in table.find("tbody") if len(row) != wide] == []
    levels = [int(each.tag[1]) for each in body.iter() if re.fullmatch(r"h\d", each.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for each in root.iter("details"):
        assert each[0].tag == "summary"
    return root


def strict(text: str) -> dict[str, Any]:
    """JSON that has no NaN and no infinity, which are none."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@dataclass(frozen=True, eq=False)
class Shown:
    """A report and where it is from."""

    run: Path
    path: Path
    root: Element
    twin: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.run / "result.json").read_text())

    @property
    def said(self) -> list[str]:
        """The sentences of the verdict."""
        return [words(each) for found in of_class(self.root, "said") for each in found]


def show(run: Path, path: Path, **options: Any) -> Shown:
    """The report of `run`, written to `path` and read again."""
    assert report(run, path, **options) == path
    root, twin = sound(path.read_text("utf-8")), strict(path.with_suffix(".json").read_text())
    assert notes(root) == [note.replace("`", "") for note in twin["notes"]]
    return Shown(run, path, root, twin)


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


def test_the_checker_of_this_file_sees_what_is_wrong(digits):
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
        ("<caption>Course of training</caption>", "<caption></caption>"),
    ]:
        assert old in text
        with pytest.raises((AssertionError, AttributeError)):
            sound(text.replace(old, new, 1))


def test_every_section_is_there_and_the_menu_leads_to_each(digits):
    names = ["learning", "confusion", "mistakes", "classes", "trust", "along", "gates", "again"]
    assert sections(digits.root) == names
    (menu,) = digits.root.iter("nav")
    assert [link.get("href") for link in menu.iter("a")] == [f"#{name}" for name in names]


# --- what it says of the run


def test_the_page_begins_with_the_verdict_of_the_result_file(digits):
    test = digits.result["test"]
    root = digits.root
    assert words(root.find("head/title")) == "run: digits"
    assert words(next(root.iter("h1"))) == "run"
    header = words(root.find("body/header"))
    assert "1 layer of 128 LSTM units, trained on digits, read by rows" in header
    assert [words(each) for each in of_class(root, "big")] == [f"{100 * test['accuracy']:.2f} % right"]
    low, high = test["ci95"]
    assert (
        f"{test['correct']} of 360 sequences of the test part of digits. With 95 % confidence the accuracy "
        f"lies between {100 * low:.2f} and {100 * high:.2f} %."
    ) in header
    told = facts(root)
    assert told["mean cross-entropy"] == f"{test['loss']:.4f} nats"
    assert told["calibration error"] == f"{test['calibration']['error']:.4f}"
    assert told["parameters"] == "71,946"
    assert told["recipe, seed"] == "digits, 0"
    assert told["sequences seen"] == "19,968"
    assert (told["steps"], told["ended"], told["on"]) == ("624", "finished", "cpu")
    assert notes(root) == []


def test_the_verdict_can_be_worked_out_from_the_answers(digits, probabilities):
    truth = catalog.load("digits").test.targets
    answers, sure = probabilities.argmax(1), probabilities.max(1)
    right = answers == truth
    pairs = Counter((int(t), int(a)) for t, a in zip(truth, answers, strict=True) if t != a)
    half = right[np.argsort(-sure, kind="stable")[:180]].mean()
    gap = 100 * (sure.mean() - right.mean())
    mistakes = int((~right).sum())
    most = max(pairs.values())
    first, errors, surest, calibration, enough = digits.said
    share = 100 * np.bincount(truth).max() / 360
    assert first == f"Always naming the most frequent class would be right in {share:.1f} %."
    told = re.fullmatch(
        rf"Most frequent of its {mistakes} mistakes: (\d) taken for (\d), (once|twice|{most} times)\.", errors
    )
    assert pairs[int(told[1]), int(told[2])] == most
    assert told[3] == {1: "once", 2: "twice"}.get(most, f"{most} times")
    assert surest == f"Of the half that it was surest of, {100 * half:.2f} % are right."
    assert calibration.endswith(
        f"on the whole it is {abs(gap):.2f} points too {'sure of itself' if gap > 0 else 'modest'}."
    )
    assert enough.startswith(f"{digits.twin['along']['enough']} of 8 rows are enough: ")


def test_the_twin_holds_what_the_files_of_the_run_hold(digits, trained):
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


def test_the_mistakes_of_the_twin_are_what_the_network_says_of_the_first_steps(digits, trained):
    model = scanline.load(trained)
    test = model.align(catalog.load("digits").test)
    mistakes = digits.result["test"]["mistakes"]
    assert len(digits.twin["mistakes"]) == min(len(mistakes), 12) > 3
    for told, kept in zip(digits.twin["mistakes"], mistakes, strict=False):
        index = kept["index"]
        assert told["sequence"] == f"sequence {index}"
        assert (told["true"], told["answer"]) == (str(kept["true"]), str(kept["predicted"]))
        assert told["probability"] == pytest.approx(kept["probability"], abs=1e-5)
        values = test.values[index]
        assert np.array_equal(told["values"], values)
        along = softmax(
            np.concatenate(
                [
                    Predictor(model.network).outputs(from_steps(values[:count], test.classes))
                    for count in range(1, 9)
                ]
            )
        )
        assert told["along_answer"] == pytest.approx(along[:, int(told["answer"])], abs=1e-5)
        assert told["along_true"] == pytest.approx(along[:, int(told["true"])], abs=1e-5)
        others = [count for count, row in enumerate(along, 1) if row.argmax() != int(told["answer"])]
        assert told["settled"] == max(others, default=0) + 1
        assert np.shape(told["attribution"]) == (8, 8)


def from_steps(values: np.ndarray, classes: tuple[Any, ...]) -> Any:
    from scanline.data.memory import MemorySource

    return MemorySource.from_array(values[None], np.zeros(1, np.int64), classes, "the first steps")


def test_the_tables_behind_the_charts_hold_the_numbers_of_the_twin(digits):
    root, twin = digits.root, digits.twin
    test = twin["figures"]

    def interval(value: float, ends: list[float], places: int) -> str:
        return f"{value:.{places}f} ({ends[0]:.{places}f} to {ends[1]:.{places}f})"

    assert rows(root, "Course of training") == [
        [
            f"{each['step']:,}", f"{each['samples']:,}", each.get("part", "training batch"),
            f"{each['loss']:.4f}", f"{each['accuracy']:.4f}",
            f"{each['learning_rate']:.3g}" if "learning_rate" in each else "", f"{each['seconds']:.1f}",
        ]
        for each in twin["course"]
    ]  # fmt: skip
    assert rows(root, "Classes with 95 % intervals (bootstrap)") == [
        [str(each["class"]), str(each["n"]), str(each["correct"])]
        + [interval(each[kind], each[f"{kind}_ci95"], 3) for kind in ("recall", "precision", "f1")]
        for each in test["classes"]
    ]
    assert rows(root, "Reliability") == [
        [
            f"{each['low']:.3f} to {each['high']:.3f}",
            str(each["n"]),
            f"{each['confidence']:.4f}",
            f"{each['accuracy']:.4f}",
        ]
        for each in test["calibration"]["bins"]
    ]
    assert [[share, n] for share, n, *_ in rows(root, "Coverage")] == [
        [f"{100 * each['coverage']:.0f} %", str(each["n"])] for each in test["coverage"]
    ]
    assert rows(root, "Accuracy against rows read") == [
        [str(each["step"]), "360", interval(each["accuracy"], each["ci95"], 4)]
        for each in twin["along"]["steps"]
    ]
    assert rows(root, "Stop reading as soon as a class is that probable") == [
        [
            str(each["threshold"]),
            f"{each['accuracy']:.4f}",
            f"{each['mean_steps']:.1f}",
            f"{100 * each['stopped']:.2f} %",
        ]
        for each in twin["along"]["stops"]
    ]
    assert rows(root, "Gates: share of all units and steps") == [
        [each["name"]] + [f"{100 * each[kind]:.2f} %" for kind in ("shut", "between", "open")]
        for each in twin["activity"]["gates"]
    ]
    parts = twin["environment"]["data"]
    assert rows(root, "Digests")[:3] == [
        [f"{name} part, {each['n']:,} sequences", each["sha256"]] for name, each in parts.items()
    ]
    assert [row[:2] for row in rows(root, "Parts")] == [
        [name, f"{each['n']:,}"] for name, each in twin["split"]["parts"].items()
    ]


def test_the_recipe_on_the_page_is_the_recipe_and_the_command_names_it(digits, trained):
    commands = list(digits.root.iter("pre"))
    assert words(commands[0]) == "scanline train --recipe run/recipe.toml"
    shown = "".join(commands[1].itertext())
    assert tomllib.loads(shown) == tomllib.loads((trained / "recipe.toml").read_text())


# --- what is taken for what


def counts(root: Element) -> list[list[int]]:
    (table,) = of_class(root, "confusion")
    return [
        [0 if words(cell) == "·" else int(words(cell)) for cell in row[1:]] for row in table.find("tbody")
    ]


def test_the_matrix_is_that_of_the_result_and_every_count_leads_to_its_sequences(digits):
    confusion = digits.result["test"]["confusion"]
    assert counts(digits.root) == confusion
    (table,) = of_class(digits.root, "confusion")
    links = {link.get("href"): int(words(link)) for link in table.iter("a")}
    assert links == {
        f"#cell-{true}-{answer}": n for true, row in enumerate(confusion) for answer, n in enumerate(row) if n
    }
    for href, n in links.items():
        sheet = by_id(digits.root, href[1:])
        _, true, answer = href.split("-")
        shown = len(of_class(sheet, "thumbs")[0])
        assert shown == min(n, 8 if true == answer else 24)
        how = "recognised" if true == answer else f"taken for {answer}"
        more = ", these were the surest" if shown < n else ""
        assert words(next(sheet.iter("h3"))) == f"{true} {how}: {n}{more}"


def test_the_pictures_behind_a_count_are_the_surest_of_those_sequences_pixel_by_pixel(digits, probabilities):
    test = catalog.load("digits").test
    answers, sure = probabilities.argmax(1), probabilities.max(1)
    seen = 0
    for sheet in of_class(digits.root, "sheet"):
        true, answer = map(int, sheet.get("id").split("-")[1:])
        own = np.flatnonzero((test.targets == true) & (answers == answer))
        shown = []
        for thumb in of_class(sheet, "thumbs")[0]:
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


def test_the_worst_mistakes_are_drawn_with_their_numbers(digits):
    strips = of_class(digits.root, "strips")[0]
    assert len(strips) == len(digits.twin["mistakes"])
    for number, (strip, told) in enumerate(zip(strips, digits.twin["mistakes"], strict=True), 1):
        assert words(next(strip.iter("figcaption"))) == (
            f"{told['true']} taken for {told['answer']} (p = {told['probability']:.3f}), {told['sequence']}; "
            f"settled after {told['settled']} of 8"
        )
        title = f"Mistake {number}: {told['true']} taken for {told['answer']}, {told['sequence']}"
        assert labels(strip) == [title]


def test_every_chart_says_in_words_what_it_shows(digits):
    test = digits.result["test"]
    assert [name for name in labels(digits.root) if not name.startswith("Mistake")] == [
        "Loss and accuracy over 624 training steps",
        "Recall and precision of each class with their intervals",
        f"Share right against the probability given; error {test['calibration']['error']:.4f}",
        f"Accuracy of the share answered, the surest first, down to {test['accuracy']:.4f} of all",
        f"Accuracy against rows read; {digits.twin['along']['enough']} are enough",
        "How often each gate is shut or open, and how large each unit's state is",
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


def test_strange_names_are_words_and_nothing_else(strange):
    # That nothing was made of them `sound` has seen: it knows every element and attribute that may be there.
    root = strange.root
    assert not list(root.iter("img"))
    (table,) = of_class(root, "confusion")
    heads = [cell for cell in table.iter("th") if cell.get("title") is not None]
    assert Counter("".join(each.itertext()) for each in heads) == Counter(NAMES * 2)
    assert Counter(each.get("title") for each in heads) == Counter(NAMES * 2)
    assert {row[0] for row in rows(root, "Classes with 95 % intervals (bootstrap)")} == {
        " ".join(name.split()) for name in NAMES
    }
    assert sorted(strange.twin["classes"]) == sorted(NAMES)


def test_strange_names_of_sequences_files_and_folders_are_words_too(strange):
    root = strange.root
    run = strange.run.name
    assert words(next(root.iter("h1"))) == run
    assert words(root.find("head/title")) == f'{run}: the file <i>it\'s "{{{{ 7*7 }}}}" &amp;.csv'
    assert 'of the test part of <i>it\'s "{{ 7*7 }}" &amp;.csv.' in words(root.find("body/header"))
    named = re.compile(r"sequence (<s>\d+</s> &lt;), ")
    for image in [each for each in root.iter("svg") if each.get("viewbox") == "-1 -1 98 42"]:
        assert named.match(image.get("aria-label"))
    for each in strange.twin["mistakes"]:
        assert re.fullmatch(r"sequence <s>\d+</s> &lt;", each["sequence"])
        assert each["sequence"] in words(of_class(root, "strips")[0])
    command = words(next(root.iter("pre")))
    assert command == f"scanline train --recipe '{run}/recipe.toml'"
    assert words(root.find("body/footer")).endswith("stands in {{ 7*7 }}<b>.json too.")
    assert "<u>x</u>" in "".join(list(root.iter("pre"))[1].itertext())


def test_a_folder_with_a_space_and_a_quote_stays_one_word_of_the_command(strange, tmp_path):
    import shlex
    import shutil

    moved = tmp_path / "it's $HOME"
    shutil.copytree(strange.run, moved)
    shutil.rmtree(moved / "model")  # nothing to judge: quick
    page = show(moved, tmp_path / "page.html")
    command = words(next(page.root.iter("pre")))
    assert shlex.split(command) == ["scanline", "train", "--recipe", "it's $HOME/recipe.toml"]
