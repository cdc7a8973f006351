"""The task regression with several label columns, from training to prediction."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import scanline
from scanline import cli
from scanline.data.label_sets import row_numbers
from scanline.errors import DataError, ModelError, UsageError
from scanline.tasks.regression import Regression, SeveralNumbers
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
    return result.stdout, None if isinstance(result.exception, SystemExit) else result.exception


def draw_sequences(n=160, seed=0):
    """Return sequences with 100 plus 10 times the sum of x, and a thousandth of the sum of y."""
    draw = np.random.default_rng(seed)
    values = [draw.normal(size=(int(draw.integers(3, 9)), 2)).round(3).astype(np.float32) for _ in range(n)]
    labels = [(100 + 10 * each[:, 0].sum(), each[:, 1].sum() / 1000) for each in values]
    return values, np.array(labels, np.float64)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.csv"
    lines = ["id,time,x,y,large,small"]
    for index, (steps, labels) in enumerate(zip(*draw_sequences(), strict=True)):
        large, small = labels.tolist()
        lines += [f"s{index},{time},{x},{y},{large},{small}" for time, (x, y) in enumerate(steps.tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "sums"
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    names = ("--label-columns", "small,large")
    out, error = command("train", table, "--task", "regression", *names, "--run", path, *settings)
    assert error is None
    assert "sequences, RMSE small " in out
    return path


@pytest.fixture(scope="module")
def model(run):
    return scanline.load(run)


def test_each_number_has_its_own_scale_metrics_and_interval(run, model):
    test = json.loads((run / "result.json").read_text())["test"]
    small, large = (each["metrics"] for each in test["outputs"])
    assert [each["name"] for each in test["outputs"]] == ["small", "large"] == list(model.class_names)
    assert min(small["r2"], large["r2"]) > 0.7  # predicting the mean gives 0
    assert large["interval"]["half_width"] > 1000 * small["interval"]["half_width"]
    assert test["loss"] == pytest.approx((small["loss"] + large["loss"]) / 2)
    assert isinstance(model.task, SeveralNumbers)
    assert Regression.from_json(json.loads(json.dumps(model.task.to_json()))) == model.task
    parts = json.loads((run / "split.json").read_text())["parts"]
    assert set(parts["train"]["columns"]) == {"small", "large"}


def test_evaluation_repeats_the_result(run, table):
    out, error = command("evaluate", run, "--json", "--list")
    assert error is None
    found = json.loads(out)
    assert found["test"] == json.loads((run / "result.json").read_text())["test"]
    assert len(row_numbers(found["predicted"][0])) == len(row_numbers(found["true"][0])) == 2
    out, error = command("evaluate", run)
    assert error is None
    assert out.count("RMSE") == 2
    out, error = command("data", "show", table, "--label-columns", "small,large", "--targets", "numbers")
    assert error is None
    assert "small -0." in out


def test_predictions_of_a_file_a_stream_and_a_program_are_equal(run, model, table, tmp_path):
    values, _ = draw_sequences()
    expected = model.predict(values[:1])
    assert expected.shape == (1, 2)
    out, error = command("predict", run, table, "--json")
    assert error is None
    first = json.loads(out)["predictions"][0]
    assert [first["numbers"][name]["value"] for name in ("small", "large")] == expected[0].tolist()
    assert first["numbers"]["large"]["low"] < expected[0, 1] < first["numbers"]["large"]["high"]
    assert row_numbers(first["label"]) == expected[0].tolist()
    text = "".join(f"{x},{y}\n" for x, y in values[0].tolist())
    streamed, error = command("predict", run, "-", "--stream", "--json", input=text)
    assert error is None
    last = json.loads(streamed.splitlines()[-1])
    assert row_numbers(last["label"]) == pytest.approx(expected[0].tolist())
    out, error = command("predict", run, table, "--to", tmp_path / "sums.csv")
    assert error is None
    assert first["label"] in (tmp_path / "sums.csv").read_text().splitlines()[1]
    with in_thread(model) as server:
        (served,) = server.predict([values[0].tolist()]).json()["predictions"]
    assert served == {key: first[key] for key in ("label", "numbers")}


def test_arrays_are_trained_on_and_reported(tmp_path):
    values, labels = draw_sequences(40)
    quick = SETTINGS | {"train.steps": 3, "train.validate_every": 0, "task": "regression"}
    made = scanline.train(scanline.Arrays(values, labels), settings=quick, run=tmp_path / "run", log=None)
    assert made.model.class_names == ("0", "1")
    assert made.model.evaluate(scanline.Arrays(values, labels)).n == 40
    with pytest.raises(DataError, match=r"expected labels of shape \(40, 2\)"):
        made.model.evaluate(scanline.Arrays(values, labels[:, :1]))
    _, error = command("report", tmp_path / "run")
    assert error is None
    np.savez(tmp_path / "some.npz", X=np.zeros((2, 4, 2), np.float32))
    out, error = command("explain", tmp_path / "run", tmp_path / "some.npz", "--class", "1", "--json")
    assert error is None
    assert json.loads(out)["attribution"]["of"] == "1"
    with pytest.raises(DataError, match="arrays, label column 1: expected targets that differ"):
        scanline.train(
            scanline.Arrays(values, np.stack([labels[:, 0], np.ones(40)], 1)),
            settings=quick, run=tmp_path / "equal", log=None,
        )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "RUN", "--output", "OUT.onnx"),
        ("export", "RUN", "--output", "OUT.keras"),
        ("compare", "RUN", "COPY"),
        ("ensemble", "RUN", "COPY", "--output", "OUT"),
        ("evaluate", "RUN", "--calibrated"),
        ("data", "pack", "TABLE", "--to", "OUT", "--targets", "numbers", "--label-columns", "small,large"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(run, table, tmp_path, arguments):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    names = {"RUN": run, "TABLE": table, "COPY": copy}
    words = [str(names.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    _, error = command(*words)
    assert isinstance(error, UsageError | ModelError | DataError)
    assert "regression" in str(error)
    assert "\n" not in str(error)


def test_a_damaged_state_is_refused():
    state = SeveralNumbers((Regression(0.0, 1.0), Regression(1.0, 2.0)), ("a", "b")).to_json()
    for names in (["a", "a"], ["a", 3]):
        outputs = [each | {"name": name} for each, name in zip(state["outputs"], names, strict=True)]
        with pytest.raises(ValueError, match="expected outputs of different names"):
            Regression.from_json(state | {"outputs": outputs})
