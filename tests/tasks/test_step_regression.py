"""The task step-regression from training to prediction, by the commands and from Python."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import scanline
from scanline import cli, recipe, tasks
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.tasks.step_regression import StepRegression
from tests.serving.client import in_thread

SETTINGS = {
    "train.epochs": 40,
    "train.log_every": 20,
    "train.validate_every": 40,
    "train.noise": 0.0,
    "train.learning_rate": 0.01,
    "model.hidden_size": 12,
    "model.bidirectional": False,
    "model.dropout": 0.0,
    "split.validation": 0.25,
}
NAN = float("nan")


def command(*arguments, input=None):
    """Run a command in this process; returns what it printed and what it raised."""
    result = CliRunner().invoke(cli.command, list(map(str, arguments)), input=input)
    return result.stdout, None if isinstance(result.exception, SystemExit) else result.exception


def draw_sequences(count=60, seed=0):
    """Return sequences whose target is 100 plus 10 times the sum of x so far; some steps have none."""
    draw = np.random.default_rng(seed)
    values = [draw.normal(size=(int(draw.integers(3, 12)), 2)).round(3) for _ in range(count)]
    labels = [(100 + 10 * each[:, 0].cumsum()).round(3) for each in values]
    for each in labels:
        each[draw.random(len(each)) < 0.2] = NAN
    return values, labels


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.csv"
    lines = ["id,time,x,y,label"]
    for index, (steps, labels) in enumerate(zip(*draw_sequences(), strict=True)):
        lines += [
            f"s{index},{time},{x},{y},{'' if np.isnan(label) else label}"
            for time, ((x, y), label) in enumerate(zip(steps, labels, strict=True))
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "sums"
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    out, error = command("train", table, "--task", "step-regression", "--run", path, *settings)
    assert error is None
    assert "labelled steps of 12 sequences, RMSE " in out
    assert "inside their 90 % interval" in out
    return path


@pytest.fixture(scope="module")
def model(run):
    return scanline.load(run)


def source_of(targets, lengths):
    """Return sequences with these targets of their steps, NaN for none."""
    numbers = np.array(targets)
    classes, indices = np.unique(numbers[~np.isnan(numbers)], return_inverse=True)
    of_steps = np.full(len(numbers), -1)
    of_steps[~np.isnan(numbers)] = indices
    return MemorySource(
        np.zeros((len(numbers), 1), np.float32), np.array(lengths), np.zeros(len(lengths), np.int64),
        tuple(classes.tolist()), "these", step_targets=of_steps,
    )  # fmt: skip


def test_the_task_is_built_in_and_has_the_recipe_steps(run):
    assert tasks.get("step-regression") is StepRegression
    made = recipe.parse((run / "recipe.toml").read_text(), "the run")
    assert (made.name, made.task, made.model.readout) == ("steps", "step-regression", "every-step")
    assert made.data.targets == "step-numbers"
    task = StepRegression(1.25, 0.5, 2.0)
    assert StepRegression.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_targets_are_standardised_by_the_labelled_steps():
    source = source_of([1.0, NAN, 3.0, 5.0], [2, 2])
    task = StepRegression.fit(source, "data")
    assert (task.mean, task.scale) == (3.0, pytest.approx((8 / 3) ** 0.5))
    encoded = task.encode(source)
    assert np.isnan(encoded).tolist() == [False, True, False, False]
    assert encoded[2] == 0


def test_targets_that_cannot_be_learned_are_refused():
    with pytest.raises(DataError, match="expected targets that differ, got 3 equal ones"):
        StepRegression.fit(source_of([2.0, NAN, 2.0, 2.0], [4]), "data")
    with pytest.raises(DataError, match="expected targets that differ, got 0 equal ones"):
        StepRegression.fit(source_of([NAN, NAN], [2]), "data")
    task = StepRegression(0.0, 1.0)
    with pytest.raises(DataError, match=r"these: expected targets near.*got 1e\+30 \(sequence 1\)"):
        task.encode(source_of([1.0, 2.0, NAN, 1e30], [2, 2]))
    with pytest.raises(DataError, match="these: expected steps with labels, found none"):
        task.metrics(np.zeros((2, 1)), source_of([NAN, NAN], [2]))


def test_the_loss_is_that_of_the_labelled_steps():
    outputs, targets = torch.tensor([[[1.0], [4.0]], [[9.0], [0.0]]]), torch.tensor([[0.0, 2.0], [NAN, NAN]])
    task = StepRegression(10.0, 3.0)
    loss, gradient = task.loss_gradient(outputs, targets)
    assert loss.item() == (1 + 4) / 2
    assert gradient.flatten().tolist() == [1.0, 2.0, 0.0, 0.0]
    score = task.score(outputs, targets)
    assert (score.total, score.shown, score.value) == (2, pytest.approx(2.5**0.5 * 3), -1.5)
    assert "2 labelled steps, skill -1.5" in score.split_text()
    nothing, none = task.loss_gradient(outputs, torch.full((2, 2), NAN))
    assert nothing.item() == 0
    assert not none.any()


def test_one_step_of_each_sequence_calibrates():
    task = StepRegression(0.0, 2.0)
    outputs = np.zeros((7, 1), np.float32)
    targets = np.array([1, NAN, 1, NAN, NAN, 3, 3], np.float32)
    errors = task.calibration_errors(outputs, targets, np.array([3, 2, 2]))
    assert errors.tolist() == [2.0, 6.0]  # the second sequence has no label


def test_training_learns_the_numbers(run):
    result = json.loads((run / "result.json").read_text())
    test = result["test"]
    assert test["r2"] > 0.8  # predicting the mean gives 0
    assert test["last"]["n"] == 12
    assert test["interval"]["level"] == 0.9
    assert result["validation"]["interval"] is None
    parts = json.loads((run / "split.json").read_text())["parts"]
    assert parts["train"]["classes"] == {}
    assert parts["train"]["targets"]["min"] < 100 < parts["train"]["targets"]["max"]
    assert parts["train"]["unlabelled"] > 0


def test_evaluation_repeats_the_result(run, table):
    out, error = command("evaluate", run, "--json", "--list")
    assert error is None
    found = json.loads(out)
    assert found["test"] == json.loads((run / "result.json").read_text())["test"]
    assert len(found["step"]) == len(found["predicted"]) == found["test"]["n"] + found["test"]["unlabelled"]
    assert found["true"].count(None) == found["test"]["unlabelled"]
    out, error = command("evaluate", run, "--data", table)
    assert error is None
    assert "at the last labelled step of 12 sequences: RMSE " in out
    assert "sequences with the largest errors" in out


def test_predictions_of_a_file_a_stream_and_a_program_have_the_same_bits(run, model, table, tmp_path):
    values, _ = draw_sequences()
    out, error = command("predict", run, table, "--json")
    assert error is None
    rows = [row for row in json.loads(out)["predictions"] if row["sequence"] == "s0"]
    numbers = [row["label"] for row in rows]
    assert [row["step"] for row in rows] == list(range(1, len(values[0]) + 1))
    assert numbers == model.predict([values[0].astype(np.float32)])[0].tolist()
    padded = np.full((2, 20, 2), NAN, np.float32)
    padded[0, : len(values[0])], padded[1, : len(values[1])] = values[0], values[1]
    assert model.predict(padded, [len(values[0]), len(values[1])])[0].tolist() == numbers
    text = "".join(f"{x},{y}\n" for x, y in values[0])
    streamed, error = command("predict", run, "-", "--stream", "--json", input=text)
    assert error is None
    assert [json.loads(line)["label"] for line in streamed.splitlines()] == numbers
    assert rows[0]["low"] < rows[0]["label"] < rows[0]["high"]
    out, error = command("predict", run, table, "--to", tmp_path / "numbers.csv")
    assert error is None
    head, first, *_ = (tmp_path / "numbers.csv").read_text().splitlines()
    cells = dict(zip(head.replace('"', "").split(","), first.split(","), strict=True))
    assert (cells["step"], float(cells["prediction"])) == ("1", numbers[0])
    out, error = command("predict", run, table)
    assert error is None
    assert "s0, step 1: " in out


def test_slices_train_the_same_loss(tmp_path):
    values, labels = draw_sequences(24)
    settings = SETTINGS | {"train.epochs": 2, "train.log_every": 1, "task": "step-regression"}
    losses = []
    for slices in (1, 3):
        made = scanline.train(
            scanline.Arrays(values, labels),
            settings=settings | {"train.slices": slices},
            run=tmp_path / f"run{slices}",
            log=None,
        )
        lines = [json.loads(line) for line in (made.path / "metrics.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_arrays_of_numbers_are_read(tmp_path):
    read = scanline.Arrays([np.zeros((2, 1)), np.zeros((1, 1))], [[-1, None], [2.5]]).read
    settings = recipe.DEFAULT_DATA.model_copy(update={"targets": "step-numbers"})
    source = read(settings)["all"]
    assert source.classes == (-1.0, 2.5)  # -1 is a number here
    assert source.step_targets.tolist() == [0, -1, 1]
    for wrong, found in (("high", "'high'"), (float("inf"), "inf"), (True, "True")):
        with pytest.raises(DataError, match=rf"sequence 0, step 1: expected a label that is.*{found}"):
            scanline.Arrays([np.zeros((2, 1))], [[1.0, wrong]]).read(settings)


def test_a_label_that_is_no_number_is_named(table, tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text(table.read_text().replace("id,time,x,y,label\n", "id,time,x,y,label\ns,0,1,2,high\n"))
    _, error = command("train", path, "--task", "step-regression", "--run", tmp_path / "run")
    assert isinstance(error, DataError)
    assert "line 2: expected a label that is a finite number, found high" in str(error)
    balanced = ("--set", 'train.class_weights="balanced"')
    _, error = command("train", table, "--task", "step-regression", "--run", tmp_path / "run", *balanced)
    assert 'train.class_weights must be "none" for the task step-regression' in str(error)


def test_the_server_predicts_each_step(model):
    values = draw_sequences()[0][0].astype(np.float32)
    with in_thread(model) as server:
        (found,) = server.predict([values.tolist()]).json()["predictions"]
        (traced,) = server.predict([values.tolist()], trace=True).json()["predictions"]
    steps = found["steps"]
    assert traced["steps"] == steps
    assert [step["label"] for step in steps] == model.predict([values])[0].tolist()
    assert set(steps[0]) == {"label", "low", "high"}


@pytest.mark.parametrize("options", [(), ("--step",)])
def test_an_onnx_graph_has_a_number_for_each_step(run, model, tmp_path, options):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, error = command("export", run, "--output", tmp_path / "steps.onnx", *options)
    assert error is None
    if options:
        return
    session = onnxruntime.InferenceSession(str(tmp_path / "steps.onnx"))
    values, lengths = np.random.default_rng(3).normal(size=(2, 5, 2)).astype(np.float32), np.array([5, 3])
    number, low = session.run(["number", "low"], {"steps": values, "lengths": lengths})
    assert number.shape == low.shape == (2, 5)
    for row, length, expected in zip(number, lengths, model.predict(values, lengths), strict=True):
        assert np.allclose(row[:length], expected, atol=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "RUN", "TABLE"),
        ("evaluate", "RUN", "--steps"),
        ("score", "RUN", "TABLE", "--to", "OUT"),
        ("export", "RUN", "--output", "OUT.keras"),
        ("report", "RUN", "--against", "COPY"),
        ("ensemble", "RUN", "COPY", "--output", "OUT"),
        ("evaluate", "RUN", "--calibrated"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(run, table, tmp_path, arguments):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    names = {"RUN": run, "TABLE": table, "COPY": copy}
    words = [str(names.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    _, error = command(*words)
    assert isinstance(error, UsageError | ModelError)
    assert "step-regression" in str(error)
    assert "\n" not in str(error)


def test_numbers_of_steps_are_not_packed(table, tmp_path):
    _, error = command("data", "pack", table, "--to", tmp_path / "packed", "--targets", "step-numbers")
    assert "packed data have a label for each sequence, not for each step" in str(error)
    out, error = command("data", "show", table, "--targets", "step-numbers")
    assert error is None
    assert "targets " in out
    assert "(of steps); " in out


def test_runs_are_compared_and_reported(run, table, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    quick = SETTINGS | {"task": "step-regression", "train.epochs": 1}
    scanline.train(table, settings=quick, run=tmp_path / "worse", log=None)
    out, error = command("compare", run, copy, tmp_path / "worse", "--json")
    assert error is None
    found = json.loads(out)
    same, worse = found["pairs"][:2]
    assert [(each["value"], each["ci95"]) for each in same["differences"]] == [(0, [0, 0])] * 3
    rmse = worse["differences"][0]
    assert (rmse["name"], rmse["value"] < 0) == ("rmse", True)
    assert rmse["ci95"][0] < rmse["value"] < rmse["ci95"][1]
    out, error = command("compare", run, tmp_path / "worse")
    assert error is None
    assert "RMSE at the last step" in out
    _, error = command("report", copy)
    assert error is None
    page = (copy / "report.html").read_text()
    assert "True and predicted numbers over time" in page
    assert "Sequences with the largest errors" in page
