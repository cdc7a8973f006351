"""The dictionaries that `scanline.train(on_event=...)` passes on."""

from __future__ import annotations

import json

import pytest

from scanline.api import train
from scanline.errors import UsageError
from scanline.training.run import TrainingRun
from tests.training.runs import SHORT, finish, weights


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """All events of a run, and its directory."""
    run, events = tmp_path_factory.mktemp("events") / "run", []
    train("digits", settings=SHORT, run=run, device="cpu", log=None, on_event=events.append)
    return run, events


def test_the_first_event_has_the_run_and_the_recipe(events):
    run, (first, *_) = events
    assert {key: first[key] for key in ("event", "run", "step")} == {
        "event": "start",
        "run": str(run),
        "step": 0,
    }
    assert first["recipe"]["train"]["steps"] == 24
    assert first["recipe"]["model"]["hidden_size"] == 8


def test_the_last_event_has_the_result(events):
    run, all_events = events
    last = all_events[-1]
    assert (last["event"], last["step"], last["run"]) == ("end", 24, str(run))
    assert last["result"] == json.loads((run / "result.json").read_text())


def test_events_have_what_metrics_jsonl_has(events):
    run, all_events = events
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
        line["event"] = {"logged": "logged", "judged": "evaluated"}[line["event"]]
        if "part" in line:
            line["split"] = line.pop("part")
    assert [event for event in all_events if event["event"] in ("logged", "evaluated")] == lines


def test_every_step_is_an_event(events):
    _, all_events = events
    steps = [event for event in all_events if event["event"] == "stepped"]
    assert [event["step"] for event in steps] == list(range(1, 25))
    assert set(steps[0]) == {"event", "step", "samples", "loss"}


def test_all_events_are_plain_json(events):
    _, all_events = events
    assert json.loads(json.dumps(all_events)) == all_events


def test_an_exception_ends_the_training_which_can_be_resumed(tmp_path, events):
    def fail(event: dict) -> None:
        if event["step"] == 16:
            raise ConnectionError("the service is gone")

    with pytest.raises(ConnectionError, match="the service is gone"):
        train("digits", settings=SHORT, run=tmp_path / "run", device="cpu", log=None, on_event=fail)
    finish(TrainingRun.resume(run=tmp_path / "run", device="cpu"))
    assert weights(tmp_path / "run") == weights(events[0])


def test_events_of_other_processes_are_refused():
    with pytest.raises(UsageError, match="on_event requires processes=1"):
        train("digits", processes=2, settings={"train.slices": 2}, on_event=print, log=None)
