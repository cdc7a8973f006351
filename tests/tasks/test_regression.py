"""The task regression, from training to prediction, evaluation and streams."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import scanline
from scanline import cli, tasks
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.tasks.regression import Regression
from tests.serving.client import in_thread

SETTINGS = {
    "train.samples": 0,
    "train.steps": 300,
    "train.epochs": 0,
    "train.log_every": 50,
    "train.validate_every": 100,
    "train.learning_rate": 0.01,
    "train.noise": 0.0,
    "model.hidden_size": 8,
    "model.bidirectional": False,
    "model.readout": "last",
    "split.validation": 0.25,
}


def write_table(path, n=160, seed=0):
    """Sequences of 3 to 8 steps whose target is 100 plus 10 times the sum of x."""
    draw = np.random.default_rng(seed)
    lines = ["id,time,x,y,label"]
    for index in range(n):
        steps = draw.normal(size=(int(draw.integers(3, 9)), 2)).round(3)
        label = 100 + 10 * float(steps[:, 0].sum())
        lines += [f"s{index},{time},{x},{y},{label!r}" for time, (x, y) in enumerate(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "sums.csv")


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    lines: list[str] = []
    path = tmp_path_factory.mktemp("runs") / "sums"
    trained = scanline.train(table, task="regression", settings=SETTINGS, run=path, log=lines.append)
    assert any("rmse: " in line for line in lines)
    assert any(" sequences, skill 0." in line for line in lines)
    return trained


@pytest.fixture(scope="module")
def model(run):
    return run.model


def command(*arguments, input=None):
    """Run a command in this process; returns what it printed and what it raised."""
    result = CliRunner().invoke(cli.command, list(map(str, arguments)), input=input)
    return result.stdout, None if isinstance(result.exception, SystemExit) else result.exception


def source_of(targets):
    classes = tuple(sorted(set(targets)))
    indices = np.array([classes.index(each) for each in targets])
    return MemorySource.from_array(np.zeros((len(targets), 2, 1), np.float32), indices, classes, "these")


def test_regression_is_built_in():
    assert tasks.get("regression") is Regression
    assert "regression" in tasks.names()


def test_targets_are_standardised_by_the_training_split():
    task = Regression.fit(source_of([1.0, 3.0, 5.0]), "data")
    assert (task.mean, task.scale) == (3.0, pytest.approx((8 / 3) ** 0.5))
    assert task.encode(source_of([3.0, 5.0])).tolist() == pytest.approx([0.0, (3 / 2) ** 0.5])
    outputs = np.array([[0.0], [1.0]], np.float32)
    assert task.predict(outputs).tolist() == [3.0, 3.0 + task.scale]


def test_equal_training_targets_are_refused():
    with pytest.raises(DataError, match=r"data: expected targets that differ, got 3 equal ones \(2\)"):
        Regression.fit(source_of([2.0, 2.0, 2.0]), "data")


def test_targets_that_overflow_are_refused_by_name():
    task = Regression.fit(source_of([1.0, 3.0]), "data")
    with pytest.raises(DataError, match=r"these: expected targets near those of the model.*got 1e\+30"):
        task.encode(source_of([1.0, 1e30]))
    with pytest.raises(DataError, match="mean and deviation are finite"):
        Regression.fit(source_of([-1e300, 1e300]), "data")


def test_the_score_is_the_skill_and_may_be_negative():
    task = Regression(mean=10.0, scale=2.0)
    targets = torch.tensor([1.0, -1.0])
    assert task.score(torch.tensor([[0.0], [0.0]]), targets).value == 0
    wrong = task.score(torch.tensor([[3.0], [-3.0]]), targets)
    assert (wrong.value, wrong.loss, wrong.shown) == (-3.0, 4.0, 4.0)
    assert wrong.to_json() == {"loss": 4.0, "skill": -3.0, "score": "skill", "rmse": 4.0}


def test_the_gradient_is_that_of_the_mean_squared_error():
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 2.0])
    loss, gradient = Regression(0.0, 1.0).loss_gradient(outputs, targets, torch.tensor([1.0, 3.0]))
    assert loss.item() == (1 + 3 * 4) / 2
    assert gradient.tolist() == [[1.0], [6.0]]


@pytest.mark.parametrize("half_width", [None, 1.5])
def test_the_state_survives_json(half_width):
    task = Regression(1.25, 0.5, half_width, 0.8)
    assert Regression.from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    ("key", "value"), [("mean", math.nan), ("scale", 0), ("scale", True), ("half_width", -1), ("mean", "1")]
)
def test_a_damaged_state_is_refused(key, value):
    state = Regression(1.0, 2.0).to_json()
    state["outputs"][0][key] = value
    with pytest.raises(ValueError, match="expected"):
        Regression.from_json(state)


def test_training_learns_the_number(run):
    test = run.result["test"]
    assert test["r2"] > 0.8  # predicting the mean gives 0
    assert test["interval"]["level"] == 0.9
    assert run.result["validation"]["interval"] is None


def test_the_first_validation_is_the_best_even_if_its_skill_is_far_below_zero(table, tmp_path):
    settings = SETTINGS | {
        "train.steps": 2,
        "train.validate_every": 1,
        "train.patience": 5,
        "train.learning_rate": 10.0,
        "train.clip_norm": 0.0,
        "train.schedule": "constant",
    }
    run = scanline.train(table, task="regression", settings=settings, run=tmp_path / "run", log=None)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    skills = [line["skill"] for line in lines if line.get("part") == "validation"]
    assert max(skills) < -1
    assert scanline.train(resume=run.path, settings={"train.steps": 3}, log=None).result["test"]


def test_the_interval_is_the_quantile_of_validation_errors(run, model, table):
    errors = [abs(model.predict(steps[None])[0] - true) for steps, true in _validation(run, model)]
    n = len(errors)
    assert n == 32
    assert model.task.half_width == pytest.approx(sorted(errors)[math.ceil((n + 1) * 0.9) - 1], rel=1e-4)


def _validation(run, model):
    from scanline.evaluation.evaluate import own_split
    from scanline.training.provenance import trained_on

    _, source = own_split(model, str(run.path), trained_on(run.path), "validation")
    return [(source.steps_of(i), source.classes[source.targets[i]]) for i in range(len(source))]


def test_evaluation_gives_the_metrics(run):
    out, error = command("evaluate", run.path, "--json")
    assert (error, json.loads(out)["test"]) == (None, run.result["test"])
    out, error = command("evaluate", run.path)
    assert error is None
    for text in ("RMSE", "R²", "targets inside their interval", "largest errors"):
        assert text in out
    out, error = command("evaluate", run.path, "--list")
    assert out.splitlines()[0] == "sequence\tpredicted\ttrue"


def test_predictions_have_an_interval(run, model, table):
    out, error = command("predict", run.path, table, "--json")
    assert error is None
    for each in json.loads(out)["predictions"]:
        assert set(each) == {"file", "sequence", "label", "low", "high"}
        assert each["high"] - each["low"] == pytest.approx(2 * model.task.half_width)
    out, _ = command("predict", run.path, table)
    number = json.loads(command("predict", run.path, table, "--json")[0])["predictions"][0]["label"]
    assert out.splitlines()[0].startswith(f"{table}: s0: {number:.7g} (")
    assert " to " in out.splitlines()[0]


def test_a_prediction_does_not_depend_on_its_batch(model):
    draw = np.random.default_rng(1)
    several = [draw.normal(size=(length, 2)).astype(np.float32) for length in (3, 9, 1, 5)]
    together = model.predict(several)
    assert [model.predict(each[None])[0] for each in several] == together.tolist()


def test_predictions_are_written_to_files(run, table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out, _ = command("predict", run.path, table, "--json")
    expected = [
        (each["sequence"], each["label"], each["low"], each["high"])
        for each in json.loads(out)["predictions"]
    ]
    command("predict", run.path, table, "--to", tmp_path / "out.parquet")
    command("score", run.path, table, "--to", tmp_path / "scores", "--order", "id")
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["id"], row["prediction"], row["low"], row["high"]) for row in rows] == expected
    rows = parquet.read_table(tmp_path / "scores" / "sorted.parquet").to_pylist()
    assert [(row["id"], row["prediction"], row["low"], row["high"]) for row in rows] == sorted(expected)
    command("predict", run.path, table, "--to", tmp_path / "out.csv")
    assert "low" in (tmp_path / "out.csv").read_text().splitlines()[0]


def test_a_stream_shows_the_number_and_its_interval(run, model):
    steps = "0.5,1\n-0.25,0\n"
    out, error = command("predict", run.path, "-", "--stream", "--json", input=steps)
    assert error is None
    lines = [json.loads(line) for line in io.StringIO(out)]
    values = np.array([[[0.5, 1], [-0.25, 0]]], np.float32)
    assert lines[1]["label"] == pytest.approx(model.predict(values)[0], abs=1e-4)
    assert lines[1]["low"] < lines[1]["label"] < lines[1]["high"]
    out, _ = command("predict", run.path, "-", "--stream", input=steps)
    assert len(out.splitlines()[0].split("\t")) == 5


def test_without_a_validation_split_there_is_no_interval_and_a_line_says_so(table, tmp_path):
    lines: list[str] = []
    settings = SETTINGS | {"split.validation": 0.0, "train.steps": 2, "train.validate_every": 0}
    run = scanline.train(table, task="regression", settings=settings, run=tmp_path / "run", log=lines.append)
    assert any("predictions will have no interval" in line for line in lines)
    assert run.model.task.half_width is None
    assert run.result["test"]["interval"] is None
    out, _ = command("predict", run.path, table, "--json")
    assert "low" not in json.loads(out)["predictions"][0]


def test_a_model_has_no_temperature(run):
    with pytest.raises(ModelError, match="no temperature, as its task is regression"):
        scanline.load(run.path, calibrated=True)


def test_the_model_says_what_it_predicts(run, model):
    text = str(model)
    assert "Regression, a number, in training" in text
    assert "90 % prediction interval" in text
    assert "not tested" not in text
    assert "result.json" in (run.path / "model" / "README.md").read_text()


def test_fractions_as_classes_ask_for_the_task(table, tmp_path):
    _, error = command("train", table, "--run", tmp_path / "run")
    assert isinstance(error, DataError)
    assert error.exit_code == 3
    assert "expected a label, an integer or text, found" in str(error)
    assert "--task regression" in str(error)


@pytest.mark.parametrize(("count", "asks"), [(30, True), (15, False)])
def test_many_different_integers_ask_for_the_task(tmp_path, count, asks):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(60, 4, 1)).astype(np.float32)
    data = scanline.Arrays(values, np.arange(60) % count)
    settings = SETTINGS | {"train.steps": 1, "train.validate_every": 0, "split.validation": 0.0}
    if asks:
        with pytest.raises(DataError, match=r"30 different integers in 60 sequences: classes, or numbers\?"):
            scanline.train(data, settings=settings, run=tmp_path / "run", log=None)
    run = scanline.train(
        data, task="classification" if asks else None, settings=settings, run=tmp_path / "run", log=None
    )
    assert run.model.task.output_size == count


def test_a_target_of_regression_in_a_ts_file(tmp_path):
    draw = np.random.default_rng(0)
    for part in ("TRAIN", "TEST"):
        lines = ["@univariate true", "@targetlabel true", "@data"]
        lines += [",".join(f"{x:.3f}" for x in draw.normal(size=5)) + f":{i * 0.5}" for i in range(30)]
        (tmp_path / f"sums_{part}.ts").write_text("\n".join(lines) + "\n")
    settings = SETTINGS | {"train.steps": 2}
    with pytest.raises(DataError, match=r"labels are numbers \(@targetlabel true\).*task='regression'"):
        scanline.train(tmp_path / "sums", settings=settings, run=tmp_path / "run", log=None)
    run = scanline.train(
        tmp_path / "sums", task="regression", settings=settings, run=tmp_path / "run", log=None
    )
    assert run.result["test"]["n"] == 30
    out, error = command("data", "show", tmp_path / "sums", "--task", "regression")
    assert (error, "targets 0 to 14.5" in out) == (None, True)


def test_labels_that_are_not_numbers_are_refused_with_their_place(tmp_path):
    path = tmp_path / "text.csv"
    path.write_text("id,time,x,label\na,0,1,0.5\na,1,1,0.5\nb,0,1,high\nb,1,2,high\n")
    with pytest.raises(DataError, match="line 4: expected a label that is a finite number, found high"):
        scanline.train(path, task="regression", run=tmp_path / "run", log=None)


@pytest.fixture(scope="module")
def other(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "short"
    settings = SETTINGS | {"train.steps": 20, "train.validate_every": 10, "seed": 1}
    return scanline.train(table, task="regression", settings=settings, run=path, log=None)


def test_runs_are_compared_by_their_errors(run, other):
    out, error = command("compare", other.path, run.path, "--json")
    assert error is None
    found = json.loads(out)
    assert [each["rmse"] for each in found["runs"]] == [each.result["test"]["rmse"] for each in (other, run)]
    (pair,) = found["pairs"]
    assert pair["rmse"] == pytest.approx(other.result["test"]["rmse"] - run.result["test"]["rmse"])
    assert 0 < pair["rmse_ci95"][0] < pair["rmse"] < pair["rmse_ci95"][1]
    assert pair["first_closer"] + pair["second_closer"] == found["n"]
    out, _ = command("compare", other.path, run.path)
    lines = out.splitlines()
    assert lines[3].split()[:2] == ["1", "sums"]  # the lowest RMSE first
    assert "95 % interval" in out
    assert ": significant at 5 %" in out


def test_runs_of_several_tasks_are_not_compared(run, tmp_path):
    path = tmp_path / "classes.csv"
    lines = ["id,time,x,y,label"]
    lines += [f"s{i},{t},{t + i},{i},{'ab'[i % 2]}" for i in range(40) for t in range(3)]
    path.write_text("\n".join(lines) + "\n")
    settings = {"train.samples": 0, "train.steps": 1, "train.epochs": 0, "train.validate_every": 0}
    classes = scanline.train(path, settings=settings, run=tmp_path / "classes", log=None)
    _, error = command("compare", run.path, classes.path)
    assert isinstance(error, UsageError)
    assert "models of one task" in str(error)
    assert "classes: classification" in str(error)


def test_a_report_shows_numbers_and_no_classes(run, other, tmp_path):
    page = scanline.report(run.path, tmp_path / "report.html")
    text, facts = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert facts["figures"] == run.result["test"]
    assert facts["tables"][0]["caption"] == "Largest errors"
    words = text.partition("</style>")[2]
    for word in ("RMSE", "Predicted against true", "Histogram of the errors", "R²", "rediction interval"):
        assert word in words, word
    assert not [word for word in ("accuracy", "onfusion", "predicted class", "ross-entropy") if word in words]
    with pytest.raises(UsageError, match="a report compares classifications only, got regression"):
        scanline.report(run.path, tmp_path / "report.html", against=other.path)


def test_the_server_predicts_numbers_and_says_that_its_page_is_for_classes(model):
    values = [[0.5, 1.0], [-0.25, 0.0], [2.0, -1.0]]
    expected = model.predict(np.array([values], np.float32))[0]
    with in_thread(model) as server:
        (plain,) = server.predict([values]).json()["predictions"]
        (traced,) = server.predict([values], trace=True).json()["predictions"]
        described = server.get("/v1/model").json()
        page = server.get("/").body.decode()
    assert plain["label"] == pytest.approx(expected)
    assert plain["high"] - plain["low"] == pytest.approx(2 * model.task.half_width)
    assert set(plain) == {"label", "low", "high"}
    assert len(traced["trace"]["probabilities"]) == 3
    assert described["task"] == "regression"
    assert "the task of this model is regression" in page
    assert "<script" not in page


def test_an_explanation_is_of_the_number(run, model, table):
    values = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)
    explanation = scanline.explain(model, values)
    assert explanation.label == pytest.approx(model.predict(values[None])[0])
    # Attributions of an additive quantity: the values of x, not those of y.
    sizes = np.abs(explanation.attribution.values).sum(0)
    assert sizes[0] > 2 * sizes[1]
    out, error = command("explain", run.path, table)
    assert (error, "number" in out) == (None, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "RUN", "--steps"), "the task regression has no accuracy"),
        (("score", "RUN", "DATA", "--to", "OUT", "--stop-at", "0.9"), "no class probabilities"),
        (("ensemble", "RUN", "RUN", "--output", "OUT"), ""),
        (("predict", "RUN", "DATA", "--calibrated"), "its task is regression"),
        (("export", "RUN", "--output", "model.keras"), "classification only, got regression"),
    ],
)
def test_what_needs_classes_refuses_the_task_by_name(run, other, table, tmp_path, arguments, message):
    names = {"RUN": run.path, "DATA": table, "OUT": tmp_path / "out"}
    _, error = command(*(names.get(each, each) for each in arguments))
    assert isinstance(error, UsageError | ModelError)
    assert message in str(error)


def test_an_ensemble_refuses_the_task_by_name(run, other, tmp_path):
    with pytest.raises(UsageError, match="an ensemble supports the task classification only, got regression"):
        scanline.ensemble([run.path, other.path], tmp_path / "out", log=None)


def test_settings_are_searched(table, tmp_path):
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")
    found = scanline.tune(
        table,
        task="regression",
        settings=SETTINGS | {"train.steps": 60, "train.validate_every": 20},
        space={"model.hidden_size": [4, 8]},
        trials=2,
        workers=0,
        folds=2,
        study=tmp_path / "study",
        log=None,
    )
    assert found.result["metric"] == "skill"
    assert found.result["test"]["rmse"] > 0
    # The final model was trained on the validation sequences, too: the errors are those of the folds.
    model = found.model
    assert model.task.half_width > 0
    with pytest.raises(UsageError, match="ensemble requires a classification, got the task regression"):
        scanline.tune(table, task="regression", settings=SETTINGS, trials=1, ensemble=2, log=None)


def test_numbers_are_packed_and_trained_on(table, tmp_path):
    pytest.importorskip("pyarrow")
    _, error = command("data", "pack", table, "--to", tmp_path / "packed", "--targets", "numbers")
    assert error is None
    settings = {key: each for key, each in SETTINGS.items() if not key.startswith("split.")}
    run = scanline.train(
        tmp_path / "packed", task="regression", settings=settings, run=tmp_path / "run", log=None
    )
    assert run.result["test"]["r2"] > 0.5
    assert run.model.task.half_width is not None
