"""Which lines of metrics.jsonl may be published, and as which points."""

from __future__ import annotations

import json
import shutil

import pytest

from scanline.tracking.sealed import Point, final_points, read_sealed
from scanline.training.events import Stepped
from scanline.training.run_files import Result
from tests.training.runs import finish, short


def test_a_line_becomes_a_point_for_each_of_its_numbers(run):
    lines = [
        {"event": "logged", "step": 5, "samples": 160, "loss": 0.5, "accuracy": 0.25, "learning_rate": 0.1,
         "seconds": 1.2345},
        {"event": "judged", "step": 5, "samples": 160, "part": "validation", "loss": 0.75, "f1": 0.5,
         "score": "f1", "total": 9, "best": True, "seconds": 2.0},
    ]  # fmt: skip
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_sealed(run).points() == [
        Point("train/samples", 160.0, 5, 1234),
        Point("train/loss", 0.5, 5, 1234),
        Point("train/accuracy", 0.25, 5, 1234),
        Point("train/learning_rate", 0.1, 5, 1234),
        Point("train/seconds", 1.2345, 5, 1234),
        Point("validation/samples", 160.0, 5, 2000),
        Point("validation/loss", 0.75, 5, 2000),
        Point("validation/total", 9.0, 5, 2000),
        Point("validation/best", 1.0, 5, 2000),
        Point("validation/seconds", 2.0, 5, 2000),
        Point("validation/f1", 0.5, 5, 2000),
    ]


def test_lines_after_the_newest_checkpoint_are_not_published(tmp_path):
    training = short(tmp_path / "run")
    for event in training.events():
        if isinstance(event, Stepped) and event.step == 18:
            break  # as if killed: the newest checkpoint is that of step 14 or 15
    training.close()
    sealed = read_sealed(tmp_path / "run")
    steps = {point.step for point in sealed.points()}
    assert (sealed.step, max(steps)) in ((14, 12), (15, 15))
    assert '"step": 18' in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert sealed.result is None


def test_a_checkpoint_that_is_not_whole_seals_nothing(run):
    *_, older, newest = sorted((run / "checkpoints").glob("step-*"))
    step = int(older.name.removeprefix("step-"))
    (newest / "state.json").write_bytes((older / "state.json").read_bytes())  # whole, but of another step
    assert read_sealed(run).step == step
    (newest / "state.json").write_text("{}")
    sealed = read_sealed(run)
    assert (sealed.step, sealed.result) == (step, None)
    assert max(point.step for point in sealed.points()) == step


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(run, monkeypatch):
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    state = (newest / "state.json").read_bytes()
    (newest / "state.json").write_text("half")
    monkeypatch.setattr("time.sleep", lambda seconds: (newest / "state.json").write_bytes(state))
    assert read_sealed(run).step == 624


def test_the_result_of_a_former_end_is_not_that_of_a_resumed_run(tmp_path):
    from scanline.training.run import TrainingRun

    finish(short(tmp_path / "run"))
    assert read_sealed(tmp_path / "run").result.training.steps == 24
    resumed = TrainingRun.resume(run=tmp_path / "run", settings={"train.steps": 36}, device="cpu")
    for event in resumed.events():
        if isinstance(event, Stepped) and event.step == 30:
            break
    resumed.close()
    sealed = read_sealed(tmp_path / "run")
    assert sealed.step in (28, 30)
    assert sealed.result is None


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_without_checkpoints_only_an_ended_run_is_final(run, status):
    shutil.rmtree(run / "checkpoints")
    result = json.loads((run / "result.json").read_text())
    result["training"]["status"] = status
    (run / "result.json").write_text(json.dumps(result))
    sealed = read_sealed(run)
    whole = (run / "metrics.jsonl").read_bytes()
    assert sealed.content == (whole if status == "finished" else b"")


def test_a_result_becomes_points_at_the_last_step():
    training = {
        "status": "finished", "samples_seen": 20, "steps": 10, "seconds": 2.5, "samples_per_s": 8.0,
        "backend": "native", "precision": "float32", "device": "cpu",
    }  # fmt: skip
    test = {"n": 4, "correct": 3, "accuracy": 0.75, "ci95": [0.25, 0.875], "loss": 0.5, "classes": [{"n": 4}]}
    result = Result.model_validate({"schema": 1, "test": test, "validation": None, "training": training})
    assert final_points(result) == [
        Point("final/test/n", 4.0, 10, 2500),
        Point("final/test/correct", 3.0, 10, 2500),
        Point("final/test/accuracy", 0.75, 10, 2500),
        Point("final/test/loss", 0.5, 10, 2500),
        Point("final/test/ci95_low", 0.25, 10, 2500),
        Point("final/test/ci95_high", 0.875, 10, 2500),
        Point("final/samples_per_s", 8.0, 10, 2500),
        Point("final/seconds", 2.5, 10, 2500),
    ]
