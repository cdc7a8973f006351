"""Joining the processes that train together: one begins or resumes the run, the others get its state.

Each process runs the same command. The one that has the newest checkpoint of the run, or else process 0, is
the writer: it alone writes the run directory. The others read the data themselves and follow.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scanline import recipe as recipes
from scanline.data.readers.arrays import Arrays
from scanline.device import choose_device
from scanline.errors import ScanlineError, UsageError
from scanline.storage.digest import sha256
from scanline.training import checkpoint
from scanline.training.checkpoint_folders import checkpoint_folders, folder_name, write_folder
from scanline.training.checkpoint_state import Position
from scanline.training.distributed.exchange import SETUP_S, Exchange
from scanline.training.distributed.launch_folder import LaunchFolder
from scanline.training.distributed.launch_record import find_run, forget_run, record_run
from scanline.training.distributed.team import DistributedTeam
from scanline.training.environment import describe
from scanline.training.follower import Follower
from scanline.training.inputs import read_again, read_inputs
from scanline.training.preparation import prepare
from scanline.training.run import RunPath, TrainingRun
from scanline.training.run_directory import RunDirectory


class StartFailed(ScanlineError):
    """Another process could not start, and has printed why."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the same in every process.

    Attributes:
        data: Name or path of a data set, or arrays; None leaves it to the recipe.
        recipe: Name of a recipe or a TOML file, or None.
        settings: Changes of the recipe.
        run: The run directory, or None.
        device: "auto", "cpu" or "cuda".
        resume: Whether `run` is resumed.
        tensorboard: Whether to write event files.
        timeout: Seconds after which a process that does not answer counts as lost.
        mixed: Whether machines that compute different bits may train together.
    """

    data: str | Arrays | None
    recipe: str | None
    settings: Mapping[str, object]
    run: RunPath
    device: str
    resume: bool = False
    tensorboard: bool = False
    timeout: float = 30.0
    mixed: bool = False


def join(request: Request) -> TrainingRun | Follower:
    """Connect to the other processes, and begin or resume the run.

    Returns:
        The run in the process that writes it; a follower in the others.

    Raises:
        LostConnection: If a process is gone or does not come.
        StartFailed: If another process cannot start.
        ScanlineError: If this process cannot start; the others raise StartFailed.
    """
    device = _own_device(request.device)
    team = DistributedTeam(Exchange(device, request.timeout), request.mixed)
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    found = Path(request.run) if request.resume and request.run else find_run(request.run, launch)
    newest = _newest_step(found)
    hellos = _gather(team, {"host": socket.gethostname(), "step": newest, "facts": _facts(device)})
    note = "trained with --allow-mixed: this run may not be repeated to the bit" if request.mixed else None
    try:
        _compare([hello["facts"] for hello in hellos], [hello["host"] for hello in hellos], _MIXED)
    except UsageError as error:
        if not request.mixed:
            raise
        note = f"this run cannot be repeated to the bit: {str(error).partition(';')[0]}"
    steps = [hello["step"] for hello in hellos]
    team.writer = steps.index(max(steps))
    try:
        if team.rank != team.writer:
            return _follow(request, device, team)
        training = _lead(request, device, team, found if newest >= 0 or request.resume else None, launch)
    except StartFailed:
        team.wait_for_end()
        raise
    if note is not None:
        training.notes.append(note)
        training.directory.append_log(note)
    return training


def _own_device(name: str) -> str:
    """Return the device of this process: with GPUs, its own one."""
    device, local = choose_device(name), int(os.environ.get("LOCAL_RANK", 0))
    if device != "cuda":
        return device
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if here > torch.cuda.device_count():
        raise UsageError(
            f"{here} processes on this machine need as many GPUs, it has {torch.cuda.device_count()}: start "
            "fewer processes, or use --device cpu"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _newest_step(run: Path | None) -> int:
    """Return the step of the newest checkpoint of a run, or -1."""
    folders = [] if run is None else checkpoint_folders(RunDirectory(run).checkpoints)
    return int(folders[-1].name.rpartition("-")[2]) if folders else -1


def _gather(team: DistributedTeam, content: dict[str, Any]) -> list[dict[str, Any]]:
    everyone = team.exchange.gather_bytes(json.dumps(content).encode(), SETUP_S)
    return [json.loads(each) for each in everyone]


_MIXED = (
    "their results would not have the same bits: use the same versions and processors, or --allow-mixed to "
    "train without that guarantee"
)


def _facts(device: str) -> dict[str, str]:
    """Return what the bits of a training depend on besides the recipe and the data."""
    machine = describe(device)
    kernels = machine.native.kernels if machine.native.found else {"library": "none"}
    return {
        "Scanline's code": machine.code[:12],
        "torch": str(machine.packages["torch"]),
        "numpy": str(machine.packages["numpy"]),
        "Python": platform.python_version(),
        "instruction set of torch": torch.backends.cpu.get_cpu_capability(),
        "device": machine.device,
        **{f"kernel for {name}": str(kernel) for name, kernel in kernels.items()},
    }


def _compare(facts: list[dict[str, str]], hosts: list[str], remedy: str) -> None:
    """Raise UsageError if not all processes have the same facts."""
    for rank, other in enumerate(facts):
        different = [name for name in {**facts[0], **other} if facts[0].get(name) != other.get(name)]
        if different:
            named = ", ".join(f"{name} {facts[0].get(name)} and {other.get(name)}" for name in different)
            raise UsageError(f"processes 0 ({hosts[0]}) and {rank} ({hosts[rank]}) differ: {named}; {remedy}")


def _lead(
    request: Request, device: str, team: DistributedTeam, found: Path | None, launch: str
) -> TrainingRun:
    """Begin or resume the run, and send its recipe and state to the others."""
    arguments = (request.data, request.recipe, request.settings)
    error: ScanlineError | None = None
    try:
        if found is not None and not request.resume and _has_ended(found):
            raise StartFailed(f"{found} has finished", 0)  # a process was lost after the end
        if found is not None:
            training = TrainingRun.resume(*arguments, found, device, request.tensorboard, team=team)
        else:
            training = TrainingRun.begin(*arguments, request.run, device, request.tensorboard, team=team)
            record_run(training.directory.path, request.run, launch)
        answer: dict[str, Any] = {
            "recipe": training.recipe.to_toml(),
            "run": str(training.directory.path.absolute()),
        }
    except ScanlineError as failed:
        error, answer = failed, {"error": str(failed), "code": failed.exit_code}
    team.exchange.broadcast_bytes(json.dumps(answer).encode(), team.writer, SETUP_S)
    if error is not None:
        raise error
    team.at_end = lambda: _end(request, launch)
    try:
        _check_same(team, _digests(training.recipe, training))
        taken = checkpoint.snapshot(training.state, Position(metrics_bytes=0, log_bytes=0, seconds=0.0))
        for content in taken.contents().values():
            team.exchange.broadcast_bytes(content, team.writer, SETUP_S)
    except BaseException:
        training.close()
        if found is None:  # nothing has been trained: the run would be in the way of the next attempt
            training.directory.discard()
            forget_run(request.run, launch)
        raise
    return training


def _has_ended(run: Path) -> bool:
    """Return whether a run has been trained to its end."""
    result = RunDirectory(run).read_result()
    return result is not None and result.training.has_ended


def _end(request: Request, launch: str) -> None:
    """Record that the training has ended well, whatever signal comes after it."""
    forget_run(request.run, launch)
    folder = LaunchFolder.current()
    if folder is not None:
        folder.write("outcome", "0")


def _follow(request: Request, device: str, team: DistributedTeam) -> Follower:
    """Read the data, and receive the recipe and the state of the run."""
    answer = json.loads(team.exchange.broadcast_bytes(b"", team.writer, SETUP_S))
    if "error" in answer:
        raise StartFailed(answer["error"], answer["code"])
    recipe = recipes.parse(answer["recipe"], "the recipe of the run")
    try:
        if request.resume:
            prepared = prepare(
                recipe, read_again(recipe, request.data if isinstance(request.data, Arrays) else None)
            )
        else:
            own, dataset = read_inputs(request.data, request.recipe, request.settings)
            prepared = prepare(own, dataset)
        facts = _digests(prepared.recipe, prepared)
    except ScanlineError as error:
        _gather(team, {"error": str(error), "code": error.exit_code, "host": socket.gethostname()})
        raise
    _check_same(team, facts)
    names = (checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE)
    contents = {name: team.exchange.broadcast_bytes(b"", team.writer, SETUP_S) for name in names}
    with tempfile.TemporaryDirectory(prefix="scanline-") as folder:
        # Read as a checkpoint, with all of its checks.
        step = json.loads(contents[checkpoint.STATE])["step"]
        write_folder(Path(folder) / folder_name(step), contents)
        loaded = checkpoint.load_newest(Path(folder), prepared.architecture, prepared.recipe.train, device)
    return Follower(Path(answer["run"]), prepared, loaded.state, team)


def _digests(recipe: recipes.Recipe, prepared: Any) -> dict[str, str]:
    """Return the digests of the recipe, but for where the data are, and of the data."""
    tree = recipe.model_dump(exclude={"data", "about"})
    splits = {f"split {name!r}": part.fingerprint()[:12] for name, part in prepared.data.splits.items()}
    return {"recipe": sha256(json.dumps(tree, sort_keys=True).encode())[:12], **splits}


def _check_same(team: DistributedTeam, facts: dict[str, str]) -> None:
    """Raise an error in every process if they do not have the same recipe and data, or one has failed."""
    everyone = _gather(team, {"facts": facts, "host": socket.gethostname()})
    for rank, other in enumerate(everyone):
        if "error" in other:
            raise StartFailed(f"process {rank} ({other['host']}): {other['error']}", other["code"])
    hosts = [each["host"] for each in everyone]
    _compare([each["facts"] for each in everyone], hosts, "run the same command on the same data everywhere")
