"""Whole runs on scikit-learn's digits: run directory, repeatability, divergence, refused requests."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scanline
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.data.loader import Loader
from scanline.errors import DataError, MissingExtraError, UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.kernels import backends
from scanline.kernels.library import BFLOAT16, load
from scanline.training import checkpoint_folders
from scanline.training.run import TrainingRun
from scanline.training.step import Diverged
from tests.training.runs import SHORT, finish, metrics, short, stop_at, weights


def test_a_run_directory_holds_the_documented_files(trained):
    assert sorted(p.name for p in trained.iterdir() if p.name != ".lock") == [
        "checkpoints", "environment.json", "log.txt", "metrics.jsonl", "model", "recipe.toml", "result.json",
        "split.json",
    ]  # fmt: skip
    assert sorted(p.name for p in (trained / "model").iterdir()) == [
        "README.md", "model.json", "model.safetensors",
    ]  # fmt: skip
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    assert sorted(p.name for p in newest.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]


def test_the_result_has_test_validation_and_training(trained):
    result = json.loads((trained / "result.json").read_text())
    test, training = result["test"], result["training"]
    assert result["schema"] == 1
    assert test["n"] == 360
    assert test["accuracy"] == test["correct"] / 360 > 0.8
    assert test["ci95"][0] < test["accuracy"] < test["ci95"][1]
    assert 0 <= test["first128_accuracy"] <= 1
    assert result["validation"]["n"] == 180
    assert (training["steps"], training["samples_seen"], training["status"]) == (624, 19_968, "finished")
    assert training["samples_per_s"] == pytest.approx(19_968 / training["seconds"], rel=0.01)
    assert training["backend"] == ("torch" if load() is None else "native")
    assert training["precision"] == "float32"


def test_the_environment_has_versions_threads_and_data(trained):
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["threads"] >= 1
    assert len(environment["data"]["train"]["sha256"]) == 64


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path):
    for name in ("one", "two"):
        finish(short(tmp_path / name))
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    finish(short(tmp_path / "three", seed=1))
    assert weights(tmp_path / "one") != weights(tmp_path / "three")


def test_two_processes_cannot_write_to_one_run(tmp_path):
    first = short(tmp_path / "run")
    with pytest.raises(UsageError, match="being written by another process"):
        TrainingRun.resume(run=tmp_path / "run")
    first.directory.unlock()


def test_a_run_folder_that_exists_is_not_touched(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"exists already: choose another --run$"):
        short(tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train.batch_size": 0}, UsageError, "train.batch_size must be >= 1"),
        ({"input.features": 7}, UsageError, "input.features must divide the 64 values"),
        ({"model.classes": 11}, UsageError, "model.classes must be 0 or 10, .*got 11"),
    ],
)
def test_an_invalid_request_leaves_no_directory(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        short(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_leaves_no_directory(tmp_path):
    with pytest.raises(UsageError, match="device must be one of auto, cpu, cuda, cuda:N, got 'gpu'"):
        TrainingRun.begin("digits", run=tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_created_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(scanline.ScanlineError, match=r"cannot create the run directory .*Not a directory"):
        short(tmp_path / "file" / "run")


def test_a_loss_of_nan_stops_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    real = Loader.batch

    def poisoned(loader, step, part):
        batch = real(loader, step, part)
        return replace(batch, values=batch.values * float("nan")) if step == 9 else batch

    monkeypatch.setattr(Loader, "batch", poisoned)
    with pytest.raises(
        Diverged,
        match=r"step 10: the loss became nan; the model of the last good checkpoint, step 7, is in .*model",
    ):
        finish(short(tmp_path / "run"))
    monkeypatch.undo()
    assert finish(TrainingRun.resume(run=tmp_path / "run", device="cpu")).result.test.n == 360


def test_a_learning_rate_that_explodes_diverges_or_ends_with_finite_weights(tmp_path):
    """Nothing is faked here: the largest legal rate, without clipping."""
    wild = {"train.learning_rate": 10.0, "train.schedule": "constant", "train.clip_norm": 0.0}
    training = short(tmp_path / "run", **wild)
    try:
        finish(training)
    except Diverged:
        return
    assert all(weight.isfinite().all() for weight in training.state.network.parameters())


def test_early_stopping_ships_the_best_weights(tmp_path):
    settings = {
        "train.steps": 400,
        "train.validate_every": 2,
        "train.patience": 2,
        "train.learning_rate": 0.1,
    }
    training = finish(short(tmp_path / "run", **settings))
    assert training.result.training.status == "stopped early"
    assert training.result.validation.accuracy == pytest.approx(training.state.best.accuracy)


def test_wide_steps_can_be_split_in_two_as_in_the_fifth_tutorial(tmp_path):
    changes = {"input.features": 4, "model.classes": 10, "train.batch_size": 16, "train.steps": 3}
    training = finish(short(tmp_path / "run", **changes))
    assert training.data.train.values.shape[1:] == (16, 4)
    assert training.state.network.architecture.input_size == 4
    probabilities = scanline.load(tmp_path / "run").predict_proba(np.zeros((3, 8, 8), np.uint8))
    assert probabilities.shape == (3, 10)


def test_a_run_can_be_trained_and_used_from_python(tmp_path):
    lines: list[str] = []
    run = train("digits", settings=SHORT, run=tmp_path / "run", seed=3, log=lines.append)
    assert lines[0].startswith("step: 3 / loss: ")
    assert run.model.predict(np.zeros((2, 8, 8), np.uint8)).shape == (2,)
    assert "seed = 3" in (run.path / "recipe.toml").read_text()


def test_runs_are_numbered_where_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [train("digits", settings=SHORT | {"train.steps": 1}, log=None).path for _ in range(2)]
    assert [str(path) for path in paths] == ["runs/digits-digits-001", "runs/digits-digits-002"]


def test_the_tutorials_run_on_any_pictures(tmp_path):
    for name in ("tutorial-basic", "tutorial-dynamic", "tutorial-stacked"):
        settings = {"train.samples": 0, "train.steps": 2, "model.hidden_size": 8}
        run = train("digits", recipe=name, settings=settings, run=tmp_path / name, log=None)
        assert run.result["training"]["steps"] == 2


def test_event_files_have_the_same_numbers_as_the_metrics(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train("digits", settings=SHORT, run=tmp_path / "run", tensorboard=True, log=None)
    events = accumulator.EventAccumulator(str(run.path))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("train/loss")]
    lines = [(m["step"], pytest.approx(m["loss"])) for m in metrics(run.path) if m["event"] == "logged"]
    assert written == lines
    assert {"train/accuracy", "train/learning_rate", "validation/accuracy"} <= set(events.Tags()["scalars"])


def test_without_tensorboard_the_extra_is_named_and_nothing_is_created(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[tensorboard\]'"):
        train("digits", run=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_the_small_digits_replace_mnist_only_if_no_data_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SCANLINE_DATA", raising=False)
    training = TrainingRun.begin(settings={"train.samples": 0, "train.steps": 1}, run=tmp_path / "run")
    training.directory.unlock()
    assert (training.data.name, training.recipe.name) == ("digits", "digits")
    assert training.notes[0].startswith(
        "MNIST is not on this machine, and SCANLINE_OFFLINE is set: training on `digits`"
    )
    with pytest.raises(DataError, match="SCANLINE_OFFLINE is set"):
        TrainingRun.begin("mnist", run=tmp_path / "other")


def write_pictures(folder: Path, data) -> None:
    """The training and test parts of scikit-learn's digits as a folder of IDX files."""
    folder.mkdir(parents=True)
    for name, split in (("train", data.train), ("t10k", data.test)):
        for kind, array in (("images-idx3", split.values * 15), ("labels-idx1", split.targets)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())


def test_the_path_of_the_data_is_in_the_recipe_but_not_in_the_model(tmp_path, monkeypatch):
    folder = tmp_path / "home" / "pictures"
    write_pictures(folder, catalog.load("digits"))
    monkeypatch.chdir(folder.parent)
    training = TrainingRun.begin("./pictures", settings=SHORT)
    stop_at(training, 3)
    run = training.directory.path.resolve()
    assert run.name == "pictures-rows-001"
    monkeypatch.chdir(tmp_path)
    finish(TrainingRun.resume(run=run))
    assert evaluate_run(str(run), None).metrics.n == 360
    assert "home" not in (run / "model" / "model.json").read_text()


def test_patience_keeps_the_best_weights_even_if_all_steps_are_done(tmp_path):
    changes = {"train.patience": 50, "train.validate_every": 1, "train.learning_rate": 0.3}
    training = finish(short(tmp_path / "run", **changes))
    assert training.result.training.status == "finished"
    assert training.state.best.step < 24
    assert training.result.validation.accuracy == training.state.best.accuracy


def test_a_full_disk_at_the_start_leaves_no_run(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_folders, "overwrite", full)
    with pytest.raises(scanline.ScanlineError, match=r"cannot write .*step-000000: No space left on device"):
        short(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_local_folder_with_the_name_of_a_data_set_is_a_folder(tmp_path, monkeypatch):
    write_pictures(tmp_path / "mnist", catalog.load("digits"))
    monkeypatch.chdir(tmp_path)
    run = train("./mnist", settings=SHORT, run=tmp_path / "run", log=None)
    assert run.result["data"] == "the folder mnist"
    assert evaluate_run(str(run.path), None).metrics.to_json() == run.result["test"]
    with pytest.raises(UsageError, match="trained on the folder mnist"):
        evaluate_run(str(run.path / "model"), None)


def test_a_folder_of_a_single_class_is_refused(tmp_path):
    digits = catalog.load("digits")
    train_part, test_part = (
        source.take(np.flatnonzero(source.targets == 3)) for source in (digits.train, digits.test)
    )
    write_pictures(tmp_path / "threes", digits.with_splits(train=train_part, test=test_part))
    with pytest.raises(DataError, match="threes: expected at least 2 classes, got 1"):
        train(tmp_path / "threes", run=tmp_path / "run")


@pytest.mark.skipif(load() is None, reason="no native library")
def test_precision_and_backend_follow_the_recipe_and_are_recorded(tmp_path):
    small = {"train.samples": 200, "train.batch_size": 32}
    half = train("digits", settings=small | {"train.precision": "bfloat16"}, run=tmp_path / "half", log=None)
    torchs = train("digits", settings=small | {"train.backend": "torch"}, run=tmp_path / "torch", log=None)
    has_kernel = load().kernel(BFLOAT16) is not None
    assert half.result["training"]["precision"] == ("bfloat16" if has_kernel else "float32")
    assert half.result["training"]["backend"] == "native"
    assert torchs.result["training"]["backend"] == "torch"
    environment = json.loads((tmp_path / "half" / "environment.json").read_text())
    assert environment["computes"] == {k: half.result["training"][k] for k in ("backend", "precision")}
    native = environment["native"]
    assert native["found"]
    assert native["kernels"]["float32"]


def test_an_unavailable_backend_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "_why_absent", lambda: "it was not built")
    with pytest.raises(UsageError, match="backend=native is not possible: it was not built"):
        train("digits", settings={"train.backend": "native"}, run=tmp_path / "run", log=None)
    assert not (tmp_path / "run").exists()
