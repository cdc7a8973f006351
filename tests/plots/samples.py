"""Data for plots: a real run's, and made-up ones."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

import scanline
from scanline import plots
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.evaluation.early import accuracy_by_step
from scanline.explanation.attribution import Attribution
from scanline.explanation.explain import explain_sequence
from scanline.explanation.explanation import Explanation
from scanline.explanation.plot_data import sequence_data
from scanline.explanation.trace import Direction, Trace
from scanline.metrics.classification import classification_metrics
from scanline.reporting import figures
from scanline.reporting.activity import gate_activity
from tests.explanation.test_trace import CLASSES

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = [
    "learning_curve",
    "class_metrics",
    "reliability_diagram",
    "coverage_curve",
    "accuracy_by_length",
    "accuracy_by_step",
    "gate_activity",
]
PICTURES = ["mistake", "explanation", "half an explanation"]


class Sample:
    """What a run has to tell: its history, its figures, and one answer explained."""

    def __init__(self, run) -> None:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        self.history = [json.loads(line) for line in lines]
        self.test = json.loads((run / "result.json").read_text())["test"]
        model = scanline.load(run)
        part = model.align(catalog.load("digits").test)
        self.along = accuracy_by_step(model.network, model.task, part).to_json()
        self.activity = gate_activity(model.network, part)
        self.answer = explain_sequence(model, part, 5)
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
        true = (answer.trace.prediction + 1) % 10
        given = {
            "learning_curve": (self.history,),
            "class_metrics": (test["classes"],),
            "reliability_diagram": (test["calibration"],),
            "coverage_curve": (test["coverage"],),
            "accuracy_by_length": (test["by_length"],),
            "accuracy_by_step": (self.along, "rows"),
            "gate_activity": (self.activity,),
        }
        if name == "mistake":
            return plots.mistake(answer.plot_data(), true)
        if name == "explanation":
            return answer.figure()
        if name == "half an explanation":
            return answer.figure(4)
        return getattr(figures, name)(*given[name])


def pictured(answer: Explanation):
    return answer.trace, answer.picture, answer.values, answer.attribution, answer.pixel_attribution


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


def data_of(line):
    return np.asarray(line.get_xdata(), float).tolist(), np.asarray(line.get_ydata(), float).tolist()


def sequence(steps, classes=CLASSES, features=3, directions=None, seed=0):
    """Trace, no picture, values and attribution of a made-up sequence."""
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(len(classes)), size=steps)
    if directions is None:  # fewest panels: quick to draw
        directions = (Direction(0, False, {"h": draw.uniform(-1, 1, size=(steps, 4)).astype(np.float32)}),)
    trace = Trace(shares, classes, directions)
    values = draw.normal(size=(steps, features)).astype(np.float32)
    return trace, None, values, Attribution(draw.normal(size=values.shape), trace.prediction, 1.0, 0.0)


def evaluated(classes, labels, logits, steps=3):
    """The figures of made-up answers."""
    values = np.zeros((len(labels), steps, 2), np.float32)
    part = MemorySource.from_array(values, np.asarray(labels), tuple(classes), "made up")
    return classification_metrics(np.asarray(logits, np.float32), part)


def all_charts(test):
    return [
        figures.class_metrics(test["classes"]),
        figures.reliability_diagram(test["calibration"]),
        figures.coverage_curve(test["coverage"]),
        figures.accuracy_by_length(test["by_length"]),
    ]


def drawn(*figures):
    """Each figure parses as SVG and makes a PNG that is not blank."""
    for number, figure in enumerate(figures):
        parsed(plots.to_svg(figure, f"figure {number}"))
        with Image.open(io.BytesIO(plots.to_png(figure, 40))) as picture:
            assert np.asarray(picture.convert("L")).min() < 128


def plot_explanation(trace, picture, values, attribution=None, pixels=None, upto=None):
    return plots.explanation(sequence_data(trace, values, picture, attribution, pixels), upto)


def plot_mistake(trace, picture, values, attribution, pixels, true):
    return plots.mistake(sequence_data(trace, values, picture, attribution, pixels), true)
