"""A strict reader of pages: their tree, their parts, and what holds for every page."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

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
    (elements,) = [each for each in root.iter() if each.get("id") == name]
    return elements


def section(root: Element, name: str) -> Element:
    """The section whose heading has that id."""
    (elements,) = [each for each in root.iter("section") if each.get("aria-labelledby") == name]
    return elements


def sections(root: Element) -> list[str]:
    return [
        each.get("aria-labelledby") for each in root.iter("section") if "cell" not in each.get("class", "")
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


def counts(root: Element) -> list[list[int]]:
    (table,) = of_class(root, "confusion")
    return [
        [0 if words(cell) == "·" else int(words(cell)) for cell in row[1:]] for row in table.find("tbody")
    ]


def strict(text: str) -> dict[str, Any]:
    """JSON that has no NaN and no infinity, which are none."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    content: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return content


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
    def findings(self) -> list[str]:
        """The sentences of the main findings."""
        return [words(each) for found in of_class(self.root, "findings") for each in found]


def show(run: Path, path: Path, **options: Any) -> Shown:
    """The report of `run`, written to `path` and read again."""
    assert report(run, path, **options) == path
    root, twin = sound(path.read_text("utf-8")), strict(path.with_suffix(".json").read_text())
    assert notes(root) == [note.replace("`", "") for note in twin["notes"]]
    return Shown(run, path, root, twin)
