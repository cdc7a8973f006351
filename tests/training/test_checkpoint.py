"""Checkpoints: whole or passed over, the newest two kept."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from scanline import recipe
from scanline.errors import ModelError
from scanline.model.network import Architecture
from scanline.storage.json_files import read_sealed_json, write_sealed_json
from scanline.training import checkpoint
from scanline.training.checkpoint_state import Position
from scanline.training.state import BestValidation, TrainState, initial_state

ARCHITECTURE = Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2)
PLAN = recipe.load("rows")
POSITION = Position(metrics_bytes=10, log_bytes=20, seconds=1.5)


def state(step: int) -> TrainState:
    """After one real step of Adam, so that the optimiser has something to keep."""
    initial = initial_state(PLAN, ARCHITECTURE, 0.0, 1.0, "cpu")
    initial.network(torch.randn(2, 3, 3)).sum().backward()
    initial.optimizer.step()
    initial.step, initial.best = step, BestValidation(0.5, 3, 2)
    return initial


def load(folder):
    return checkpoint.load_newest(folder, ARCHITECTURE, PLAN.train, "cpu")


def test_a_saved_state_is_loaded_unchanged(tmp_path):
    saved = state(7)
    weights = {name: value.clone() + 1 for name, value in saved.network.state_dict().items()}
    saved.best = BestValidation(0.5, 3, 2, weights)
    checkpoint.save(tmp_path, checkpoint.snapshot(saved, POSITION))
    loaded = load(tmp_path)
    result = loaded.state
    assert (loaded.position, loaded.damaged, loaded.notes) == (POSITION, [], [])
    assert (result.step, result.best.accuracy, result.best.step, result.best.bad_evaluations) == (
        7,
        0.5,
        3,
        2,
    )
    for name, value in saved.network.state_dict().items():
        assert torch.equal(result.network.state_dict()[name], value)
        assert torch.equal(result.best.weights[name], value + 1)
    before, after = saved.optimizer_tensors(), result.optimizer_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_the_two_newest_are_kept(tmp_path):
    for step in (5, 1_000_000, 20):
        checkpoint.save(tmp_path, checkpoint.snapshot(state(step), POSITION))
    assert names(tmp_path) == ["step-000020", "step-1000000"]
    assert load(tmp_path).state.step == 1_000_000


def names(folder):
    return sorted(path.name for path in folder.glob("step-*"))


def files_of(folder):
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def test_the_files_of_a_retired_checkpoint_are_reused(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, checkpoint.snapshot(state(step), POSITION))
    spare = files_of(tmp_path / ".spare.tmp")
    changed = state(1_000_004)  # its description is longer
    checkpoint.save(tmp_path, checkpoint.snapshot(changed, POSITION))
    assert files_of(tmp_path / "step-1000004") == spare
    shorter = state(5)
    shorter.loss = 0.5
    checkpoint.save(tmp_path, checkpoint.snapshot(shorter, POSITION), keep=3)
    result = load(tmp_path).state
    assert result.step == 1_000_004
    for name, value in changed.network.state_dict().items():
        assert torch.equal(result.network.state_dict()[name], value)
    shutil.rmtree(tmp_path / "step-1000004")
    assert load(tmp_path).state.loss == 0.5


def hard_link(spare, saved):
    os.link(spare / "model.safetensors", saved)


def symbolic_link(spare, saved):
    (spare / "model.safetensors").rename(saved)
    (spare / "model.safetensors").symlink_to(saved)


def write_protected(spare, saved):
    (spare / "model.safetensors").chmod(0o400)
    shutil.copy(spare / "model.safetensors", saved)


def more(spare, saved):
    (spare / "more").write_bytes(b"")
    shutil.copy(spare / "model.safetensors", saved)


def fewer(spare, saved):
    (spare / "model.safetensors").rename(saved)


def link_to_a_folder(spare, saved):
    shutil.copy(spare / "model.safetensors", saved)
    spare.rename(spare.parent.parent / "elsewhere")
    spare.symlink_to(spare.parent.parent / "elsewhere")


@pytest.mark.parametrize("change", [hard_link, symbolic_link, write_protected, more, fewer, link_to_a_folder])
def test_linked_or_unrelated_files_are_never_overwritten(tmp_path, change):
    checkpoints, saved = tmp_path / "checkpoints", tmp_path / "kept"
    for step in (1, 2, 3):
        checkpoint.save(checkpoints, checkpoint.snapshot(state(step), POSITION))
    change(checkpoints / ".spare.tmp", saved)
    before = saved.read_bytes()
    checkpoint.save(checkpoints, checkpoint.snapshot(state(4), POSITION))
    assert saved.read_bytes() == before
    assert names(checkpoints) == ["step-000003", "step-000004"]
    assert load(checkpoints).state.step == 4
    assert not (checkpoints / "step-000004").is_symlink()
    assert sorted(files_of(checkpoints / "step-000004")) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]


def test_damaged_checkpoints_are_named_and_skipped(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, checkpoint.snapshot(state(step), POSITION))
    (tmp_path / "step-000002" / "optimizer.safetensors").unlink()
    loaded = load(tmp_path)
    assert loaded.state.step == 1
    assert loaded.damaged == [tmp_path / "step-000002"]
    assert "step-000002 is skipped: " in loaded.notes[0]
    assert "optimizer.safetensors is missing" in loaded.notes[0]


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
def test_an_invalid_state_is_refused(tmp_path, edit):
    checkpoint.save(tmp_path, checkpoint.snapshot(state(1), POSITION))
    path = tmp_path / "step-000001" / "state.json"
    write_sealed_json(path, read_sealed_json(path) | edit)
    with pytest.raises(
        ModelError, match=r"no valid checkpoint .*damaged.*start a new run with `scanline train"
    ):
        load(tmp_path)


def test_a_changed_state_is_detected(tmp_path):
    checkpoint.save(tmp_path, checkpoint.snapshot(state(1), POSITION))
    path = tmp_path / "step-000001" / "state.json"
    path.write_text(path.read_text().replace('"misses": 2', '"misses": 1'))
    with pytest.raises(ModelError, match="its content is not what was saved"):
        load(tmp_path)


def test_the_state_of_another_network_is_refused(tmp_path):
    checkpoint.save(tmp_path, checkpoint.snapshot(state(1), POSITION))
    other = Architecture("gru", 3, 5, 1, False, 0.0, "between", "last", 2)
    with pytest.raises(ModelError, match="does not fit its architecture"):
        checkpoint.load_newest(tmp_path, other, PLAN.train, "cpu")
