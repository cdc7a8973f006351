"""Interrupted, killed and damaged runs on scikit-learn's digits, their checkpoints, and resuming them."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest

import scanline
from scanline.api import train
from scanline.errors import DataError, ModelError, UsageError
from scanline.training import checkpoint
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun
from tests.training.runs import SHORT, finish, metrics, short, stop_at, weights


@pytest.mark.parametrize("step", [1, 5, 7, 13, 15])
def test_an_interrupted_and_resumed_run_ends_like_one_that_was_not(tmp_path, step):
    finish(short(tmp_path / "whole"))
    stop_at(short(tmp_path / "cut"), step)
    finish(TrainingRun.resume(run=tmp_path / "cut", device="cpu"))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_killed_run_is_resumed_from_its_checkpoint(tmp_path):
    finish(short(tmp_path / "whole"))
    training = short(tmp_path / "killed")
    for event in training.events():
        if isinstance(event, Stepped) and event.step == 17:
            break  # as if killed: nothing more is written; the newest checkpoint is that of step 14
    training.directory.unlock()
    training.directory.append_log("a line of a step that will be made again")
    finish(TrainingRun.resume(run=tmp_path / "killed", device="cpu"))
    assert (tmp_path / "killed" / "log.txt").read_text() == (tmp_path / "whole" / "log.txt").read_text()
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_usable_and_names_the_command_that_resumes_it(tmp_path, number, code):
    stopped = stop_at(short(tmp_path / "run"), 4, number)
    assert stopped.exit_code == code
    assert "stopped at step 4 of 24" in str(stopped)
    assert f"`scanline train --resume --run {tmp_path / 'run'}`" in str(stopped)
    model = scanline.load(tmp_path / "run")
    assert model.predict(np.zeros((8, 8), np.uint8)).shape == (1,)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training"]["status"] == "interrupted"
    assert "test" not in result  # the test part is read once, at the end
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_is_used(tmp_path):
    finish(short(tmp_path / "whole"))
    stop_at(short(tmp_path / "cut"), 15)
    path = tmp_path / "cut" / "checkpoints" / "step-000015" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    resumed = TrainingRun.resume(run=tmp_path / "cut", device="cpu")
    assert "step-000015" in resumed.notes[0]
    assert resumed.state.step == 14
    finish(resumed)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_without_a_valid_checkpoint_there_is_nothing_to_resume(tmp_path):
    stop_at(short(tmp_path / "run"), 3)
    for path in (tmp_path / "run" / "checkpoints").glob("*/state.json"):
        path.write_text("{}")
    with pytest.raises(ModelError, match=r"has no valid checkpoint to resume from .*step-000003"):
        TrainingRun.resume(run=tmp_path / "run")


def test_a_finished_run_is_not_resumed(tmp_path):
    finish(short(tmp_path / "run"))
    with pytest.raises(UsageError, match="has finished: nothing is left to do"):
        TrainingRun.resume(run=tmp_path / "run")


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path):
    with pytest.raises(ModelError, match="is not a run directory: it has no recipe"):
        TrainingRun.resume(run=tmp_path)


def test_other_data_under_the_same_name_is_refused_on_resume(tmp_path):
    stop_at(short(tmp_path / "run"), 3)
    path = tmp_path / "run" / "environment.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0', 1))
    with pytest.raises(DataError, match=r"is not the data that .* was trained on"):
        TrainingRun.resume(run=tmp_path / "run")


@pytest.mark.parametrize(
    ("keep", "wanted"), [(1, {12, 24}), (2, {12, 21, 24}), (4, {12, 15, 18, 21, 24})], ids=str
)
def test_the_newest_checkpoints_and_the_best_are_kept(tmp_path, keep, wanted):
    settings = {"train.validate_every": 12, "train.checkpoint_every": 3, "train.learning_rate": 0.2}
    training = finish(short(tmp_path / "run", seed=2, **settings, **{"train.keep_checkpoints": keep}))
    assert training.state.best.step == 12
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {f"step-{step:06d}" for step in wanted}


def test_resume_names_the_run_directory(tmp_path):
    with pytest.raises(UsageError, match="run must be None"):
        train(run=tmp_path, resume=tmp_path)


def test_a_resumed_run_may_name_its_own_data_again(tmp_path):
    train("digits", settings=SHORT, run=tmp_path / "run", log=None)
    longer = train("digits", settings={"train.steps": 26}, resume=tmp_path / "run", log=None)
    assert longer.result["training"]["steps"] == 26
    with pytest.raises(UsageError, match=r"cannot be resumed with other data: .* digits, got mnist"):
        train("mnist", resume=tmp_path / "run")


def test_a_signal_at_the_last_step_does_not_stop_the_run(tmp_path):
    training = short(tmp_path / "run")
    for event in training.events():
        if isinstance(event, Stepped) and event.step == 24:
            os.kill(os.getpid(), signal.SIGINT)
    assert training.result.training.status == "finished"
    assert training.result.test.n == 360


def test_a_run_killed_after_its_last_step_is_finished_by_resuming(tmp_path):
    finish(short(tmp_path / "whole"))
    finish(short(tmp_path / "killed"))
    (tmp_path / "killed" / "result.json").unlink()
    shutil.rmtree(tmp_path / "killed" / "model")
    resumed = finish(TrainingRun.resume(run=tmp_path / "killed", device="cpu"))
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert resumed.result.test.n == 360


def test_damaged_checkpoints_do_not_displace_valid_ones(tmp_path):
    stop_at(short(tmp_path / "run"), 10)
    checkpoints = tmp_path / "run" / "checkpoints"
    for step in ("000900", "000901"):
        (checkpoints / f"step-{step}").mkdir()
    stop_at(TrainingRun.resume(run=tmp_path / "run", device="cpu"), 15)
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-000014", "step-000015"]


def test_resuming_notes_that_the_threads_have_changed(tmp_path):
    stop_at(short(tmp_path / "run"), 3)
    path = tmp_path / "run" / "environment.json"
    environment = json.loads(path.read_text())
    path.write_text(json.dumps(environment | {"threads": environment["threads"] + 1}))
    resumed = TrainingRun.resume(run=tmp_path / "run", device="cpu")
    resumed.directory.unlock()
    assert resumed.notes[0].startswith(
        "since this run began these have changed: threads; the weights may differ"
    )


def test_a_step_is_saved_once_even_if_it_is_due_and_the_last(tmp_path, monkeypatch):
    saved: list[int] = []
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (saved.append(given[1].step), real(*given))[1])
    finish(short(tmp_path / "run", **{"train.checkpoint_every": 8, "train.validate_every": 0}))
    assert saved == [0, 8, 16, 24]
