"""The task multilabel from training to prediction, by the commands and from Python."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import scanline
from scanline import cli, tasks
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.tasks.multilabel import Multilabel
from tests.serving.client import in_thread

SETTINGS = {
    "train.samples": 0,
    "train.steps": 200,
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


def command(*arguments, input=None):
    """Run a command in this process; returns what it printed and what it raised."""
    result = CliRunner().invoke(cli.command, list(map(str, arguments)), input=input)
    return result.output, None if isinstance(result.exception, SystemExit) else result.exception


def draw_sequences(n=160, seed=0):
    """Return sequences with "up" if x has a positive sum, and "wide" if y has large values."""
    draw = np.random.default_rng(seed)
    values = [draw.normal(size=(int(draw.integers(3, 9)), 2)).round(3).astype(np.float32) for _ in range(n)]
    return values, [(each[:, 0].sum() > 0, np.abs(each[:, 1]).max() > 1.5) for each in values]


def write_table(path, columns=False):
    lines = [f"id,time,x,y,{'up,wide' if columns else 'label'}"]
    for index, (steps, (up, wide)) in enumerate(zip(*draw_sequences(), strict=True)):
        names = ";".join(name for name, has in (("wide", wide), ("up", up)) if has)
        label = f"{int(up)},{int(wide)}" if columns else names
        lines += [f"s{index},{time},{x:.3f},{y:.3f},{label}" for time, (x, y) in enumerate(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "sets.csv")


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "sets"
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    out, error = command("train", table, "--task", "multilabel", "--run", path, *settings)
    assert error is None
    assert "micro_f1: " in out
    assert "sequences, micro F1 " in out
    return path


@pytest.fixture(scope="module")
def model(run):
    return scanline.load(run)


def source_of(targets):
    classes = tuple(sorted(set(targets)))
    indices = np.array([classes.index(each) for each in targets])
    return MemorySource.from_array(np.zeros((len(targets), 2, 1), np.float32), indices, classes, "these")


def test_the_task_is_built_in():
    assert tasks.get("multilabel") is Multilabel
    for thresholds in (None, (0.25, 0.5)):
        task = Multilabel(("a", "b"), 0.5, thresholds)
        assert Multilabel.from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", []),
        ("classes", ["a", "a"]),
        ("classes", ["a", 3]),
        ("entropy", 0),
        ("entropy", float("nan")),
        ("thresholds", [0.5]),
        ("thresholds", [0.5, 2.0]),
    ],
)
def test_a_damaged_state_is_refused(key, value):
    state = Multilabel(("a", "b"), 0.5, (0.5, 0.5)).to_json() | {key: value}
    with pytest.raises(ValueError, match="expected"):
        Multilabel.from_json(state)


def test_targets_are_the_classes_of_each_sequence():
    task = Multilabel.fit(source_of(["a;b", "", "b", "b"]), "data")
    assert task.classes == ("a", "b")
    # Rates 1/4 and 3/4 have the same entropy.
    assert task.entropy == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert task.encode(source_of(["b", "a;b", ""])).tolist() == [[0, 1], [1, 1], [0, 0]]
    with pytest.raises(DataError, match="these: expected classes of the model, any of a, b; got c"):
        task.encode(source_of(["a", "c;a"]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", "b,c", "b"], "one for each: use --task classification, or give the mark between"),
        (["", ""], "expected labels that name classes, found none"),
        (["a;b", "a;b"], "expected sequences with different classes, found the same for all"),
    ],
)
def test_labels_that_are_no_sets_are_refused(targets, message):
    with pytest.raises(DataError, match=message):
        Multilabel.fit(source_of(targets), "data")


def test_loss_and_score():
    task = Multilabel(("a", "b"), np.log(2))
    outputs, targets = torch.tensor([[0.0, 0.0], [2.0, -2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    losses = [[np.log(2)] * 2, [np.log1p(np.exp(-2)), np.log1p(np.exp(2))]]
    loss, gradient = task.loss_gradient(outputs, targets)
    assert loss.item() == pytest.approx(np.mean(losses))
    assert gradient[0].tolist() == pytest.approx([-0.125, 0.125])
    score = task.score(outputs, targets)
    assert score.value == pytest.approx(1 - np.mean(losses) / np.log(2))
    assert score.shown == pytest.approx(2 * 1 / (1 + 3))
    assert task.score(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).value == pytest.approx(0, abs=1e-6)


def test_training_learns_the_classes_and_thresholds(run, model):
    test = json.loads((run / "result.json").read_text())["test"]
    assert test["micro_f1"] > 0.7
    assert {each["class"] for each in test["classes"]} == {"up", "wide"}
    assert model.task.thresholds is not None
    assert [each["threshold"] for each in test["classes"]] == list(model.task.thresholds)
    parts = json.loads((run / "split.json").read_text())["parts"]
    assert set(parts["train"]["classes"]) == {"up", "wide"}
    assert "multilabel" in repr(model).lower()


def test_evaluation_repeats_the_result(run, table):
    out, error = command("evaluate", run, "--json", "--list")
    assert error is None
    found = json.loads(out)
    assert found["test"] == json.loads((run / "result.json").read_text())["test"]
    assert set(found["true"]) <= {"", "up", "wide", "up;wide"}
    out, error = command("evaluate", run, "--data", table)
    assert error is None
    for text in ("subset accuracy", "Hamming loss", "mean average precision", "most wrong classes"):
        assert text in out


def test_predictions_of_a_file_a_stream_and_a_program_are_equal(run, model, table, tmp_path):
    values, _ = draw_sequences()
    out, error = command("predict", run, table, "--json")
    assert error is None
    rows = json.loads(out)["predictions"]
    assert rows[0]["label"] == ";".join(rows[0]["labels"])
    probabilities = model.predict_proba(values)
    assert [list(row["probabilities"].values()) for row in rows] == probabilities.tolist()
    assert model.predict_proba([values[0]]).tolist() == probabilities[:1].tolist()
    predicted = model.predict(values)
    assert predicted.shape == (160, 2)
    assert [len(row["labels"]) for row in rows] == predicted.sum(1).tolist()
    text = "".join(f"{x},{y}\n" for x, y in values[0])
    streamed, error = command("predict", run, "-", "--stream", "--json", input=text)
    assert error is None
    last = json.loads(streamed.splitlines()[-1])
    assert last["labels"] == rows[0]["labels"]
    assert list(last["probabilities"].values()) == pytest.approx(probabilities[0].tolist())
    out, error = command("predict", run, table, "--to", tmp_path / "sets.csv")
    assert error is None
    assert rows[0]["label"] in (tmp_path / "sets.csv").read_text().splitlines()[1]
    out, error = command("predict", run, table)
    assert error is None
    assert "s0: " in out
    assert "<table>" in model.prediction(values[:2])._repr_html_()


def test_columns_of_0_and_1_and_arrays_are_trained_on(tmp_path):
    quick = SETTINGS | {"train.steps": 3, "train.validate_every": 0, "task": "multilabel"}
    path = write_table(tmp_path / "columns.csv", columns=True)
    made = scanline.train(
        path, settings=quick | {"data.label_columns": ["up", "wide"]}, run=tmp_path / "columns", log=None
    )
    assert made.model.class_names == ("up", "wide")
    assert made.model.preprocessing.features == 2
    values, has = draw_sequences(40)
    data = scanline.Arrays(values, np.array(has))
    of_arrays = scanline.train(data, settings=quick | {"train.slices": 3}, run=tmp_path / "arrays", log=None)
    assert of_arrays.model.class_names == ("0", "1")
    metrics = of_arrays.model.evaluate(data)
    assert metrics.n == 40


def test_the_server_returns_the_classes(model):
    values, _ = draw_sequences()
    with in_thread(model) as server:
        (found,) = server.predict([values[0].tolist()]).json()["predictions"]
        (traced,) = server.predict([values[0].tolist()], trace=True).json()["predictions"]
        page = server.get("/").body.decode()
        described = server.get("/v1/model").json()
    assert set(found) == {"label", "labels", "probabilities"}
    assert traced["labels"] == found["labels"]
    assert described["class_names"] == ["up", "wide"]
    assert "the task of this model is multilabel" in page


def test_a_prediction_is_explained_and_reported(run, table, tmp_path):
    out, error = command("explain", run, table)
    assert error is None
    assert "the attributions add up to" in out
    out, error = command("explain", run, table, "--class", "wide", "--json")
    assert error is None
    assert json.loads(out)["attribution"]["of"] == "wide"
    _, error = command("explain", run, table, "--class", "wid")
    assert isinstance(error, UsageError)
    assert "--class: expected one of up, wide, got 'wid'" in str(error)
    out, error = command("report", run)
    assert error is None
    page = next(run.glob("**/*.html")).read_text()
    assert "mean average precision" in page
    assert "Most wrong classes" in page


@pytest.mark.parametrize("options", [(), ("--step",)])
def test_an_onnx_graph_has_the_probabilities(run, model, tmp_path, options):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, error = command("export", run, "--output", tmp_path / "sets.onnx", *options)
    assert error is None
    session = onnxruntime.InferenceSession(str(tmp_path / "sets.onnx"))
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["thresholds"]) == list(model.task.thresholds)
    if options:
        return
    values, _ = draw_sequences(1)
    feed = {"steps": values[0][None], "lengths": np.array([len(values[0])])}
    (probabilities,) = session.run(["probabilities"], feed)
    assert np.allclose(probabilities, model.predict_proba(values), atol=1e-5)


def test_a_search_has_no_baselines_of_one_class(table, tmp_path):
    shown = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    quick = ["--set", "train.steps=2", "--trials", "2", "--study", tmp_path / "study"]
    out, error = command("tune", table, "--task", "multilabel", *shown, *quick)
    assert error is None, (out, error)
    assert "predicts one class for each sequence, not several" in (
        (tmp_path / "study" / "baselines.json").read_text()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "RUN", "--steps"),
        ("evaluate", "RUN", "--calibrated"),
        ("export", "RUN", "--output", "OUT.keras"),
        ("compare", "RUN", "COPY"),
        ("ensemble", "RUN", "COPY", "--output", "OUT"),
        ("score", "RUN", "TABLE", "--to", "OUT", "--stop-at", "0.9"),
        ("train", "TABLE", "--task", "multilabel", "--set", 'train.class_weights="balanced"'),
        ("data", "pack", "TABLE", "--to", "OUT", "--targets", "label-sets"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(run, table, tmp_path, arguments):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    names = {"RUN": run, "TABLE": table, "COPY": copy}
    words = [str(names.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    _, error = command(*words)
    assert isinstance(error, UsageError | ModelError | DataError)
    assert "multilabel" in str(error)
    assert "\n" not in str(error)
