"""Resumed runs: equal to runs that were not interrupted, and longer than the recipe they began with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from scanline.api import train
from scanline.errors import Interrupted, ModelError, ScanlineError, UsageError
from scanline.training import checkpoint, interruption
from scanline.training.events import Evaluated, Logged, Stepped
from scanline.training.run import TrainingRun
from tests.training.runs import SHORT, finish, metrics, short, stop_at, weights


def end_at_once(training: TrainingRun, step: int, kind: type) -> Interrupted:
    """Send a signal at an event of that type, for which even an evaluation is abandoned."""

    def go() -> None:
        for event in training.events():
            if isinstance(event, kind) and event.step == step:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        go()
    return caught.value


@pytest.mark.parametrize("patience", [0, 9])
@pytest.mark.parametrize("test_every", [0, 5])
def test_an_evaluation_abandoned_for_a_signal_is_repeated(tmp_path, monkeypatch, patience, test_every):
    settings = {"train.log_every": 1, "train.patience": patience, "train.test_every": test_every}
    finish(short(tmp_path / "whole", **settings))
    monkeypatch.setattr(interruption, "GRACE_S", 0.0)
    stopped = end_at_once(short(tmp_path / "cut", **settings), 10, Logged)
    assert stopped.exit_code == 143
    state = json.loads((tmp_path / "cut" / "checkpoints" / "step-000010" / "state.json").read_text())
    assert state["unseen"] is True
    resumed = finish(TrainingRun.resume(run=tmp_path / "cut", device="cpu"))
    assert resumed.state.pending_evaluation is False
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_test_abandoned_after_a_validation_does_not_count_the_validation_twice(tmp_path, monkeypatch):
    settings = {"train.test_every": 5, "train.patience": 9, "train.learning_rate": 1.0}
    finish(short(tmp_path / "whole", **settings))
    monkeypatch.setattr(interruption, "GRACE_S", 0.0)
    end_at_once(short(tmp_path / "cut", **settings), 15, Evaluated)
    resumed = finish(TrainingRun.resume(run=tmp_path / "cut", device="cpu"))
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert (
        resumed.state.best.bad_evaluations
        == TrainingRun.resume(
            run=tmp_path / "cut", device="cpu", settings={"train.steps": 30}
        ).state.best.bad_evaluations
    )


def test_the_final_evaluation_is_abandoned_too_and_repeated_on_resume(tmp_path, monkeypatch):
    finish(short(tmp_path / "whole"))
    monkeypatch.setattr(interruption, "GRACE_S", 0.0)
    end_at_once(short(tmp_path / "cut"), 24, Stepped)
    assert "test" not in json.loads((tmp_path / "cut" / "result.json").read_text())
    finish(TrainingRun.resume(run=tmp_path / "cut", device="cpu"))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut" / "model" / "model.json").read_bytes() == (
        tmp_path / "whole" / "model" / "model.json"
    ).read_bytes()


def test_a_finished_run_resumed_with_more_steps_equals_a_longer_run(tmp_path):
    steady = {"train.schedule": "constant", "train.validate_every": 8}
    finish(short(tmp_path / "whole", **steady))
    finish(short(tmp_path / "longer", **steady, **{"train.steps": 16}))
    resumed = finish(TrainingRun.resume(run=tmp_path / "longer", device="cpu", settings={"train.steps": 24}))
    assert "16 steps become 24" in resumed.notes[-1]
    assert weights(tmp_path / "longer") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "longer") == metrics(tmp_path / "whole")
    assert "steps = 24" in (tmp_path / "longer" / "recipe.toml").read_text()
    assert resumed.result.training.steps == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 4}, r"train.batch_size \(\d+ there, 4 wanted\)"),
        (
            {"model.cell": "gru", "seed": 1},
            r"seed \(0 there, 1 wanted\), model.cell \(lstm there, gru wanted\)",
        ),
        ({"train.steps": 23}, "fewer steps: 24 there, 23 wanted"),
        ({"train.steps": 30, "train.clip_norm": 3.0}, "train.clip_norm"),
        ({"train.nonsense": 1}, "train.nonsense"),
    ],
    ids=str,
)
def test_nothing_but_more_steps_may_be_changed(tmp_path, changes, message):
    stop_at(short(tmp_path / "run"), 3)
    before = (tmp_path / "run" / "recipe.toml").read_bytes()
    with pytest.raises(UsageError, match=message):
        TrainingRun.resume(run=tmp_path / "run", device="cpu", settings=changes)
    with pytest.raises(UsageError, match=r"cannot be resumed with another recipe: .*train\.batch_size"):
        TrainingRun.resume(run=tmp_path / "run", device="cpu", recipe="tutorial-basic")
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == before
    train(resume=tmp_path / "run", settings={"train.steps": 24}, log=None)


def test_temporary_files_of_a_crash_are_removed(tmp_path):
    stop_at(short(tmp_path / "run"), 3)
    run = tmp_path / "run"
    (run / "checkpoints" / ".step-000009.abc.tmp").mkdir()
    (run / "checkpoints" / ".step-000009.abc.tmp" / "model.safetensors").write_bytes(b"part")
    (run / ".result.json.abc.tmp").write_text("part")
    old = run / ".model.old.abc.tmp"
    old.mkdir()
    os.replace(run / "model", old / "model")  # between two renames
    TrainingRun.resume(run=run, device="cpu").directory.unlock()
    assert [path.name for path in run.iterdir() if path.name.endswith(".tmp")] == []
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.endswith(".tmp")] == []
    assert (run / "model" / "model.json").is_file()


def test_checkpoints_are_due_by_time_too(tmp_path, monkeypatch):
    saved: list[int] = []
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (saved.append(given[1].step), real(*given))[1])
    settings = {"train.checkpoint_every": 1000, "train.validate_every": 0}
    finish(short(tmp_path / "often", **settings, **{"train.checkpoint_seconds": 1e-9}))
    assert saved == list(range(25))
    saved.clear()
    finish(short(tmp_path / "seldom", **settings, **{"train.checkpoint_seconds": 0.0}))
    assert saved == [0, 24]


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_the_reason(tmp_path, monkeypatch):
    training = short(tmp_path / "run")
    real = checkpoint.save

    def save(folder, packed, *rest):
        if packed.step >= 14:
            raise ScanlineError("cannot write it: No space left on device")
        return real(folder, packed, *rest)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(ScanlineError, match="No space left"):
        finish(training)
    monkeypatch.setattr(checkpoint, "save", real)
    finish(short(tmp_path / "whole"))
    finish(TrainingRun.resume(run=tmp_path / "run", device="cpu"))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.campaign
def test_the_lock_of_a_killed_process_is_released(tmp_path):
    run = tmp_path / "run"
    code = (
        "import sys; from scanline.training.run import TrainingRun\n"
        f"run = TrainingRun.begin('digits', None, {SHORT | {'train.steps': 10**6}!r}, {str(run)!r}, 'cpu')\n"
        "for event in run.events(): print('step', flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(UsageError, match="is being written by another process"):
        TrainingRun.resume(run=run, device="cpu")
    child.kill()
    child.communicate()
    assert (run / ".lock").exists()
    TrainingRun.resume(run=run, device="cpu").directory.unlock()


# SIGINT of the whole program is also tested in tests/cli.
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.campaign)])
def test_the_program_saves_and_ends_within_two_seconds_of_a_signal(tmp_path, number):
    run = tmp_path / "run"
    wide = ["--set", "train.steps=100000", "--set", "train.samples=0", "--set", "model.hidden_size=64"]
    child = subprocess.Popen(
        [sys.executable, "-m", "scanline", "train", "digits", "--run", str(run), *wide],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    child.send_signal(number)
    _, text = child.communicate(timeout=30)
    took = time.monotonic() - began
    assert child.returncode == 128 + number
    assert text.decode().strip().splitlines()[-1].startswith("scanline: stopped at step ")
    assert took < 10  # two seconds where nothing else runs
    state = json.loads(sorted((run / "checkpoints").iterdir())[-1].joinpath("state.json").read_text())
    assert state["step"] > 0


def test_a_changed_position_is_detected_by_the_seal(tmp_path):
    stop_at(short(tmp_path / "run"), 3)
    for path in (tmp_path / "run" / "checkpoints").glob("*/state.json"):
        path.write_text(path.read_text().replace('"metrics_bytes": ', '"metrics_bytes": 1'))
    with pytest.raises(ModelError, match="its content is not what was saved"):
        TrainingRun.resume(run=tmp_path / "run", device="cpu")


def test_the_state_of_the_optimizer_is_the_same_after_resuming(tmp_path):
    whole = finish(short(tmp_path / "whole"))
    stop_at(short(tmp_path / "cut"), 11)
    cut = finish(TrainingRun.resume(run=tmp_path / "cut", device="cpu"))
    one, two = whole.state.optimizer_tensors(), cut.state.optimizer_tensors()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert np.isfinite(cut.state.loss)


def cut_off(training: TrainingRun, step: int) -> None:
    """As a kill would, with no time to save anything."""
    events = training.events()
    for event in events:
        if isinstance(event, Stepped) and event.step == step:
            break
    events.close()


def test_an_extended_run_that_was_killed_can_be_resumed(tmp_path):
    steady = {"train.schedule": "constant", "train.validate_every": 8, "train.checkpoint_every": 3}
    finish(short(tmp_path / "whole", **steady))
    finish(short(tmp_path / "longer", **steady, **{"train.steps": 16}))
    cut_off(TrainingRun.resume(run=tmp_path / "longer", device="cpu", settings={"train.steps": 24}), 19)
    finish(TrainingRun.resume(run=tmp_path / "longer", device="cpu"))
    assert weights(tmp_path / "longer") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "longer") == metrics(tmp_path / "whole")
    with pytest.raises(UsageError, match="has finished: nothing is left to do"):
        TrainingRun.resume(run=tmp_path / "longer", device="cpu")


def test_epochs_count_as_the_steps_that_they_are(tmp_path):
    begun = short(tmp_path / "run", **{"train.steps": 1000, "train.epochs": 1})
    steps = begun.recipe.train.total_steps
    assert steps < 1000
    stop_at(begun, 3)
    before = (tmp_path / "run" / "recipe.toml").read_bytes()
    for settings, message in (
        ({"train.steps": steps + 50, "train.epochs": 1}, None),
        ({"train.epochs": 1}, None),
        ({"train.steps": steps - 1, "train.epochs": 1}, "fewer steps"),
    ):
        if message:
            with pytest.raises(UsageError, match=message):
                TrainingRun.resume(run=tmp_path / "run", device="cpu", settings=settings)
            continue
        resumed = TrainingRun.resume(run=tmp_path / "run", device="cpu", settings=settings)
        assert resumed.recipe.train.total_steps == steps
        resumed.directory.unlock()
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == before
    longer = TrainingRun.resume(
        run=tmp_path / "run", device="cpu", settings={"train.epochs": 2, "train.steps": 9999}
    )
    assert longer.recipe.train.total_steps in (2 * steps - 1, 2 * steps)
    assert longer.recipe.train.epochs == 0


def test_events_can_be_iterated_once(tmp_path):
    training = short(tmp_path / "run")
    cut_off(training, 3)
    with pytest.raises(UsageError, match="was trained by an earlier call: resume the run"):
        next(training.events())


def test_a_copied_checkpoint_folder_is_not_a_checkpoint(tmp_path):
    stop_at(short(tmp_path / "run", **{"train.checkpoint_every": 2, "train.validate_every": 0}), 7)
    checkpoints = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpoints / "step-000006", checkpoints / "step-000006-good")
    shutil.copytree(checkpoints / "step-000006", checkpoints / "step-000020")
    resumed = TrainingRun.resume(run=tmp_path / "run", device="cpu")
    assert resumed.state.step == 7
    assert "step-000020 is skipped" in resumed.notes[0]
    assert "got 6" in resumed.notes[0]
    finish(resumed)
    result = sorted(path.name for path in checkpoints.iterdir())
    assert "step-000024" in result
    assert "step-000006-good" in result


@pytest.mark.parametrize("name", ["environment.json", "checkpoints"])
def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, name):
    run = tmp_path / "run"
    finish(short(tmp_path / "whole"))
    stop_at(short(run), 1)
    for path in run.iterdir():  # as if it had been killed when `name` was about to be made
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (".lock", "recipe.toml", *(["log.txt"] if name == "checkpoints" else [])):
            path.unlink()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / ".step-000000.x.tmp").mkdir()
    (run / ".environment.json.x.tmp").write_text("{")
    finish(short(run))
    assert weights(run) == weights(tmp_path / "whole")
    with pytest.raises(UsageError, match="exists already"):
        short(run)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.toml").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        short(tmp_path / "mine")


def test_a_second_process_leaves_a_new_run_alone(tmp_path):
    first = short(tmp_path / "run")
    for path in (
        first.directory.checkpoints,
        first.directory.metrics,
    ):  # as it is before the first checkpoint
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match="is being written by another process"):
        short(tmp_path / "run")
    assert first.directory.recipe.is_file()
    first.directory.unlock()


def test_a_linked_copy_of_a_run_keeps_its_lines(tmp_path):
    stop_at(short(tmp_path / "run"), 12)
    lines = tmp_path / "metrics.jsonl"
    os.link(tmp_path / "run" / "metrics.jsonl", lines)
    before = lines.read_bytes()
    finish(TrainingRun.resume(run=tmp_path / "run", device="cpu"))
    assert lines.read_bytes() == before
