"""Runs on windows of recordings, and in spans: training, every command that uses the model, and resuming."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scanline as package
from scanline.api import train
from scanline.data.splits import hold_out
from scanline.data.windows import Windows
from scanline.errors import DataError, UsageError
from scanline.model.loading import load
from scanline.training.run import TrainingRun
from tests.data.test_windows import recordings
from tests.training.runs import finish, metrics, stop_at, weights

F = 2
QUICK = {
    "input.window": 10, "input.stride": 5, "model.hidden_size": 6, "model.bidirectional": False,
    "model.dropout": 0.0, "train.noise": 0.0, "train.batch_size": 8, "train.samples": 0, "train.steps": 20,
    "train.validate_every": 10, "train.checkpoint_every": 6, "train.log_every": 5, "train.patience": 0,
    "train.epochs": 0,
}  # fmt: skip
TASKS = ("classification", "regression", "step-classification")


def made_up(task, n=24, shortest=25, seed=0):
    """Recordings of 25 to 60 steps, and what is predicted of each."""
    draw = np.random.default_rng(seed)
    lengths, labels = draw.integers(shortest, 60, n), np.arange(n) % 2
    pairs = zip(labels, lengths, strict=True)
    values = [draw.normal(label, 1, (length, F)).astype(np.float32) for label, length in pairs]
    if task == "regression":
        return values, [float(each.mean()) for each in values]
    if task == "step-classification":
        return values, [(each[:, 0] > 0.5).astype(np.int64) for each in values]
    return values, labels


def start(task, run, data=None, **changes):
    values, labels = data or made_up(task)
    settings = QUICK | {"task": task} | {key.replace("__", "."): each for key, each in changes.items()}
    if task == "step-classification":
        settings = settings | {"model.readout": "every-step"}
    arrays = package.Arrays(values, labels)
    return TrainingRun.begin(arrays, "sequences", settings, run, "cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each task."""
    folder = tmp_path_factory.mktemp("windows")
    for task in TASKS:
        finish(start(task, folder / task))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a long table, whose data all commands find again; and new recordings, one of them short."""
    folder = tmp_path_factory.mktemp("table")
    for name, seed, shortest in (("mine", 0, 25), ("new", 1, 25)):
        values, labels = made_up("classification", seed=seed, shortest=shortest)
        if name == "new":
            values[3] = values[3][:4]
        rows = ["id,t,a,b,label"]
        for index, (own, label) in enumerate(zip(values, labels, strict=True)):
            rows += [f"r{index},{step / 50:.2f},{a},{b},{label}" for step, (a, b) in enumerate(own)]
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    columns = {"id_column": "id", "time_column": "t", "label_column": "label"}
    # Steps are 20 ms apart: windows of 10 steps, one every 5.
    settings = QUICK | {"input.window": "200ms", "input.stride": "0.1s"}
    train(folder / "mine.csv", settings=settings, run=folder / "run", log=None, **columns)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_windows_are_trained_on_and_recordings_are_measured(runs, task):
    run = runs / task
    split, result = (json.loads((run / f"{name}.json").read_text()) for name in ("split", "result"))
    environment = json.loads((run / "environment.json").read_text())["data"]
    assert {name: each["n"] for name, each in environment.items()} == {
        name: each["n"] for name, each in split["parts"].items()
    }
    tested = result["test"]["sequences" if task == "step-classification" else "n"]
    assert tested == split["parts"]["test"]["n"]
    assert environment["train"]["windows"] > 5 * split["parts"]["train"]["n"]
    lines = [line for line in metrics(run) if line.get("part") == "validation"]
    if task == "classification":
        assert lines[0]["total"] == environment["validation"]["windows"]
    assert result["training"]["status"] == "finished"


@pytest.mark.parametrize("task", TASKS)
def test_evaluations_have_the_metrics_of_the_run(runs, task):
    values, labels = made_up(task)
    model = load(runs / task)
    held = json.loads((runs / task / "split.json").read_text())["parts"]["test"]["sequences"]
    arrays = package.Arrays([values[index] for index in held], [labels[index] for index in held])
    found = model.evaluate(arrays).to_json()
    tested = json.loads((runs / task / "result.json").read_text())["test"]
    assert found["loss"] == pytest.approx(tested["loss"], rel=1e-12)


def test_windows_of_a_group_stay_in_one_split():
    source = recordings([30, 20, 25, 40, 22, 31], groups=np.array(list("aabbcc")))
    for part in hold_out(source, 0.4, seed=1):
        view = Windows(7, 2).view(source.take(part))
        assert set(view.groups) == set(source.groups[part])
        # Each window lies within the steps of the split's own recordings, which hold no others.
        assert view.recordings.total_steps == source.lengths[part].sum()


def test_epochs_are_passes_over_the_windows(tmp_path):
    run = start("classification", tmp_path / "run", train__epochs=2, train__steps=10_000)
    windows = json.loads((tmp_path / "run" / "environment.json").read_text())["data"]["train"]["windows"]
    assert run.recipe.train.total_steps == -(-2 * windows // 8)
    run.close()


def test_balanced_classes_have_equal_weight_over_the_windows(tmp_path):
    values, labels = made_up("classification")
    labels = (np.arange(len(values)) % 4 == 0).astype(int)
    run = start("classification", tmp_path / "run", (values, labels), train__class_weights="balanced")
    windows = run.prepared.preprocessing.windows
    view = windows.view(run.data.train)
    run.close()
    totals = [view.weights[view.targets == target].sum() for target in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert view.weights.mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_training_refuses_recordings_that_are_shorter_than_the_window(task, tmp_path):
    with pytest.raises(DataError, match=r"sequence \d+: expected at least 50 steps, as a window has"):
        start(task, tmp_path / "run", input__window=50)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"split.validation": 0.0}, {}])
@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(task, changes, tmp_path):
    changes = {key.replace(".", "__"): each for key, each in changes.items()}
    changes |= {
        "model__dropout": 0.3,
        "model__dropout_on": "every",
        "train__truncate": 4,
        "train__noise": 0.1,
    }
    finish(start(task, tmp_path / "whole", **changes))
    stop_at(start(task, tmp_path / "parts", **changes), 8)
    arrays = package.Arrays(*made_up(task))
    finish(TrainingRun.resume(arrays, run=tmp_path / "parts", device="cpu"))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_a_run_with_windows_can_be_given_more_steps(tmp_path):
    finish(start("classification", tmp_path / "run"))
    arrays = package.Arrays(*made_up("classification"))
    more = TrainingRun.resume(arrays, settings={"train.steps": 24}, run=tmp_path / "run", device="cpu")
    assert finish(more).finished().training.steps == 24


def test_slices_of_windows_have_the_bits_of_any_number_of_threads(tmp_path):
    import torch

    before, found = torch.get_num_threads(), set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run = tmp_path / str(threads)
        finish(start("step-classification", run, train__slices=4, train__truncate=4))
        found.add(weights(run))
    torch.set_num_threads(before)
    assert len(found) == 1


def test_truncation_needs_one_direction(tmp_path):
    with pytest.raises(UsageError, match=r"train.truncate needs model.bidirectional=false"):
        start("classification", tmp_path / "run", train__truncate=4, model__bidirectional=True)


def test_longer_spans_than_windows_change_no_bit(runs, tmp_path):
    finish(start("classification", tmp_path / "run", train__truncate=10))
    assert weights(tmp_path / "run") == weights(runs / "classification")


# --- commands


def test_predict_joins_windows_and_reads_short_recordings_as_they_are(table, scanline):
    code, out, _ = scanline("predict", table / "run", table / "new.csv", "--json")
    predictions = json.loads(out)["predictions"]
    assert code == 0
    assert [each["sequence"] for each in predictions] == [f"r{index}" for index in range(24)]
    values, _ = made_up("classification", seed=1)
    values[3] = values[3][:4]
    expected = load(table / "run").predict_proba(values)
    found = [list(each["probabilities"].values()) for each in predictions]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_evaluate_measures_recordings(table, scanline):
    result = json.loads((table / "run" / "result.json").read_text())["test"]
    code, out, _ = scanline("evaluate", table / "run", "--json")
    assert code == 0
    assert json.loads(out)["test"]["accuracy"] == result["accuracy"]


def test_what_reads_step_by_step_refuses_several_windows(table, scanline):
    for arguments, message in (
        (("evaluate", table / "run", "--steps"), "expected at most 10 steps"),
        (("explain", table / "run", "0"), "expected at most 10 steps"),
        (("predict", table / "run", "-", "--stream"), "joins the predictions of windows of 10 steps"),
        (
            ("export", table / "run", "--output", table / "step.onnx", "--step"),
            "which a graph of one step cannot do",
        ),
    ):
        code, _, err = scanline(*arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err


def test_reports_say_what_they_leave_out(table):
    page = package.report(table / "run", table / "page.html", data=table / "new.csv")
    assert "the predictions of this model are joined from several" in page.read_text()


def test_onnx_files_read_a_window(table):
    onnxruntime = pytest.importorskip("onnxruntime")
    package.export(table / "run", table / "window.onnx")
    session = onnxruntime.InferenceSession(table / "window.onnx")
    described = json.loads(session.get_modelmeta().custom_metadata_map["input"])
    assert described["windows"] == {"length": 10, "stride": 5}
    (values, *_), _ = made_up("classification", seed=1)
    given = {"steps": values[None, :10], "lengths": np.array([10])}
    (probabilities,) = session.run(["probabilities"], given)
    np.testing.assert_allclose(probabilities, load(table / "run").predict_proba(values[:10]), rtol=1e-5)


def test_comparisons_and_ensembles_join_the_windows_of_each_run(table, tmp_path, scanline):
    settings = QUICK | {"input.window": 8, "input.stride": 3, "seed": 1}
    columns = {"id_column": "id", "time_column": "t", "label_column": "label"}
    train(table / "mine.csv", settings=settings, run=tmp_path / "other", log=None, **columns)
    model = package.ensemble([table / "run", tmp_path / "other"], tmp_path / "both", log=None)
    values, _ = made_up("classification", seed=1)
    means = np.mean([load(run).predict_proba(values) for run in (table / "run", tmp_path / "other")], 0)
    np.testing.assert_allclose(model.predict_proba(values), means, rtol=1e-6)
    code, out, _ = scanline("compare", table / "run", tmp_path / "other", "--json")
    assert (code, json.loads(out)["n"]) == (0, 5)


def test_estimators_join_windows():
    from scanline import LSTMClassifier

    values, labels = made_up("classification")
    estimator = LSTMClassifier(
        hidden_size=6, bidirectional=False, epochs=2, noise=0.0, dropout=0.0, random_state=0,
        settings={"input.window": 10, "input.stride": 5},
    )  # fmt: skip
    estimator.fit(values, labels)
    windows = int(Windows(10, 5).counts(np.array([len(each) for each in values])).sum())
    assert estimator._state.step == -(-2 * windows // 16)
    expected = estimator.model_.predict_proba(values)
    np.testing.assert_allclose(estimator.predict_proba(values), expected, rtol=1e-6)


def test_pictures_have_no_windows():
    with pytest.raises(UsageError, match=r"input.window must be empty for digits: pictures cannot be cut"):
        train("digits", settings={"input.window": 4}, log=None)
