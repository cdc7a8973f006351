"""Training state on disk: `checkpoints/step-000780/`, whole or not at all, the newest two kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scanline.bundle import build, describe_tensors, load_tensors, save_tensors
from scanline.errors import ModelError
from scanline.files import read_json, whole_folder, write_json
from scanline.model.classifier import Architecture
from scanline.recipe import TrainSettings
from scanline.training.state import TrainState
from scanline.training.step import make_optimizer

KEPT = 2
_NUMBERS = ("step", "best_accuracy", "best_step", "misses")


def save(checkpoints: Path, state: TrainState, extra: dict[str, Any]) -> Path:
    """Write `state`, with the JSON values `extra`, as the newest checkpoint; older ones than two go.

    Returns the checkpoint's folder.
    """
    target = checkpoints / f"step-{state.step:06d}"
    model, optimizer = state.classifier.state_dict(), state.optimizer_tensors()
    with whole_folder(target) as new:
        save_tensors(model, new / "model.safetensors")
        save_tensors(optimizer, new / "optimizer.safetensors")
        numbers = {name: getattr(state, name) for name in _NUMBERS}
        tensors = {"model": describe_tensors(model), "optimizer": describe_tensors(optimizer)}
        write_json(new / "state.json", {"schema": 1, **numbers, "extra": extra, "tensors": tensors})
    for old in _all(checkpoints)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _all(checkpoints: Path) -> list[Path]:
    return sorted(checkpoints.glob("step-*"), key=lambda path: (len(path.name), path.name))


def newest(checkpoints: Path) -> Path | None:
    """The folder of the newest checkpoint, or None."""
    found = _all(checkpoints)
    return found[-1] if found else None


def load_newest(
    checkpoints: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> tuple[TrainState, dict[str, Any], list[str]]:
    """The newest whole checkpoint: its state, its `extra`, and a complaint for each damaged one passed over.

    Raises ModelError if none is whole.
    """
    complaints: list[str] = []
    for folder in reversed(_all(checkpoints)):
        try:
            state, extra = _load(folder, architecture, settings, device)
        except ModelError as error:
            complaints.append(str(error))
            continue
        return state, extra, complaints
    reasons = f": {'; '.join(complaints)}" if complaints else ""
    raise ModelError(f"{checkpoints.parent} has no whole checkpoint to go on from{reasons}")


def _load(
    folder: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> tuple[TrainState, dict[str, Any]]:
    described = read_json(folder / "state.json")
    model = load_tensors(folder / "model.safetensors")
    optimizer = load_tensors(folder / "optimizer.safetensors")
    if described.get("tensors") != {
        "model": describe_tensors(model),
        "optimizer": describe_tensors(optimizer),
    }:
        raise ModelError(f"checkpoint {folder} is damaged: its tensors are not the ones that were saved")
    classifier = build(architecture, model, folder / "model.safetensors").to(device)
    state = TrainState(classifier, make_optimizer(classifier, settings))
    on_device = {
        # Adam's step counter stays on the CPU, as torch itself keeps it.
        name: value if name.endswith("/step") else value.to(device)
        for name, value in optimizer.items()
    }
    state.load_optimizer_tensors(on_device)
    try:
        for name in _NUMBERS:
            setattr(state, name, described[name])
        return state, dict(described["extra"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"checkpoint {folder} is damaged: state.json lacks {error}") from error
