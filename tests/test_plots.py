"""Every picture that is drawn: from real figures, at the edges, and fit for a page."""

from __future__ import annotations

import copy
import io
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import scanline
from scanline import plots
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.errors import MissingExtraError
from scanline.evaluation.early import accuracy_by_step
from scanline.explanation.attribution import Attribution
from scanline.explanation.explain import Explanation, explain_part
from scanline.explanation.trace import PARTS, Direction, Trace
from scanline.metrics.classification import classification_metrics
from scanline.reporting.activity import gate_activity
from tests.conftest import make_sequences
from tests.explanation.test_trace import CLASSES, network

SVG = "{http://www.w3.org/2000/svg}"
PALETTE = {plots.BLUE, plots.ORANGE, plots.GREY, "#5aa469"}
CHARTS = [
    "learning_curve",
    "class_figures",
    "reliability_diagram",
    "coverage_curve",
    "accuracy_by_length",
    "accuracy_along",
    "gate_activity",
]
PICTURES = ["mistake", "explanation", "half an explanation"]


class Story:
    """What a run has to tell: its course, its figures, and one answer explained."""

    def __init__(self, run) -> None:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        self.course = [json.loads(line) for line in lines]
        self.test = json.loads((run / "result.json").read_text())["test"]
        model = scanline.load(run)
        part = model.fit(catalog.load("digits").test)
        self.along = accuracy_by_step(model.network, part)
        self.activity = gate_activity(model.network, part)
        self.answer = explain_part(model, part, 5)
        self._drawn: dict[str, str] = {}

    def svg(self, name):
        """Drawn once: not to be changed."""
        if name not in self._drawn:
            self._drawn[name] = plots.to_svg(self.draw(name), self.title(name))
        return self._drawn[name]

    @staticmethod
    def title(name):
        return f'What <{name}> & "more" shows'

    def draw(self, name):
        answer, test = self.answer, self.test
        true = (answer.trace.answer + 1) % 10
        given = {
            "learning_curve": (self.course,),
            "class_figures": (test["classes"],),
            "reliability_diagram": (test["calibration"],),
            "coverage_curve": (test["coverage"],),
            "accuracy_by_length": (test["by_length"],),
            "accuracy_along": (self.along, "rows"),
            "gate_activity": (self.activity,),
        }
        if name == "mistake":
            return plots.mistake(*pictured(answer), true)
        if name == "explanation":
            return plots.explanation(*pictured(answer))
        if name == "half an explanation":
            return plots.explanation(*pictured(answer)[:3], upto=4)
        return getattr(plots, name)(*given[name])


def pictured(answer: Explanation):
    return answer.trace, answer.picture, answer.values, answer.attribution, answer.places


@pytest.fixture(scope="module")
def story(trained) -> Story:
    return Story(trained)


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return root


def written(figure) -> list[str]:
    """All that a figure says."""
    root = parsed(plots.to_svg(figure, "a figure"))
    return ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]


def names(root: ElementTree.Element) -> list[str]:
    return [each.get("id") for each in root.iter() if each.get("id")]


# --- every figure


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_a_real_run_is_drawn_as_svg_that_fits_any_page(story, name):
    svg = story.svg(name)
    root = parsed(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == story.title(name)
    assert root.get("viewBox")
    assert "width" not in root.attrib  # it is as wide as the page lets it
    assert "height" not in root.attrib
    assert not {"script", "metadata", "foreignObject"} & {each.tag.removeprefix(SVG) for each in root.iter()}
    assert "<?xml" not in svg
    assert "<!DOCTYPE" not in svg


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_ink_is_the_pages_own_colour(story, name):
    svg = re.sub(r'data:image/png;base64,[^"]*', "", story.svg(name))
    assert "currentColor" in svg
    assert plots._INK not in svg
    assert "#000000" not in svg
    for each in parsed(svg).iter(f"{SVG}text"):
        assert "fill: currentColor" in each.get("style")
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= PALETTE
    assert "fill: #ffffff" not in svg  # and stands on the page's own ground


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_letters_are_letters_in_the_pages_own_face(story, name):
    svg = story.svg(name)
    assert "DejaVu" not in svg
    letters = list(parsed(svg).iter(f"{SVG}text"))
    assert letters
    for each in letters:
        assert "'" not in each.get("style")
        assert re.search(r"(font: [\d.]+px|font-family:) system-ui, sans-serif", each.get("style"))


def test_no_two_figures_of_a_page_share_a_name(story):
    found = {name: story.svg(name) for name in CHARTS + PICTURES}
    own = {name: names(parsed(svg)) for name, svg in found.items()}
    for name, ids in own.items():
        assert len(ids) == len(set(ids)), name
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', found[name])
        assert {one or other for one, other in used} <= set(ids)
    for one, other in itertools.combinations(own, 2):
        assert not set(own[one]) & set(own[other]), (one, other)


def test_two_figures_of_one_title_share_no_name_either(story):
    one, two = (plots.to_svg(story.draw(name), "same") for name in ("coverage_curve", "accuracy_along"))
    assert not set(names(parsed(one))) & set(names(parsed(two)))


@pytest.mark.parametrize("name", CHARTS + PICTURES)
def test_the_same_figures_give_the_same_bytes(story, name):
    assert plots.to_svg(story.draw(name), story.title(name)) == story.svg(name)


def test_another_process_gives_the_same_bytes(story, tmp_path):
    (tmp_path / "coverage.json").write_text(json.dumps(story.test["coverage"]))
    program = (
        "import json, sys; from scanline import plots; "
        f"coverage = json.load(open({str(tmp_path / 'coverage.json')!r})); "
        "sys.stdout.write(plots.to_svg(plots.coverage_curve(coverage), 'same'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert ran.stdout == plots.to_svg(story.draw("coverage_curve"), "same")


def test_drawing_leaves_the_settings_of_matplotlib_alone(story):
    from matplotlib import rcParams

    before = dict(rcParams)
    plots.to_svg(story.draw("coverage_curve"), "x")
    assert dict(rcParams) == before


def test_drawing_changes_nothing_that_it_is_given(story):
    given = copy.deepcopy((story.course, story.test, story.along, story.activity, pictured(story.answer)))
    for name in CHARTS + PICTURES:
        story.draw(name)
    assert given[:4] == (story.course, story.test, story.along, story.activity)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(given[4][1:3], pictured(story.answer)[1:3], strict=True)
    )


@pytest.mark.parametrize("name", [*CHARTS, *PICTURES, "to_svg", "to_png", "film"])
def test_without_matplotlib_the_error_is_one_line_that_names_the_extra(story, name, monkeypatch):
    figure = plots.coverage_curve(story.test["coverage"])
    makes = {
        "to_svg": lambda: plots.to_svg(figure, "title"),
        "to_png": lambda: plots.to_png(figure),
        "film": lambda: plots.film([figure]),
    }
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as caught:
        makes.get(name, lambda: story.draw(name))()
    assert (caught.value.extra, caught.value.packages) == ("report", ("matplotlib",))


# --- what they show


def data_of(line):
    return np.asarray(line.get_xdata(), float).tolist(), np.asarray(line.get_ydata(), float).tolist()


def test_the_learning_curve_shows_every_line_of_the_course(story):
    loss, accuracy = story.draw("learning_curve").axes
    logged = [entry for entry in story.course if entry["event"] == "logged"]
    judged = [entry for entry in story.course if entry.get("part") == "validation"]
    assert len(logged) > 5
    assert len(judged) > 2
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        for line, entries in zip(axes.lines, (logged, judged), strict=True):
            assert data_of(line) == ([e["step"] for e in entries], [e[kind] for e in entries])


def test_the_class_figures_show_every_class_with_its_intervals(story):
    (axes,) = story.draw("class_figures").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(digit) for digit in range(10)]
    for line, kind in zip(axes.lines, ("recall", "precision"), strict=True):
        assert data_of(line)[0] == [entry[kind] for entry in story.test["classes"]]
    for lines, kind in zip(axes.collections, ("recall", "precision"), strict=True):
        ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
        assert ends == [entry[f"{kind}_ci95"] for entry in story.test["classes"]]


def test_reading_along_shows_the_accuracy_of_every_step(story):
    (axes,) = story.draw("accuracy_along").axes
    steps = [entry["step"] for entry in story.along["steps"]]
    assert data_of(axes.lines[0]) == (steps, [entry["accuracy"] for entry in story.along["steps"]])
    assert f"{story.along['enough']} are enough" in written(story.draw("accuracy_along"))
    assert "rows read" in written(story.draw("accuracy_along"))


def test_the_gates_of_the_figures_are_those_of_the_bars(story):
    bars, units = story.draw("gate_activity").axes
    widths = [bar.get_width() for bar in bars.patches]
    gates = story.activity["gates"]
    expected = [entry[kind] for kind in ("shut", "between", "open") for entry in gates]
    assert widths == pytest.approx(expected, abs=1e-12)
    (line,) = units.lines
    assert data_of(line)[1] == sorted(story.activity["states"][0]["mean_size"], reverse=True)


def test_an_explanation_shows_every_gate_and_state(story):
    found = written(story.draw("explanation"))
    for title in ("input gate i", "forget gate f", "candidate g", "output gate o", "cell c", "state h"):
        assert title in found
    assert f"what speaks for {story.answer.label} (blue) and against (red)" in found


@pytest.mark.parametrize("upto", [None, 5])
def test_a_panel_has_the_values_of_every_unit_the_busiest_on_top(story, upto):
    trace, picture, values, _, _ = pictured(story.answer)
    panels = plots.explanation(trace, picture, values, upto=upto).axes[4:10]
    for panel, part in zip(panels, trace.directions[0].parts.values(), strict=True):
        (image,) = panel.images
        order = np.argsort(-part.mean(0), kind="stable")
        assert np.array_equal(np.asarray(image.get_array())[:, :upto], part.T[order, :upto])
        assert image.get_extent() == [0.5, 8.5, 128.5, 0.5]  # step 1 and unit 1 lie at 1


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_layers_and_directions_are_named_where_there_are_several(cell):
    parts = {name: np.zeros((3, 4), np.float32) for name in PARTS[cell]}
    directions = [Direction(layer, backward, parts) for layer in (0, 1) for backward in (False, True)]
    drawn = plots.explanation(*told(3, directions=tuple(directions)))
    found = written(drawn)
    for name, each in itertools.product(PARTS[cell], directions):
        assert f"{plots.PARTS[name]} {name}, {each.title}" in found


def test_a_png_is_drawn_dark_on_white(story):
    with Image.open(io.BytesIO(plots.to_png(story.draw("coverage_curve")))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels.max(2) < 60).sum() > 500


def test_a_film_stays_on_its_last_frame():
    frames = [plots.coverage_curve([{"coverage": 0.5, "accuracy": share}]) for share in (0.2, 0.5, 0.8)]
    with Image.open(io.BytesIO(plots.film(frames, 100))) as film:
        times = []
        for number in range(film.n_frames):
            film.seek(number)
            times.append(film.info["duration"])
    assert times == [100, 100, 2500]


# --- at the edges


def told(steps, classes=CLASSES, features=3, directions=None, seed=0):
    """Trace, no picture, values and attribution of a made-up sequence."""
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(len(classes)), size=steps)
    if directions is None:  # fewest panels: quick to draw
        directions = (Direction(0, False, {"h": draw.uniform(-1, 1, size=(steps, 4)).astype(np.float32)}),)
    trace = Trace(shares, classes, directions)
    values = draw.normal(size=(steps, features)).astype(np.float32)
    return trace, None, values, Attribution(draw.normal(size=values.shape), trace.answer, 1.0, 0.0)


def judged(classes, labels, logits, steps=3):
    """The figures of made-up answers."""
    values = np.zeros((len(labels), steps, 2), np.float32)
    part = MemorySource.from_array(values, np.asarray(labels), tuple(classes), "made up")
    return classification_metrics(np.asarray(logits, np.float32), part)


def all_charts(test):
    return [
        plots.class_figures(test["classes"]),
        plots.reliability_diagram(test["calibration"]),
        plots.coverage_curve(test["coverage"]),
        plots.accuracy_by_length(test["by_length"]),
    ]


def drawn(*figures):
    """Each figure parses as SVG and makes a PNG that is not blank."""
    for number, figure in enumerate(figures):
        parsed(plots.to_svg(figure, f"figure {number}"))
        with Image.open(io.BytesIO(plots.to_png(figure, 40))) as picture:
            assert np.asarray(picture.convert("L")).min() < 128


def test_data_of_one_class_alone_is_drawn():
    test = judged(["a", "b"], [0] * 20, [[2.0, 0.0]] * 20)
    assert test["classes"][1]["recall"] is None
    drawn(*all_charts(test))


def test_an_undefined_precision_has_no_dot():
    test = judged(["a", "b", "c"], [0, 1, 2] * 6, [[2.0, 1.0, 0.0]] * 18)  # always a
    assert [entry["precision"] is None for entry in test["classes"]] == [False, True, True]
    figure = plots.class_figures(test["classes"])
    recall, precision = figure.axes[0].lines
    assert len(recall.get_xdata()) == 3
    assert len(precision.get_xdata()) == 1
    drawn(*all_charts(test))


def test_figures_that_are_all_undefined_are_drawn():
    nothing = {"recall": None, "recall_ci95": None, "precision": None, "precision_ci95": None}
    drawn(plots.class_figures([{"class": "a"} | nothing, {"class": "b"} | nothing]))


def test_one_sequence_is_drawn():
    drawn(*all_charts(judged(["a", "b"], [1], [[0.0, 1.0]])))
    part = make_sequences(n=1, features=3)
    classifier = network()
    drawn(
        plots.accuracy_along(accuracy_by_step(classifier, part)),
        plots.gate_activity(gate_activity(classifier, part)),
    )


def test_thirty_classes_each_have_a_row_of_their_own():
    classes = [f"class number {number}" for number in range(30)]
    logits = np.random.default_rng(0).normal(size=(90, 30)) + 3 * np.eye(30)[np.arange(90) % 30]
    test = judged(classes, np.arange(90) % 30, logits)
    drawn(*all_charts(test))
    figure = plots.class_figures(test["classes"])
    assert {name[:13] + "…" for name in classes} <= set(written(figure))
    height = figure.get_figheight() / 30
    assert height > 0.2  # inches a class
    drawn(plots.explanation(*told(4, tuple(classes))), plots.mistake(*told(4, tuple(classes)), None, 29))


@pytest.mark.parametrize(
    "which", list(itertools.product(["lstm", "gru", "rnn"], [1, 3], [False, True])), ids=str
)
def test_gates_of_every_network_are_drawn(which):
    activity = gate_activity(network(*which), make_sequences(n=5))
    assert len(activity["gates"]) == {"lstm": 3, "gru": 2, "rnn": 0}[which[0]] * which[1] * (1 + which[2])
    drawn(plots.gate_activity(activity))


def test_sequences_of_one_step_are_drawn_and_seen():
    given = told(1)
    for figure in (
        plots.explanation(*given),
        plots.explanation(*given[:3], upto=1),
        plots.mistake(*given, None, 1),
    ):
        drawn(figure)
    part = make_sequences(n=8, steps=1)
    drawn(
        plots.accuracy_along(accuracy_by_step(network(), part)),
        plots.gate_activity(gate_activity(network(), part)),
    )
    drawn(*all_charts(judged(["a", "b"], [0, 1] * 4, [[1.0, 0.0]] * 8, steps=1)))


@pytest.mark.parametrize("upto", [None, 1])
def test_what_is_known_of_a_single_step_is_a_dot(upto):
    """A line through one point is none: whoever reads the first step should see where it stands."""
    trace, picture, values, attribution = told(1 if upto is None else 5)
    axes = plots.explanation(trace, picture, values, attribution, upto=upto).axes
    for place in (axes[0], axes[2]):
        assert place.lines
        for line in place.lines:
            if len(line.get_xdata()) == 1:
                assert line.get_marker() not in (None, "None", "", " ")


def test_a_sequence_of_many_features_and_steps_is_drawn():
    figure = plots.explanation(*told(300, features=40))
    assert "what is read, 12 of its features" in written(figure)
    drawn(figure)


def test_attributions_of_nothing_are_drawn():
    trace, _, values, attribution = told(4)
    nothing = Attribution(np.zeros_like(attribution.values), 0, 0.0, 0.0)
    drawn(
        plots.explanation(trace, None, values, nothing), plots.mistake(trace, None, values, nothing, None, 1)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_grey_and_of_colour_are_drawn(channels):
    trace, _, values, attribution = told(4)
    shape = (6, 5) if channels == 1 else (6, 5, 3)
    picture = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    seen = np.random.default_rng(1).normal(size=(6, 5))
    drawn(
        plots.explanation(trace, picture, values, attribution, seen),
        plots.mistake(trace, picture, values, attribution, seen, 1),
    )
    shown = plots.explanation(trace, picture, values, attribution, seen).axes[0].images[0]
    assert np.array_equal(np.asarray(shown.get_array()), picture)


def test_a_dark_picture_is_shown_dark():
    trace, _, values, attribution = told(4)
    dark = np.full((6, 5), 20, np.uint8)
    for figure in (
        plots.explanation(trace, dark, values, attribution, np.zeros((6, 5))),
        plots.mistake(trace, dark, values, attribution, np.zeros((6, 5)), 1),
    ):
        assert figure.axes[0].images[0].get_clim() == (0, 255)


def logged(step, loss, accuracy=0.5):
    return {"event": "logged", "step": step, "loss": loss, "accuracy": accuracy}


def looked(step, loss, accuracy=0.5, part="validation"):
    return {"event": "judged", "step": step, "loss": loss, "accuracy": accuracy, "part": part}


@pytest.mark.parametrize(
    "course",
    [
        [],
        [logged(50, 1.2), logged(100, 0.6)],
        [looked(100, 0.6)],
        [logged(50, 1.2)],
        [logged(50, 0.0), logged(100, 0.0), looked(100, 0.0)],
        [logged(50, 1.0), logged(100, 0.0), looked(100, 0.5)],
        [logged(50, 1.0), looked(100, 0.5, part="test")],
        [logged(50, 1e30), looked(100, 1e-30)],
    ],
    ids=[
        "empty",
        "no validation",
        "validation alone",
        "one step",
        "loss of 0",
        "a loss of 0",
        "test",
        "wide",
    ],
)
def test_a_course_of_any_kind_is_drawn(course):
    drawn(plots.learning_curve(course))


def test_a_course_with_the_test_part_shows_training_and_validation_alone():
    loss, _ = plots.learning_curve([logged(1, 1.0), looked(2, 0.5), looked(2, 0.1, part="test")]).axes
    assert [data_of(line) for line in loss.lines] == [([1], [1.0]), ([2], [0.5])]


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 6])
def test_how_many_steps_are_enough_is_said_inside_the_frame(enough):
    steps = [{"step": t, "n": 9, "accuracy": 0.5, "ci95": [0.3, 0.7]} for t in range(1, 7)]
    figure = plots.accuracy_along({"steps": steps, "enough": enough, "stops": []})
    drawn(figure)
    (axes,) = figure.axes
    (note,) = axes.texts
    assert note.get_text() == ("1 is enough" if enough == 1 else f"{enough} are enough")
    frame, box = axes.get_window_extent(), note.get_window_extent()
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1


@pytest.mark.parametrize(
    "name", ["(#1)", 'id="x"', "a&b", "<i>", "$x$", "#010203", "\x00\x1b[31m", "\ud800", "中"]
)
def test_a_class_of_any_name_is_a_plain_word(name):
    nothing = {"recall": 0.5, "recall_ci95": [0.3, 0.7], "precision": None, "precision_ci95": None}
    expected = re.sub("[\x00\x1b\ud800]", "\N{REPLACEMENT CHARACTER}", name)
    assert expected in written(plots.class_figures([{"class": name} | nothing]))
    drawn(plots.class_figures([{"class": name} | nothing]))
    trace, _, values, attribution = told(4, (name, "b"))
    assert expected in written(plots.explanation(trace, None, values, attribution))
    assert expected in written(plots.mistake(trace, None, values, attribution, None, 0))


def test_a_long_class_name_is_cut_for_an_axis():
    nothing = {"recall": 0.5, "recall_ci95": [0.3, 0.7], "precision": None, "precision_ci95": None}
    figure = plots.class_figures([{"class": "walks \n upstairs slowly"} | nothing])
    assert "walks upstair…" in written(figure)
