"""Checkpoints: the training state as a folder `checkpoints/step-000780/` that a run can be resumed from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanline.errors import ModelError
from scanline.model.model_files import build, load_tensors
from scanline.model.network import Architecture
from scanline.recipe import TrainSettings
from scanline.storage.digest import sha256
from scanline.storage.json_files import read_sealed_json, sealed_json
from scanline.storage.tensors import pack_tensors
from scanline.training.checkpoint_folders import checkpoint_folders, folder_name, retire, write_folder
from scanline.training.checkpoint_state import CheckpointState, Position
from scanline.training.records import parse
from scanline.training.state import BestValidation, TrainState
from scanline.training.step import choose_computation, make_optimizer

WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"
STATE: Final = "state.json"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A copy of a training state, independent of further steps.

    Attributes:
        tensors: Bytes of the tensor files, by name.
        state: Content of `state.json`, but for the digests of the tensor files.
    """

    tensors: dict[str, bytes]
    state: CheckpointState

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of each file of the checkpoint, by name."""
        files = {name: sha256(content) for name, content in self.tensors.items()}
        tree = self.state.model_copy(update={"files": files}).model_dump(by_alias=True)
        return {**self.tensors, STATE: sealed_json(tree).encode()}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint that was read.

    Attributes:
        state: The training state.
        position: Where the run's own files stood.
        damaged: Newer checkpoints that are damaged.
        notes: Why each of them was skipped, for the user.
    """

    state: TrainState
    position: Position
    damaged: list[Path]
    notes: list[str]


def snapshot(state: TrainState, position: Position) -> Snapshot:
    """Copy the training state."""
    tensors = {
        WEIGHTS: pack_tensors(state.network.state_dict()),
        OPTIMIZER: pack_tensors(state.optimizer_tensors()),
    }
    saved = CheckpointState(
        schema=2,
        step=state.step,
        unseen=state.pending_evaluation,
        loss=state.loss,
        best_accuracy=state.best.accuracy,
        best_step=state.best.step,
        misses=state.best.bad_evaluations,
        position=position,
        files={},
    )
    return Snapshot(tensors, saved)


def save(checkpoints: Path, taken: Snapshot, keep: int = 2) -> Path:
    """Write a checkpoint and remove old ones.

    Args:
        checkpoints: The folder of all checkpoints.
        taken: The state to write.
        keep: Number of checkpoints kept, this one included; that of the best validation is kept besides.

    Returns:
        The checkpoint's folder.

    Raises:
        ScanlineError: If it cannot be written; the others are then untouched.
    """
    target = checkpoints / folder_name(taken.step)
    write_folder(target, taken.contents())
    best = folder_name(taken.state.best_step)
    # Only once the new checkpoint is on the disk: at every moment there is a valid one.
    for old in checkpoint_folders(checkpoints)[:-keep]:
        if old.name != best:
            retire(old)
    return target


def load_newest(
    checkpoints: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> Loaded:
    """Load the newest valid checkpoint.

    Args:
        checkpoints: The folder of all checkpoints.
        architecture: The network that the checkpoint must fit.
        settings: Backend, precision and optimizer.
        device: "cpu" or "cuda".

    Raises:
        ModelError: If there is no valid checkpoint; names each with its fault.
    """
    damaged: list[Path] = []
    notes: list[str] = []
    # Newest first: what follows the newest valid checkpoint is trained again, to the same bits.
    for folder in reversed(checkpoint_folders(checkpoints)):
        try:
            state, position = _load(folder, architecture, settings, device)
        except ModelError as error:
            damaged.append(folder)
            notes.append(f"checkpoint {folder.name} is skipped: {error}")
            continue
        return Loaded(state, position, damaged, notes)
    run = checkpoints.parent
    reasons = f" ({'; '.join(notes)})" if notes else ""
    raise ModelError(
        f"{run} has no valid checkpoint to resume from{reasons}; start a new run with "
        f"`scanline train --recipe {run / 'recipe.toml'}`"
    )


def _load(
    folder: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> tuple[TrainState, Position]:
    path = folder / STATE
    saved = parse(CheckpointState, read_sealed_json(path), path)
    # A folder that was renamed or copied to another step's name would resume at the wrong place.
    if folder_name(saved.step) != folder.name:
        raise ModelError(f"{path} is damaged: expected the step of {folder.name}, got {saved.step}")
    model = load_tensors(folder / WEIGHTS, saved.files.get(WEIGHTS, ""))
    optimizer = load_tensors(folder / OPTIMIZER, saved.files.get(OPTIMIZER, ""))
    network = build(architecture, model, folder / WEIGHTS).to(device)
    choose_computation(network, settings)
    best = BestValidation(saved.best_accuracy, saved.best_step, saved.bad_evaluations)
    state = TrainState(
        network,
        make_optimizer(network, settings),
        step=saved.step,
        pending_evaluation=saved.pending_evaluation,
        loss=saved.loss,
        best=best,
    )
    # The moments must be on the device of the weights that they update.
    on_device = {
        # Adam's step counter stays on the CPU, where torch keeps it.
        name: value if name.endswith("/step") else value.to(device)
        for name, value in optimizer.items()
    }
    state.load_optimizer_tensors(on_device)
    return state, saved.position
