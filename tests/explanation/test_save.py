"""Explanations as files and as parts of a notebook."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scanline
from scanline import plots
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.data.readers.arrays import Arrays
from scanline.errors import MissingExtraError, ScanlineError, UsageError
from scanline.explanation import save as saving
from scanline.explanation.explain import explain
from scanline.explanation.explanation import Explanation
from scanline.explanation.save import FORMATS, save
from scanline.explanation.trace import Trace

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
NAMES = [
    "<script>alert(1)</script>",
    "a & b",
    "$x^2$",
    "中文类",
    "x" * 300,
    "(#1) id=\"q\" href='#2'",
    "#010203",
    "<metadata>",
    "bell\x07",
    "line\nbreak",
]
WORDS = [" ".join(name.split()) for name in NAMES]


@pytest.fixture(scope="module")
def digit(trained) -> Explanation:
    return explain(scanline.load(trained), catalog.load("digits").test.values[5])


@pytest.fixture(scope="module")
def markup_names(tmp_path_factory) -> Explanation:
    """Of a model whose class names are no friends of markup."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(60, 5, 2)).astype(np.float32)
    data = Arrays(values, np.array(NAMES * 6, object))
    settings = {"train.samples": 0, "train.steps": 3, "train.epochs": 0, "model.hidden_size": 4}
    settings |= {"model.cell": "rnn", "model.bidirectional": False}  # fewest panels: quick to draw
    run = train(data, settings=settings, run=tmp_path_factory.mktemp("strange") / "run", log=None)
    explanation = explain(run.model, values[0], 'a <b>"name"</b> & more')
    assert set(explanation.trace.classes) == set(NAMES)
    return explanation


def written(explanation: Explanation, folder: Path, kind: str) -> Path:
    """The file of that kind, which is all that stands in the folder afterwards."""
    path = folder / f"picture{kind}"
    save(explanation, path)
    assert list(folder.iterdir()) == [path]
    return path


def drawing(page: str) -> str:
    """The one SVG in a piece of a page."""
    (matches,) = re.findall(r"<svg.*</svg>", page, re.DOTALL)
    return matches


def texts(svg: str) -> list[str]:
    """All that is written in an SVG, as it is read."""
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


# --- formats


def test_a_png_is_a_picture_and_not_blank(digit, tmp_path):
    with Image.open(written(digit, tmp_path, ".png")) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 800
    assert pixels[0, 0] == 255  # on white, not on nothing
    assert (pixels < 128).mean() > 0.05


def test_an_svg_is_labelled_and_self_contained(digit, tmp_path):
    text = written(digit, tmp_path, ".svg").read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Explanation of the given sequence: gates and states by step"
    assert "viewBox" in root.attrib
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert not tags & {"script", "foreignObject", "metadata", "a", "iframe"}
    own = {each.get("id") for each in root.iter()}
    for each in root.iter():
        for name, value in each.attrib.items():
            assert not name.lower().startswith("on")
            if name in (LINK, "href"):
                assert value.startswith("data:image/png;base64,") or value.removeprefix("#") in own
            for place in re.findall(r"url\(([^)]*)\)", value):
                assert place.removeprefix("#") in own
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert "<!DOCTYPE" not in text
    written_in_it = texts(text)
    for words in ("input", "input gate i", "forget gate f", "candidate g", "output gate o", "cell state c"):
        assert words in written_in_it


@pytest.mark.campaign
def test_an_animation_has_a_frame_for_every_step(digit, tmp_path):
    with Image.open(written(digit, tmp_path, ".gif")) as film:
        assert film.format == "GIF"
        assert film.n_frames == len(digit.values) == 8
        assert film.info["loop"] == 0
        frames, times = [], []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("L")).astype(int))
            times.append(film.info["duration"])
    assert times[-1] > 1000 > times[0]
    assert min(frames[0].shape) > 400
    assert all(frame[0, 0] == 255 for frame in frames)  # on pure white
    for before, after in itertools.pairwise(frames):
        assert (np.abs(after - before) > 30).sum() > 50
    for step in (1, 5):
        with Image.open(io.BytesIO(plots.to_png(digit.figure(step), 80))) as expected:
            assert np.abs(frames[step - 1] - np.asarray(expected.convert("L"))).mean() < 2


def test_a_json_file_has_every_number(digit, tmp_path):
    def no_constant(name):
        raise AssertionError(name)

    text = written(digit, tmp_path, ".json").read_text()
    assert json.loads(text, parse_constant=no_constant) == {"schema": 1} | digit.to_json()


def test_an_npz_file_equals_the_json(digit, tmp_path):
    with np.load(written(digit, tmp_path, ".npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    content = digit.to_json()
    assert np.array_equal(arrays.pop("probabilities"), content["probabilities"])
    assert np.array_equal(arrays.pop("attribution"), content["attribution"]["values"])
    assert np.array_equal(arrays.pop("values"), content["values"])
    assert arrays.pop("classes").tolist() == [str(name) for name in content["classes"]]
    (layer,) = content["layers"]
    for split in "ifgoch":
        assert arrays.pop(f"l1_{split}") == pytest.approx(np.array(layer[split]), abs=1e-7)
    assert not arrays


@pytest.mark.parametrize("kind", [".svg", ".png", ".json", ".npz"])
def test_the_same_explanation_gives_the_same_bytes(markup_names, tmp_path, kind):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (written(markup_names, folder, kind).read_bytes() for folder in folders)
    assert one == two


def test_the_ending_may_be_in_capitals(digit, tmp_path):
    assert json.loads(written(digit, tmp_path, ".JSON").read_text())["schema"] == 1


@pytest.mark.parametrize("name", ["picture.bmp", "picture", ".png", "picture.png.txt"])
def test_another_suffix_is_refused_and_leaves_no_files(digit, tmp_path, name):
    with pytest.raises(UsageError, match=r"ending in \.png, \.svg, \.gif, \.json, \.npz; got "):
        save(digit, tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert FORMATS == (".png", ".svg", ".gif", ".json", ".npz")


def test_a_failed_write_leaves_the_old_file_only(digit, tmp_path):
    with pytest.raises(ScanlineError, match=r"cannot write .*nowhere/e\.json: No such file"):
        save(digit, tmp_path / "nowhere" / "e.json")
    (tmp_path / "e.json").mkdir()
    with pytest.raises(ScanlineError, match=r"cannot write .*e\.json: Is a directory"):
        save(digit, tmp_path / "e.json")
    assert [path.name for path in tmp_path.iterdir()] == ["e.json"]
    assert not list((tmp_path / "e.json").iterdir())


def test_an_old_file_is_replaced(digit, tmp_path):
    (tmp_path / "picture.json").write_text("old")
    assert json.loads(written(digit, tmp_path, ".json").read_text())["schema"] == 1


# --- what a film shows


def test_a_frame_shows_unread_pixels_in_grey(digit):
    whole = digit.picture
    for step in (1, 4, 8):
        drawn = digit.figure(step).axes[0].images[0]
        shown = np.asarray(drawn.get_array())
        assert np.array_equal(shown[:step], whole[:step])
        assert len(np.unique(shown[step:])) == (step < 8)
        assert drawn.get_clim() == (0, 255)  # the same brightness in every frame, whatever is read so far


def test_a_frame_hides_what_is_not_read_yet(digit):
    axes = digit.figure(3).axes
    assert not axes[1].images  # the attribution knows the end
    lines, heat, *parts = axes[2:]
    assert all(len(line.get_xdata()) == 3 for line in lines.lines)
    for image in [heat.images[0], *(place.images[0] for place in parts[:6])]:
        hidden = np.ma.getmaskarray(image.get_array())
        assert not hidden[:, :3].any()
        assert hidden[:, 3:].all()


def test_the_number_of_frames_is_limited(markup_names, tmp_path, monkeypatch):
    assert saving._MAX_FRAMES == 60
    monkeypatch.setattr(saving, "_MAX_FRAMES", 3)  # sixty take ten seconds
    steps = np.repeat(np.arange(5), 4)
    long = replace(
        markup_names,
        trace=Trace(markup_names.trace.probabilities[steps], markup_names.trace.classes, ()),
        values=markup_names.values[steps],
    )
    with Image.open(written(long, tmp_path, ".gif")) as film:
        assert film.n_frames == 3


# --- names


def test_unusual_class_names_are_plain_text_in_an_svg(markup_names, tmp_path):
    text = written(markup_names, tmp_path, ".svg").read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert not [each for each in root.iter() if each.tag.removeprefix(SVG) in ("script", "b", "metadata")]
    assert root.get("aria-label") == 'Explanation of a <b>"name"</b> & more: gates and states by step'
    ticks = texts(text)
    for name in WORDS:
        name = name.replace("\x07", "\N{REPLACEMENT CHARACTER}")
        assert (name if len(name) <= 14 else f"{name[:13]}…") in ticks
    assert "alert(1)</script>" not in text


def test_unusual_class_names_are_plain_text_in_a_notebook(markup_names):
    text = markup_names._repr_html_()
    collected: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            collected.append(tag)

    Tags().feed(text)
    assert not {"script", "b", "metadata"} & set(collected)
    assert {"div", "p", "svg"} <= set(collected)
    words = markup_names.lines()[0]
    assert "<b>" in words
    assert "a &lt;b&gt;&quot;name&quot;&lt;/b&gt; &amp; more: " in text
    texts(drawing(text))


@pytest.mark.parametrize("name", NAMES)
def test_any_predicted_class_name_is_plain_text_in_a_notebook(markup_names, name):
    """Each class in turn as the answer, which stands in the words and in a title."""
    wanted = markup_names.trace.classes.index(name)
    order = np.roll(np.arange(len(NAMES)), markup_names.trace.prediction - wanted)
    classes = tuple(markup_names.trace.classes[index] for index in order)
    turned = replace(markup_names, trace=replace(markup_names.trace, classes=classes, labels=()))
    assert turned.label == name
    text = turned._repr_html_()
    assert "<script" not in text
    shown = WORDS[NAMES.index(name)].replace("\x07", "\N{REPLACEMENT CHARACTER}")
    shown = shown if len(shown) <= 14 else f"{shown[:13]}…"
    assert f"attribution: for {shown} (blue), against (red)" in texts(drawing(text))


def test_unusual_class_names_are_unchanged_in_json_and_npz(markup_names, tmp_path):
    path = tmp_path / "json"
    path.mkdir()
    shown_text = json.loads(written(markup_names, path, ".json").read_text())
    assert sorted(shown_text["classes"]) == sorted(NAMES)
    assert shown_text["label"] in NAMES
    path = tmp_path / "npz"
    path.mkdir()
    with np.load(written(markup_names, path, ".npz"), allow_pickle=False) as file:
        assert sorted(file["classes"].tolist()) == sorted(NAMES)


def test_unusual_class_names_are_drawn_in_a_png_without_warnings(markup_names, tmp_path, capfd):
    with Image.open(written(markup_names, tmp_path, ".png")) as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert capfd.readouterr().err == ""


def test_a_file_name_that_is_no_text_can_still_be_written(markup_names, tmp_path):
    named = replace(markup_names, name="pict\udcff.png")  # how Python shows a byte that is no UTF-8
    text = written(named, tmp_path, ".svg").read_text("utf-8")
    label = ElementTree.fromstring(text).get("aria-label")
    assert label == "Explanation of pict\N{REPLACEMENT CHARACTER}.png: gates and states by step"


# --- in a notebook


def test_two_explanations_in_one_notebook_have_different_ids(trained):
    model, images = scanline.load(trained), catalog.load("digits").test.values
    pages = [explain(model, image)._repr_html_() for image in images[:2]]
    one, two = (set(re.findall(r'\bid="([^"]+)"', page)) for page in pages)
    assert one
    assert not one & two


def test_without_matplotlib_a_notebook_has_the_summary(digit, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = digit._repr_html_()
    assert text == "<p>" + "<br>".join(line.strip() for line in digit.lines()) + "</p>"


@pytest.mark.parametrize("kind", [".png", ".svg", ".gif"])
def test_without_matplotlib_the_error_names_the_extra(digit, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"requires matplotlib, .* pip install '\.\[report\]'"):
        save(digit, tmp_path / f"e{kind}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [".json", ".npz"])
def test_without_matplotlib_numbers_are_saved(digit, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert io.BytesIO(written(digit, tmp_path, kind).read_bytes()).getbuffer().nbytes > 1000
