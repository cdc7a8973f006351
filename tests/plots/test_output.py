"""Figures as SVG, PNG and GIF, made from the numbers of a real run."""

from __future__ import annotations

import copy
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from scanline import plots
from scanline.errors import MissingExtraError
from scanline.plots.style import BLUE, GREEN, GREY, INK, ORANGE
from scanline.reporting import figures
from tests.plots.samples import (
    CHARTS,
    PICTURES,
    SVG,
    Sample,
    names,
    parsed,
    pictured,
)

PALETTE = {BLUE, ORANGE, GREY, GREEN}


@pytest.fixture(scope="module")
def sample(trained) -> Sample:
    return Sample(trained)


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_a_real_run_is_drawn_as_svg_that_fits_any_page(sample, name):
    svg = sample.svg(name)
    root = parsed(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == sample.title(name)
    assert root.get("viewBox")
    assert "width" not in root.attrib  # it is as wide as the page lets it
    assert "height" not in root.attrib
    assert not {"script", "metadata", "foreignObject"} & {each.tag.removeprefix(SVG) for each in root.iter()}
    assert "<?xml" not in svg
    assert "<!DOCTYPE" not in svg


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_lines_and_text_have_the_colour_of_the_page(sample, name):
    svg = re.sub(r'data:image/png;base64,[^"]*', "", sample.svg(name))
    assert "currentColor" in svg
    assert INK not in svg
    assert "#000000" not in svg
    for each in parsed(svg).iter(f"{SVG}text"):
        assert "fill: currentColor" in each.get("style")
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= PALETTE
    assert "fill: #ffffff" not in svg  # and stands on the page's own ground


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_text_stays_text_in_the_font_of_the_page(sample, name):
    svg = sample.svg(name)
    assert "DejaVu" not in svg
    letters = list(parsed(svg).iter(f"{SVG}text"))
    assert letters
    for each in letters:
        assert "'" not in each.get("style")
        assert re.search(r"(font: [\d.]+px|font-family:) system-ui, sans-serif", each.get("style"))


def test_figures_of_one_page_have_different_ids(sample):
    result = {name: sample.svg(name) for name in CHARTS + PICTURES}
    own = {name: names(parsed(svg)) for name, svg in result.items()}
    for name, ids in own.items():
        assert len(ids) == len(set(ids)), name
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', result[name])
        assert {one or other for one, other in used} <= set(ids)
    for one, other in itertools.combinations(own, 2):
        assert not set(own[one]) & set(own[other]), (one, other)


def test_figures_with_the_same_title_have_different_ids(sample):
    one, two = (plots.to_svg(sample.draw(name), "same") for name in ("coverage_curve", "accuracy_by_step"))
    assert not set(names(parsed(one))) & set(names(parsed(two)))


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_the_same_figures_give_the_same_bytes(sample, name):
    assert plots.to_svg(sample.draw(name), sample.title(name)) == sample.svg(name)


def test_another_process_gives_the_same_bytes(sample, tmp_path):
    coverage = [[each.coverage, each.accuracy] for each in sample.test.coverage]
    (tmp_path / "coverage.json").write_text(json.dumps(coverage))
    program = (
        "import json, sys; from scanline import plots; "
        f"coverage = json.load(open({str(tmp_path / 'coverage.json')!r})); "
        "sys.stdout.write(plots.to_svg(plots.coverage_curve(*zip(*coverage)), 'same'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert ran.stdout == plots.to_svg(sample.draw("coverage_curve"), "same")


def test_drawing_leaves_the_settings_of_matplotlib_alone(sample):
    from matplotlib import rcParams

    before = dict(rcParams)
    plots.to_svg(sample.draw("coverage_curve"), "x")
    assert dict(rcParams) == before


def test_drawing_does_not_change_its_input(sample):
    given = copy.deepcopy(
        (sample.history, sample.test, sample.along, sample.activity, pictured(sample.answer))
    )
    for name in CHARTS + PICTURES:
        sample.draw(name)
    assert given[:4] == (sample.history, sample.test, sample.along, sample.activity)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(given[4][1:3], pictured(sample.answer)[1:3], strict=True)
    )


@pytest.mark.parametrize("name", [*CHARTS, *PICTURES, "to_svg", "to_png", "to_gif"])
def test_without_matplotlib_the_error_is_one_line_that_names_the_extra(sample, name, monkeypatch):
    figure = figures.coverage_curve(sample.test.coverage)
    makes = {
        "to_svg": lambda: plots.to_svg(figure, "title"),
        "to_png": lambda: plots.to_png(figure),
        "to_gif": lambda: plots.to_gif([figure]),
    }
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as caught:
        makes.get(name, lambda: sample.draw(name))()
    assert (caught.value.extra, caught.value.packages) == ("report", ("matplotlib",))
