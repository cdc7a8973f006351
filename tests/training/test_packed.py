"""Training on packed data: the same weights wherever they are, however often training is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scanline import recipe
from scanline.data.packed.location import Location
from scanline.data.packed_data import read_packed
from scanline.data.partition import partition
from scanline.data.transforms.scaler import Scaler
from scanline.errors import DataError, UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.storage.tensors import pack_tensors
from scanline.training.events import Evaluated, Logged
from scanline.training.preparation import prepare
from scanline.training.run import TrainingRun
from scanline.training.state import initial_state
from scanline.training.trainer import Trainer
from tests.data.packed.writing import ragged, write_packed
from tests.training.distributed.processes import train_together
from tests.training.runs import finish, metrics, stop_at, weights

SETTINGS = {
    "train.samples": 0, "train.steps": 30, "train.batch_size": 16, "train.slices": 4, "train.window": 4,
    "train.log_every": 5, "train.validate_every": 10, "train.checkpoint_every": 7, "model.hidden_size": 8,
    "model.layers": 1, "model.dropout": 0.0, "train.bucket": 3, "train.epochs": 0,
}  # fmt: skip
ARGUMENTS = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]


def sequences(count: int, seed: int):
    draw = np.random.default_rng(seed)
    source = ragged(draw.integers(1, 12, count).tolist(), features=3, seed=seed)
    steps = source.concatenated.copy()
    steps[draw.random(steps.shape) < 0.02] = np.nan
    # A mean that depends on the class, so that there is something to learn.
    steps += np.repeat(source.targets, source.lengths)[:, None].astype(np.float32)
    return replace(source, concatenated=steps)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Location:
    """Three splits, the training split in 15 row groups."""
    folder = tmp_path_factory.mktemp("packed") / "set"
    splits = {"train": sequences(150, 1), "validation": sequences(40, 2), "test": sequences(40, 3)}
    return write_packed(folder, splits, rows=10)


def train(data: Location, run: Path, **changes) -> TrainingRun:
    settings = SETTINGS | {"input.missing": "mean"} | changes
    return finish(TrainingRun.begin(data.uri, "sequences", settings, run=run, device="cpu"))


def test_stored_sequences_train_as_those_in_memory(packed, tmp_path):
    train(packed, tmp_path / "run")
    plan = recipe.load("sequences", SETTINGS | {"input.missing": "mean"})
    data = partition(read_packed(packed.uri, in_memory=True), plan.split, "mean")
    prepared = prepare(plan, data)
    scaler = Scaler.fit(prepared.data.train, plan.input.scaling, data.full_scale)
    state = initial_state(plan, prepared.architecture, scaler.shift, scaler.scale, "cpu")
    events = list(Trainer(state, plan, prepared.data, prepared.task).events())
    lines = [each.to_json() for each in events if isinstance(each, Logged | Evaluated)]
    recorded = metrics(tmp_path / "run")
    assert [line["loss"] for line in recorded] == [line["loss"] for line in lines]
    stored = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert pack_tensors(dict(state.best.weights) or state.network.state_dict()) == stored


def test_sequences_in_an_object_store_train_as_local_ones(packed, object_store, tmp_path):
    remote = Location.parse(f"{object_store.uri}/set")
    for file in Path(packed.uri).iterdir():
        remote.write(file.name, file.read_bytes())
    train(packed, tmp_path / "local")
    train(remote, tmp_path / "remote")
    assert weights(tmp_path / "local") == weights(tmp_path / "remote")
    assert metrics(tmp_path / "local") == metrics(tmp_path / "remote")
    assert remote.uri in (tmp_path / "remote" / "recipe.toml").read_text()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_change_the_weights(packed, tmp_path, threads):
    before = torch.get_num_threads()
    train(packed, tmp_path / "one")
    torch.set_num_threads(threads)
    try:
        train(packed, tmp_path / "other")
    finally:
        torch.set_num_threads(before)
    assert weights(tmp_path / "one") == weights(tmp_path / "other")


def test_two_processes_train_as_one(packed, tmp_path):
    command = [packed.uri, "--recipe", "sequences", *ARGUMENTS, "--missing", "mean"]
    ended = train_together(tmp_path, *[[*command, "--run", "two"]] * 2)
    assert [each.code for each in ended] == [0, 0], ended
    train(packed, tmp_path / "one")
    assert weights(tmp_path / "two") == weights(tmp_path / "one")
    assert metrics(tmp_path / "two") == metrics(tmp_path / "one")


@pytest.mark.parametrize("step", [4, 12, 27])
def test_a_run_that_is_stopped_in_an_epoch_resumes_with_the_same_bits(packed, tmp_path, step):
    train(packed, tmp_path / "whole")
    settings = SETTINGS | {"input.missing": "mean"}
    begun = TrainingRun.begin(packed.uri, "sequences", settings, run=tmp_path / "run", device="cpu")
    stop_at(begun, step)
    finish(TrainingRun.resume(run=tmp_path / "run", device="cpu"))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.campaign
def test_a_run_that_is_killed_in_an_epoch_resumes_with_the_same_bits(packed, tmp_path):
    command = [sys.executable, "-m", "scanline", "train"]
    process = subprocess.Popen(
        [*command, packed.uri, "--recipe", "sequences", *ARGUMENTS, "--missing", "mean", "--run", "run"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    log = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < end and not (log.exists() and log.stat().st_size):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, "--resume", "--run", "run"], cwd=tmp_path, check=True, capture_output=True)
    train(packed, tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_a_run_is_not_resumed_with_sequences_that_have_changed(tmp_path):
    folder = tmp_path / "set"
    splits = {"train": sequences(60, 1), "validation": sequences(20, 2)}
    location = write_packed(folder, splits, rows=10)
    begun = TrainingRun.begin(
        location.uri, "sequences", SETTINGS | {"input.missing": "mean"}, run=tmp_path / "run", device="cpu"
    )
    stop_at(begun, 3)
    for file in folder.iterdir():
        file.unlink()
    write_packed(folder, splits | {"train": sequences(60, 4)}, rows=10)
    with pytest.raises(DataError, match="is not the data that"):
        TrainingRun.resume(run=tmp_path / "run", device="cpu")


def test_a_damaged_row_group_ends_the_training_and_it_resumes_when_it_is_mended(packed, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for file in Path(packed.uri).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damaged = folder / "train-000007.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    settings = SETTINGS | {"input.missing": "mean"}
    training = TrainingRun.begin(str(folder), "sequences", settings, run=tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match=r"train-000007.parquet"):
        finish(training)
    damaged.write_bytes(content)
    finish(TrainingRun.resume(run=tmp_path / "run", device="cpu"))
    train(packed, tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_the_run_lists_no_sequences(packed, tmp_path):
    train(packed, tmp_path / "run")
    parts = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert parts["train"] == {"n": 150, "from": "ragged", "classes": {"a": 50, "b": 50, "c": 50}}


def test_the_test_split_of_the_packed_data_is_evaluated(packed, tmp_path):
    train(packed, tmp_path / "run")
    evaluation = evaluate_run(str(tmp_path / "run"), None)
    assert evaluation.data == packed.uri
    assert len(evaluation.source) == 40
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert evaluation.metrics.to_json()["correct"] == result["test"]["correct"]
    mistakes = evaluation.metrics.to_json()["mistakes"]
    assert all(str(each["sequence"]).startswith("recording ") for each in mistakes)


def test_settings_that_contradict_the_packed_data_are_refused(packed, tmp_path):
    with pytest.raises(UsageError, match=r"data.label_column must not be set"):
        train(packed, tmp_path / "run", **{"data.label_column": "other"})


def test_sequences_packed_without_splits_train_only_without_splits(tmp_path):
    location = write_packed(tmp_path / "set", {"all": sequences(60, 1)}, rows=10)
    with pytest.raises(DataError, match="packed without splits"):
        train(location, tmp_path / "run")
    none = {"split.validation": 0.0, "split.test": 0.0, "train.validate_every": 0, "train.patience": 0}
    train(location, tmp_path / "run", **none)
    assert (tmp_path / "run" / "model").is_dir()
