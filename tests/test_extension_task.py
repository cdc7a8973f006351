"""A task of another package, added through the entry point `scanline.tasks`, goes the whole way.

`BoundedNumber` predicts a number between the smallest and the largest of the training targets: one output,
squared error. Nothing of it is known to Scanline but its entry point.
"""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from dataclasses import dataclass
from importlib.metadata import EntryPoints
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import scanline
from scanline import cli, registry, tasks
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.metrics.results import Metrics
from scanline.model.ensemble import make_ensemble
from scanline.tasks import DecodedPrediction, ReportTable, Score, Task
from tests.installed import installed
from tests.serving.client import in_thread

SETTINGS = {
    "task": "bounded-number",
    "train.samples": 0,
    "train.steps": 400,
    "train.epochs": 0,
    "train.log_every": 50,
    "train.validate_every": 100,
    "train.learning_rate": 0.02,
    "train.noise": 0.0,
    "model.hidden_size": 8,
    "model.bidirectional": False,
    "split.validation": 0.2,
}


class NumberMetrics(Metrics):
    """Metrics of `BoundedNumber`."""

    loss: float
    mean_error: float


@dataclass(frozen=True)
class BoundedNumber(Task):
    """A number between `low` and `high`."""

    low: float
    high: float
    name: ClassVar[str] = "bounded-number"
    targets: ClassVar[str] = "numbers"  # type: ignore[misc]
    output_size: ClassVar[int] = 1  # type: ignore[misc]
    output_names: ClassVar[tuple[str, ...]] = ("number",)  # type: ignore[misc]

    @classmethod
    def fit(cls, source: MemorySource, name: str) -> Self:
        return cls(float(min(source.classes)), float(max(source.classes)))

    def encode(self, source: MemorySource, owner: str = "the model") -> np.ndarray:
        return np.array(source.classes, np.float32)[source.targets]

    def _number(self, outputs: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * outputs[..., 0].sigmoid()

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        squares = (self._number(outputs) - targets) ** 2
        return (squares if weights is None else squares * weights).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Score:
        error = (self._number(outputs) - targets).abs().mean().item()
        return Score(
            self.loss(outputs, targets).item(), 1 / (1 + error), len(targets), None, "closeness", "close"
        )

    def metrics(self, outputs: np.ndarray, source: MemorySource) -> NumberMetrics:
        errors = self.predict(outputs) - self.encode(source)
        return NumberMetrics(
            n=len(errors), loss=float((errors**2).mean()), mean_error=float(abs(errors).mean())
        )

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        return self._number(torch.from_numpy(outputs).double()).numpy()[..., None]

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        return self.probabilities(outputs)[..., 0]

    def decode(self, probabilities: np.ndarray) -> DecodedPrediction:
        return DecodedPrediction(float(probabilities[0]))

    def report_tables(self, outputs: np.ndarray, source: MemorySource) -> tuple[ReportTable, ...]:
        worst = float(abs(self.predict(outputs) - self.encode(source)).max())
        return (ReportTable("Largest <error>", ("error", "value"), (("absolute", f"{worst:.3f}"),)),)

    def explained_output(self, probabilities: np.ndarray) -> int:
        return 0

    def describe(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        if not (isinstance(state.get("low"), float) and isinstance(state.get("high"), float)):
            raise ValueError("expected low and high, two numbers")
        return cls(state["low"], state["high"])


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory):
    entry_points = (
        f"[scanline.tasks]\nbounded-number = {__name__}:BoundedNumber\nnone = {__name__}:SETTINGS\n"
    )
    with installed(tmp_path_factory.mktemp("site-packages"), "toy_tasks", entry_points):
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sequences of 3 to 8 steps, whose target is half the number of steps with a positive x, up to 2.5."""
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "counts.csv"
    lines = ["id,time,x,y,label"]
    for index in range(240):
        steps = draw.normal(size=(int(draw.integers(3, 9)), 2)).round(3)
        label = min(int((steps[:, 0] > 0).sum()), 5) / 2
        lines += [f"s{index},{time},{x},{y},{label}" for time, (x, y) in enumerate(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "number"
    lines: list[str] = []
    trained_run = scanline.train(table, settings=SETTINGS, run=path, log=lines.append)
    assert any("close: " in line for line in lines)
    assert any("validation: " in line for line in lines)
    return trained_run


@pytest.fixture(scope="module")
def model(run):
    return run.model


def command(*arguments: object) -> tuple[str, BaseException | None]:
    """Run a command in this process; returns what it printed and what it raised."""
    result = CliRunner().invoke(cli.command, list(map(str, arguments)))
    return result.stdout, None if isinstance(result.exception, SystemExit) else result.exception


def test_the_task_is_listed_after_the_built_in_ones():
    assert tasks.names()[0] == "classification"
    assert "bounded-number" in tasks.names()
    assert tasks.get("bounded-number") is BoundedNumber


def test_an_unknown_task_is_refused_with_the_legal_ones():
    with pytest.raises(UsageError, match=r"one of classification, .*got 'bounded-numbr'; did you mean"):
        tasks.get("bounded-numbr")


def test_an_entry_point_that_names_no_task_is_refused():
    with pytest.raises(UsageError, match=r"task none: expected its entry point to name a subclass of Task"):
        tasks.get("none")


def test_training_learns_the_number(run):
    test, validation = run.result["test"], run.result["validation"]
    assert test["mean_error"] < 0.4  # predicting the mean of the targets gives about 0.5
    assert set(test) == {"n", "loss", "mean_error"} == set(validation)


def test_the_model_keeps_the_task(model):
    assert model.task == BoundedNumber(0.0, 2.5)
    assert "a number from 0 to" in str(model).splitlines()[1]
    assert len(str(model).splitlines()) == 3


def test_evaluation_gives_the_metrics_of_the_task(run):
    out, error = command("evaluate", run.path, "--json")
    assert (error, json.loads(out)["test"]) == (None, run.result["test"])
    out, error = command("evaluate", run.path)
    assert (error, "mean_error: " in out) == (None, True)


def test_prediction_gives_numbers(run, model, table):
    out, error = command("predict", run.path, table, "--json")
    assert error is None
    prediction = json.loads(out)["predictions"]
    assert len(prediction) == 240
    assert all(set(each) == {"file", "sequence", "label"} for each in prediction)
    values = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    assert model.predict(values).dtype == np.float64
    assert ((model.task.low < model.predict(values)) & (model.predict(values) < model.task.high)).all()


def test_scores_are_numbers_without_probabilities(run, table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out, error = command("predict", run.path, table, "--json")
    expected = {each["sequence"]: each["label"] for each in json.loads(out)["predictions"]}
    target = tmp_path / "scores"
    _, error = command("score", run.path, table, "--to", target, "--order", "id", "--json")
    assert error is None
    rows = parquet.read_table(target / "sorted.parquet").to_pylist()
    assert {row["id"]: row["prediction"] for row in rows} == expected
    assert {row["probabilities"] for row in rows} == {None}
    command("predict", run.path, table, "--to", tmp_path / "out.parquet")
    predicted = parquet.read_table(tmp_path / "out.parquet")
    assert (
        dict(zip(predicted["id"].to_pylist(), predicted["prediction"].to_pylist(), strict=True)) == expected
    )
    _, error = command("score", run.path, table, "--to", tmp_path / "stops", "--stop-at", 0.9)
    assert "--stop-at: the task bounded-number has no class probabilities" in str(error)


def test_a_stream_ends_where_the_whole_sequence_does(model):
    values = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    session = model.stream()
    streamed = [session.feed(step)[0] for step in values]
    expected = [model.predict(values[None, : end + 1])[0] for end in range(6)]
    assert streamed == pytest.approx(expected, abs=1e-5)
    resumed = model.resume(session.to_bytes())
    assert resumed.feed(values[0])[0] == session.feed(values[0])[0]


def test_an_explanation_is_of_the_number(run, model, table):
    values = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)
    explanation = scanline.explain(model, values)
    assert explanation.label == pytest.approx(model.predict(values[None])[0])
    assert explanation.attribution.target == 0
    assert explanation.to_json()["attribution"]["of"] == "number"
    assert explanation.trace.probabilities.shape == (6, 1)
    out, error = command("explain", run.path, table)
    assert (error, "number" in out) == (None, True)


def test_the_server_predicts_and_traces_numbers(model):
    values = [[0.5, 1.0], [-0.25, 0.0], [2.0, -1.0]]
    expected = model.predict(np.array([values], np.float32))[0]
    with in_thread(model) as server:
        (plain,) = server.predict([values]).json()["predictions"]
        (traced,) = server.predict([values], trace=True).json()["predictions"]
    assert plain == {"label": pytest.approx(expected)}
    assert traced["label"] == pytest.approx(expected)
    assert len(traced["trace"]["probabilities"]) == 3


@pytest.mark.parametrize("name", ["model.onnx", "model.keras"])
def test_exports_refuse_the_task_by_name(model, tmp_path, name):
    with pytest.raises(UsageError, match=r"supports the tasks? classification.* only, got bounded-number"):
        scanline.export(model, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_report_shows_the_metrics_and_the_tables_of_the_task(run, tmp_path):
    page = scanline.report(run.path, tmp_path / "report.html")
    text, numbers = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert numbers["figures"] == run.result["test"]
    assert (numbers["tables"][0]["caption"], numbers["mistakes"], "along" in numbers) == (
        "Largest <error>",
        [],
        False,
    )
    assert [line["score"] for line in numbers["course"]] == ["closeness"] * len(numbers["course"])
    assert numbers["course"]
    assert f"{run.result['test']['mean_error']:,.6g}" in text
    assert "Largest &lt;error&gt;" in text
    assert "best validation closeness" in text
    words = text.partition("</style>")[2]
    assert not [word for word in ("accuracy", "onfusion", "predicted class", "ross-entropy") if word in words]


def test_a_notebook_shows_the_metrics_of_the_task(run, model):
    assert f"mean_error <b>{run.result['test']['mean_error']:.6g}</b>" in run._repr_html_()
    values = np.random.default_rng(6).normal(size=(2, 4, 2)).astype(np.float32)
    shown = model.prediction(values)
    assert shown.labels.tolist() == model.predict(values).tolist()
    assert f"<b>{shown.labels[0]}</b>" in shown._repr_html_()


def test_an_explanation_names_the_target_and_not_a_class(run):
    out, error = command("explain", run.path, "0")
    assert error is None
    assert "the target is " in out
    assert "class" not in out


def test_an_ensemble_refuses_the_task_by_name(model):
    with pytest.raises(UsageError, match="an ensemble supports the task classification only"):
        make_ensemble([model, model])


def test_settings_for_the_task_are_searched(table, tmp_path):
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")

    def search(**changes):
        size = {"trials": 2, "workers": 0, "space": {"model.hidden_size": [4, 8]}}
        return scanline.tune(table, settings=SETTINGS, study=tmp_path / "study", log=None, **size | changes)

    found = search(folds=2)
    assert found.result["metric"] == "closeness"
    assert len(found.record.trials) == 2
    assert "mean_error" in found.result["test"]
    with pytest.raises(UsageError, match=r"ensemble requires a classification, got the task bounded-number"):
        search(ensemble=2)


def test_two_runs_are_not_compared_by_accuracy(run, tmp_path):
    with pytest.raises(UsageError, match="expected classification models to compare"):
        scanline.report(run.path, tmp_path / "report.html", against=shutil.copytree(run.path, tmp_path / "b"))


def test_accuracy_by_step_refuses_the_task_by_name(run):
    _, error = command("evaluate", run.path, "--steps")
    assert isinstance(error, UsageError)
    assert "bounded-number" in str(error)


def test_the_recipe_and_the_splits_record_that_targets_are_numbers(run):
    recipe = tomllib.loads((run.path / "recipe.toml").read_text())
    assert recipe["data"]["targets"] == "numbers"
    splits = json.loads((run.path / "split.json").read_text())["parts"]
    assert {name: split["n"] for name, split in splits.items()} == {
        "train": 154,
        "validation": 38,
        "test": 48,
    }
    assert "drawn at random with seed 0" in splits["test"]["from"]
    assert splits["train"]["classes"] == {}
    assert 0 <= splits["train"]["targets"]["min"] < splits["train"]["targets"]["max"] <= 2.5


def test_other_data_may_have_numbers_that_training_had_not(run, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("id,time,x,y,label\na,0,1,1,0.123\na,1,1,1,0.123\nb,0,-1,0,7.5\nb,1,-1,0,7.5\n")
    out, error = command("evaluate", run.path, "--data", path, "--json")
    assert (error, json.loads(out)["test"]["n"]) == (None, 2)


def test_numbers_that_occur_once_can_be_split(tmp_path):
    values = np.random.default_rng(4).normal(size=(20, 3, 2)).astype(np.float32)
    data = scanline.Arrays(values, values[:, 0, 0])
    settings = SETTINGS | {"train.steps": 2, "train.log_every": 1, "train.validate_every": 1}
    run = scanline.train(data, settings=settings, run=tmp_path / "run", log=None)
    assert (run.result["test"]["n"], run.result["validation"]["n"]) == (4, 3)


def test_groups_of_sequences_with_numbers_stay_together(tmp_path):
    values, groups = np.random.default_rng(5).normal(size=(20, 3, 2)).astype(np.float32), np.arange(20) // 4
    data = scanline.Arrays(values, values[:, 0, 0], groups=groups)
    settings = SETTINGS | {"train.steps": 2, "train.log_every": 1, "train.validate_every": 1}
    run = scanline.train(data, settings=settings, run=tmp_path / "run", log=None)
    splits = json.loads((run.path / "split.json").read_text())["parts"]
    assert sorted([group for name in splits.values() for group in name["groups"]]) == list("01234")


def test_a_decimal_comma_is_read_in_targets_too(tmp_path):
    path = tmp_path / "comma.csv"
    path.write_text("id;time;x;label\na;0;1,5;0,25\na;1;1,5;0,25\nb;0;2,5;3\nb;1;2,5;3\n")
    out, error = command("data", "show", path, "--targets", "numbers")
    assert error is None
    assert "targets 0.25 to 3, mean 1.625" in out


def test_text_as_a_target_is_refused_with_its_place(tmp_path):
    path = tmp_path / "text.csv"
    path.write_text("id,time,x,label\na,0,1,0.5\na,1,1,0.5\nb,0,1,high\nb,1,2,high\n")
    with pytest.raises(DataError, match="line 4: expected a label that is a finite number, found high"):
        scanline.train(path, settings=SETTINGS, run=tmp_path / "run", log=None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("label", [math.nan, math.inf, True])
def test_targets_that_are_not_finite_numbers_are_refused(tmp_path, label):
    data = scanline.Arrays(np.zeros((8, 3, 2), np.float32), np.array([label] * 8))
    with pytest.raises(DataError, match="expected"):
        scanline.train(data, settings=SETTINGS, run=tmp_path / "run", log=None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.targets", "classes", r'data\.targets must be "numbers" or empty for the task bounded-number'),
        ("train.class_weights", "balanced", 'train.class_weights must be "none" for the task bounded-number'),
    ],
)
def test_settings_that_assume_classes_are_refused(table, tmp_path, key, value, message):
    with pytest.raises(UsageError, match=message):
        scanline.train(table, settings=SETTINGS | {key: value}, run=tmp_path / "run", log=None)


def test_a_classification_refuses_targets_that_are_numbers(table, tmp_path):
    with pytest.raises(UsageError, match=r'data\.targets must be "classes" or empty for the task classific'):
        scanline.train(table, settings={"data.targets": "numbers"}, run=tmp_path / "run", log=None)


def test_a_model_whose_task_is_not_installed_names_the_task(run, monkeypatch):
    monkeypatch.setattr(registry.metadata, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(ModelError, match=r"task must be one of classification, .*got 'bounded-number'"):
        scanline.load(run.path)
