"""Checkpoints: whole or passed over, the newest two kept."""

from __future__ import annotations

import pytest
import torch

from scanline import recipe
from scanline.errors import ModelError
from scanline.files import read_sealed_json, write_sealed_json
from scanline.model.classifier import Architecture
from scanline.run import checkpoint
from scanline.run.checkpoint import Position
from scanline.training.state import TrainState, start

ARCHITECTURE = Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2)
PLAN = recipe.load("rows")
POSITION = Position(metrics_bytes=10, log_bytes=20, seconds=1.5)


def state(step: int) -> TrainState:
    """After one real step of Adam, so that the optimiser has something to keep."""
    made = start(PLAN, ARCHITECTURE, 0.0, 1.0, "cpu")
    made.classifier(torch.randn(2, 3, 3)).sum().backward()
    made.optimizer.step()
    made.step, made.best_accuracy, made.best_step, made.misses = step, 0.5, 3, 2
    return made


def load(folder):
    return checkpoint.load_newest(folder, ARCHITECTURE, PLAN.train, "cpu")


def test_a_state_comes_back_as_it_was(tmp_path):
    saved = state(7)
    saved.best_weights = {name: value.clone() + 1 for name, value in saved.classifier.state_dict().items()}
    checkpoint.save(tmp_path, checkpoint.pack(saved, POSITION))
    found, position, damaged, complaints = load(tmp_path)
    assert (position, damaged, complaints) == (POSITION, [], [])
    assert (found.step, found.best_accuracy, found.best_step, found.misses) == (7, 0.5, 3, 2)
    for name, value in saved.classifier.state_dict().items():
        assert torch.equal(found.classifier.state_dict()[name], value)
        assert torch.equal(found.best_weights[name], value + 1)
    before, after = saved.optimizer_tensors(), found.optimizer_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_the_two_newest_stay(tmp_path):
    for step in (5, 1_000_000, 20):
        checkpoint.save(tmp_path, checkpoint.pack(state(step), POSITION))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000020", "step-1000000"]
    assert load(tmp_path)[0].step == 1_000_000


def test_damaged_ones_are_named_and_passed_over(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, checkpoint.pack(state(step), POSITION))
    (tmp_path / "step-000002" / "optimizer.safetensors").unlink()
    found, _, damaged, complaints = load(tmp_path)
    assert found.step == 1
    assert damaged == [tmp_path / "step-000002"]
    assert "step-000002 is passed over: " in complaints[0]
    assert "optimizer.safetensors is missing" in complaints[0]


@pytest.mark.parametrize(
    "edit",
    [
        {"step": "5"},
        {"step": -3},
        {"schema": 99},
        {"best_accuracy": None},
        {"position": "x"},
        {"position": {"metrics_bytes": -5, "log_bytes": 0, "seconds": 0.0}},
        {"files": {}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_state_that_makes_no_sense_is_refused(tmp_path, edit):
    checkpoint.save(tmp_path, checkpoint.pack(state(1), POSITION))
    path = tmp_path / "step-000001" / "state.json"
    write_sealed_json(path, read_sealed_json(path) | edit)
    with pytest.raises(ModelError, match=r"no whole checkpoint .*damaged.*start anew with `scanline train"):
        load(tmp_path)


def test_a_changed_state_is_noticed(tmp_path):
    checkpoint.save(tmp_path, checkpoint.pack(state(1), POSITION))
    path = tmp_path / "step-000001" / "state.json"
    path.write_text(path.read_text().replace('"misses": 2', '"misses": 1'))
    with pytest.raises(ModelError, match="its content is not what was saved"):
        load(tmp_path)


def test_the_state_of_another_network_is_refused(tmp_path):
    checkpoint.save(tmp_path, checkpoint.pack(state(1), POSITION))
    other = Architecture("gru", 3, 5, 1, False, 0.0, "between", "last", 2)
    with pytest.raises(ModelError, match="does not fit its architecture"):
        checkpoint.load_newest(tmp_path, other, PLAN.train, "cpu")
