"""Data for plots: a real run's, and made-up ones."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

import scanline
from scanline import cells, plots
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.evaluation.early import accuracy_by_step
from scanline.explanation.attribution import Attribution
from scanline.explanation.explain import explain_sequence
from scanline.explanation.explanation import Explanation
from scanline.explanation.plot_data import sequence_data
from scanline.explanation.trace import Direction, Trace
from scanline.metrics.classification import ClassificationMetrics, ClassMetrics
from scanline.reporting import figures
from scanline.reporting.activity import gate_activity
from scanline.tasks.classification import Classification
from scanline.training.run_files import EvaluatedLine, LoggedLine, read_metrics
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
        self.history = read_metrics(run / "metrics.jsonl")
        result = json.loads((run / "result.json").read_text())
        self.test = ClassificationMetrics.model_validate(result["test"])
        model = scanline.load(run)
        part = model.align(catalog.load("digits").test)
        self.along = accuracy_by_step(model.network, model.task, part)
        self.activity = gate_activity(model.network, model.task, part)
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
            "class_metrics": (test.classes,),
            "reliability_diagram": (test.calibration,),
            "coverage_curve": (test.coverage,),
            "accuracy_by_length": (test.by_length,),
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


def pictured(prediction: Explanation):
    return (
        prediction.trace,
        prediction.picture,
        prediction.values,
        prediction.attribution,
        prediction.pixel_attribution,
    )


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
    probabilities = draw.dirichlet(np.ones(len(classes)), size=steps)
    if directions is None:  # fewest panels: quick to draw
        directions = (Direction(0, False, {"h": draw.uniform(-1, 1, size=(steps, 4)).astype(np.float32)}),)
    trace = Trace(probabilities, classes, directions)
    values = draw.normal(size=(steps, features)).astype(np.float32)
    return trace, None, values, Attribution(draw.normal(size=values.shape), trace.prediction, 1.0, 0.0)


def evaluated(classes, labels, logits, steps=3):
    """The figures of made-up answers."""
    values = np.zeros((len(labels), steps, 2), np.float32)
    source = MemorySource.from_array(values, np.asarray(labels), tuple(classes), "made up")
    return Classification(source.classes).metrics(np.asarray(logits, np.float32), source)


def of_class(name, recall=None, precision=None):
    """Metrics of a class; the intervals are from 0.3 to 0.7 where there is a value."""
    values = {"recall": recall, "precision": precision, "f1": None}
    intervals = {f"{key}_ci95": None if value is None else (0.3, 0.7) for key, value in values.items()}
    return ClassMetrics(name=name, n=1, correct=0, accuracy=None, **values, **intervals)


def logged(step, loss, accuracy=0.5):
    return LoggedLine(event="logged", step=step, loss=loss, accuracy=accuracy)


def evaluated_line(step, loss, accuracy=0.5, part="validation"):
    return EvaluatedLine(event="judged", step=step, loss=loss, accuracy=accuracy, part=part)


def task_of(classifier):
    """A task that fits the outputs of a network."""
    return Classification(tuple(range(classifier.head.out_features)))


def all_charts(test):
    return [
        figures.class_metrics(test.classes),
        figures.reliability_diagram(test.calibration),
        figures.coverage_curve(test.coverage),
        figures.accuracy_by_length(test.by_length),
    ]


def drawn(*figures):
    """Each figure parses as SVG and makes a PNG that is not blank."""
    for number, figure in enumerate(figures):
        parsed(plots.to_svg(figure, f"figure {number}"))
        with Image.open(io.BytesIO(plots.to_png(figure, 40))) as picture:
            assert np.asarray(picture.convert("L")).min() < 128


def plot_explanation(trace, picture, values, attribution=None, pixels=None, upto=None, cell="lstm"):
    return plots.explanation(
        sequence_data(trace, cells.get(cell), values, picture, attribution, pixels), upto
    )


def plot_mistake(trace, picture, values, attribution, pixels, true, cell="lstm"):
    return plots.mistake(sequence_data(trace, cells.get(cell), values, picture, attribution, pixels), true)
