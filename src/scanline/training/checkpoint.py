"""Training state on disk: `checkpoints/step-000780/`, whole or not at all, the newest and the best kept."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scanline.errors import ModelError
from scanline.model.model_files import build, load_tensors
from scanline.model.network import Architecture
from scanline.recipe import TrainSettings
from scanline.storage.atomic import TEMPORARY, atomic_folder, overwrite, sync_folder
from scanline.storage.digest import sha256
from scanline.storage.json_files import read_sealed_json, sealed_json
from scanline.storage.tensors import pack_tensors
from scanline.training.state import TrainState
from scanline.training.step import choose_computation, make_optimizer

Whole = Annotated[int, Field(strict=True, ge=0)]
_SPARE = f".spare{TEMPORARY}"
_NUMBERS = ("step", "unseen", "loss", "best_accuracy", "best_step", "misses")


class Position(BaseModel):
    """Where a run's own files stood: bytes of metrics.jsonl and log.txt, seconds of training."""

    model_config = ConfigDict(extra="forbid")
    metrics_bytes: Whole
    log_bytes: Whole
    seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class _Saved(BaseModel):
    """What `state.json` holds."""

    model_config = ConfigDict(extra="forbid")
    schema_: Literal[2] = Field(alias="schema")
    step: Whole
    unseen: Annotated[bool, Field(strict=True)]
    loss: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    best_accuracy: Annotated[float, Field(strict=True, ge=-1, le=1)]
    best_step: Whole
    misses: Whole
    position: Position
    files: dict[Literal["model.safetensors", "optimizer.safetensors"], str]


class Keeper:
    """Writes checkpoints on a thread of its own, one at a time: training does not wait for the disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=_yield_to_others)
        self._writing: Future[Any] | None = None

    def save(self, write: Callable[[], Any]) -> None:
        """Have `write` called, once what was begun before is done. Raises what that raised."""
        self.wait()
        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raise what the last write raised, if it has ended."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Until all is written. Raises what writing raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let what is being written come to its end; its errors are nobody's any more."""
        self._thread.shutdown()


@dataclass(frozen=True, eq=False)
class Packed:
    """A run as it stood between two steps. tensors: the bytes of the files that hold them, by name."""

    tensors: dict[str, bytes]
    numbers: dict[str, Any]
    position: Position

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.numbers["step"])

    def description(self) -> bytes:
        """What `state.json` holds."""
        digests: dict[Any, str] = {name: sha256(content) for name, content in self.tensors.items()}
        saved = _Saved(schema=2, position=self.position, files=digests, **self.numbers)
        return sealed_json(saved.model_dump(by_alias=True)).encode()


def pack(state: TrainState, position: Position) -> Packed:
    """`state` as it is now; further steps do not touch it."""
    tensors = {
        "model.safetensors": pack_tensors(state.network.state_dict()),
        "optimizer.safetensors": pack_tensors(state.optimizer_tensors()),
    }
    return Packed(tensors, {name: getattr(state, name) for name in _NUMBERS}, position)


def _yield_to_others() -> None:
    """This thread takes no core away from those that train: one of them held up holds all of them up."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def save(checkpoints: Path, packed: Packed, keep: int = 2) -> Path:
    """Write the newest checkpoint. Of the others all go but the newest, `keep` with this one, and that of the
    best validation. Returns its folder."""
    target = checkpoints / _name(packed.step)
    contents = packed.tensors | {"state.json": packed.description()}
    with atomic_folder(target, used=_spare(checkpoints, contents.keys())) as new:
        for name, content in contents.items():
            overwrite(new / name, content)
    best = _name(packed.numbers["best_step"])
    for old in _all(checkpoints)[:-keep]:
        if old.name != best:
            _retire(old)
    return target


def _retire(folder: Path) -> None:
    """Keep the files of a checkpoint that goes, for the next one to be written over them: to take files away
    and make others takes twice the time."""
    spare = folder.with_name(_SPARE)
    if spare.exists():
        remove(folder)
    else:
        with contextlib.suppress(OSError):
            os.replace(folder, spare)


def _spare(checkpoints: Path, names: Collection[str]) -> Path | None:
    """The folder that `_retire` kept, if it has just these files, can be written to, and nobody else has them
    by a hard link."""
    spare = checkpoints / _SPARE
    if not os.path.lexists(spare):
        return None
    with contextlib.suppress(OSError):
        with os.scandir(spare) as entries:
            found = {entry.name: _is_own(entry) for entry in entries}
        if found.keys() == set(names) and all(found.values()) and not spare.is_symlink():
            sync_folder(checkpoints)  # first it is no checkpoint any more, then it is written over
            return spare
    remove(spare)
    return None


def _is_own(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and os.access(entry.path, os.W_OK)


def remove(folder: Path) -> None:
    """Take a checkpoint away; a part of one is never left under a checkpoint's name."""
    going = folder.with_name(f".{folder.name}{TEMPORARY}")
    with contextlib.suppress(OSError):
        shutil.rmtree(going, ignore_errors=True)
        os.replace(folder, going)
        shutil.rmtree(going, ignore_errors=True)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _all(checkpoints: Path) -> list[Path]:
    """By step. What else lies there, as a copy under another name, is not ours."""
    found = [path for path in checkpoints.glob("step-*") if re.fullmatch(r"step-[0-9]{6,18}", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_newest(
    checkpoints: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> tuple[TrainState, Position, list[Path], list[str]]:
    """The newest whole checkpoint: its state and position; newer ones that are damaged, and why.

    Raises ModelError if none is whole.
    """
    damaged: list[Path] = []
    complaints: list[str] = []
    for folder in reversed(_all(checkpoints)):
        try:
            state, position = _load(folder, architecture, settings, device)
        except ModelError as error:
            damaged.append(folder)
            complaints.append(f"checkpoint {folder.name} is passed over: {error}")
            continue
        return state, position, damaged, complaints
    run = checkpoints.parent
    reasons = f" ({'; '.join(complaints)})" if complaints else ""
    raise ModelError(
        f"{run} has no whole checkpoint to go on from{reasons}; start anew with "
        f"`scanline train --recipe {run / 'recipe.toml'}`"
    )


def _load(
    folder: Path, architecture: Architecture, settings: TrainSettings, device: str
) -> tuple[TrainState, Position]:
    path = folder / "state.json"
    try:
        saved = _Saved.model_validate(read_sealed_json(path))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ModelError(f"{path} is damaged: {where}: {fault['msg']}") from None
    if _name(saved.step) != folder.name:
        raise ModelError(f"{path} is damaged: it is of step {saved.step}")
    model, optimizer = (
        load_tensors(folder / name, saved.files.get(name, ""))
        for name in ("model.safetensors", "optimizer.safetensors")
    )
    network = build(architecture, model, folder / "model.safetensors").to(device)
    choose_computation(network, settings)
    state = TrainState(network, make_optimizer(network, settings))
    on_device = {
        # Adam's step counter stays on the CPU, as torch itself keeps it.
        name: value if name.endswith("/step") else value.to(device)
        for name, value in optimizer.items()
    }
    state.load_optimizer_tensors(on_device)
    for name in _NUMBERS:
        setattr(state, name, getattr(saved, name))
    return state, saved.position
