"""The JSON files of a run: written as they always were, read with all that can be wrong in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scanline.errors import ModelError
from scanline.storage.json_files import read_sealed_json
from scanline.tasks import Score
from scanline.training.checkpoint_state import CheckpointState
from scanline.training.events import Evaluated, Logged
from scanline.training.records import parse, read
from scanline.training.run_files import (
    Environment,
    EvaluatedLine,
    Result,
    SplitFile,
    metrics_line,
    read_metrics,
)

BEFORE = Path(__file__).parents[1] / "files" / "before"
LINE = {"event": "logged", "step": 3, "loss": 0.25, "accuracy": 0.5}


@pytest.mark.parametrize("run", ["lstm-rows", "gru-stopped", "rnn-weighted"])
@pytest.mark.parametrize(
    ("name", "schema"),
    [("environment.json", Environment), ("split.json", SplitFile), ("result.json", Result)],
)
def test_a_file_that_is_read_and_written_again_stays_the_same(run, name, schema):
    path = BEFORE / run / "run" / name
    tree = read(schema, path).to_json()
    assert json.dumps(tree) == json.dumps(json.loads(path.read_text()))


def test_the_state_of_a_checkpoint_that_is_read_and_written_again_stays_the_same():
    path = BEFORE / "gru-stopped" / "run" / "checkpoints" / "step-000023" / "state.json"
    tree = read_sealed_json(path)
    saved = parse(CheckpointState, tree, path)
    assert (saved.step, saved.pending_evaluation, saved.bad_evaluations) == (23, False, 1)
    assert json.dumps(saved.model_dump(by_alias=True)) == json.dumps(tree)


def test_keys_of_another_version_are_kept():
    tree = {"schema": 1, "parts": {"train": {"n": 3, "from": "x", "new": [1]}}, "more": {"a": None}}
    assert parse(SplitFile, tree, Path("split.json")).to_json() == tree


@pytest.mark.parametrize(
    ("schema", "tree", "place"),
    [
        (SplitFile, {"schema": 2, "parts": {}}, "schema: Input should be 1"),
        (SplitFile, {"parts": {"train": {"n": -1}}}, "parts.train.n: "),
        (SplitFile, {"parts": {"train": {"n": True}}}, "parts.train.n: "),
        (Result, {"training": {"status": "finished"}}, "training.samples_seen: Field required"),
        (Environment, {"packages": {"torch": 2}}, "packages.torch: "),
        (Environment, {"cores": float("nan")}, "cores: "),
        (Environment, {"more": float("nan")}, "expected plain JSON"),
        (Environment, {"python": "\ud800"}, "expected plain JSON"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_file_and_place(schema, tree, place):
    with pytest.raises(ModelError) as caught:
        parse(schema, tree, Path("folder/it.json"))
    assert f"folder/it.json is damaged: {place}" in str(caught.value)


def test_events_become_lines_with_the_keys_that_they_always_had():
    logged = json.loads(metrics_line(Logged(3, 48, Score(0.25, 0.5, 16), 0.001), 1.23456))
    assert list(logged) == ["event", "step", "samples", "loss", "accuracy", "learning_rate", "seconds"]
    assert (logged["event"], logged["seconds"]) == ("logged", 1.235)
    evaluated = json.loads(metrics_line(Evaluated(8, 128, "validation", Score(0.8, 0.6, 5, 3), True), 2.0))
    assert list(evaluated) == [
        "event", "step", "samples", "part", "loss", "accuracy", "correct", "total", "best", "seconds",
    ]  # fmt: skip
    assert (evaluated["event"], evaluated["part"]) == ("judged", "validation")


def test_lines_are_read_as_they_were_written():
    path = BEFORE / "gru-stopped" / "run" / "metrics.jsonl"
    lines = read_metrics(path)
    assert [json.dumps(line.to_json()) for line in lines] == path.read_text().splitlines()
    assert [line.step for line in lines if isinstance(line, EvaluatedLine)] == [8, 16]


def test_lines_that_are_not_valid_are_skipped(tmp_path):
    wrong = [("accuracy", 1e308), ("accuracy", -1), ("loss", float("nan")), ("loss", 1e300), ("loss", True)]
    wrong += [("step", 10**400), ("step", -1), ("step", None), ("event", 3), ("learning_rate", None)]
    lines = [LINE, *(LINE | {key: value} for key, value in wrong), LINE]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "lo')
    assert [line.to_json() for line in read_metrics(path)] == [LINE, LINE]
    assert read_metrics(tmp_path / "none") == []
