"""Real processes that train together: whole launches, and members without a launcher, which start quickly.

Members are forked from a server that has imported everything; importing takes most of the time of a short
run. They have the environment that an elastic agent gives to its processes.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

MARK = "SCANLINE_TEST_LAUNCH"
LIMIT_S = 120.0  # for waits that end at once on a quiet machine

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "scanline.cli.train",
        "scanline.cli.watch",
        "scanline.training.run",
        "scanline.training.distributed.worker",
        "sklearn.datasets",
        "torch._dynamo",  # torch's optimizers import it
    ]
)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = LIMIT_S) -> Any:
    """Return the first true value of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code, and everything that it has printed."""

    code: int
    text: str


def environments(size: int) -> list[dict[str, str]]:
    """Return what an elastic agent sets for each of `size` processes on this machine."""
    shared = {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def train_together(
    folder: Path, *commands: Sequence[str], changes: Sequence[dict[str, str]] = ()
) -> list[Ended]:
    """Run `scanline train` as members of one training, each in a process of its own.

    Args:
        folder: Working directory.
        commands: What follows `train`, for each process.
        changes: Changes of the environment, for each process.
    """
    given = [(_train, (list(command),)) for command in commands]
    settings = environments(len(commands))
    for setting, change in zip(settings, changes, strict=False):
        setting.update(change)
    return call_together(folder, given, settings)


def train_alone(folder: Path, command: Sequence[str]) -> Ended:
    """Run `scanline train` in a process that is no member of a team."""
    return call_together(folder, [(_train, (list(command),))], [{}])[0]


def call_together(
    folder: Path,
    calls: Sequence[tuple[Callable[..., None], tuple[Any, ...]]],
    settings: Sequence[dict[str, str]] | None = None,
) -> list[Ended]:
    """Call each function in a process of its own; all are members of one team."""
    settings = environments(len(calls)) if settings is None else settings
    outputs = [folder / f"output-{uuid.uuid4().hex[:8]}-{rank}.txt" for rank in range(len(calls))]
    members = []
    try:
        for (function, arguments), setting, output in zip(calls, settings, outputs, strict=True):
            member = _SERVER.Process(target=_member, args=(function, arguments, setting, output, folder))
            member.start()
            members.append(member)
        return [_ended(*pair) for pair in zip(members, outputs, strict=True)]
    finally:
        for member in members:
            member.kill()
            member.join()


def _ended(member: ForkServerProcess, output: Path) -> Ended:
    member.join(LIMIT_S)
    text = output.read_text() if output.exists() else ""
    assert member.exitcode is not None, f"a process has not ended: {text}"
    return Ended(member.exitcode, text)


def _train(arguments: list[str]) -> None:
    from scanline.cli import main

    sys.argv = ["scanline", "train", *arguments]
    main()


def _member(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    setting: dict[str, str],
    output: Path,
    folder: Path,
) -> None:
    """Do what a Python program does that calls `function`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ.update(setting)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        function(*arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001  # printed, as Python does
        traceback.print_exc()
        code = 70
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass
class Launch:
    """A `python -m scanline train` with its processes, which are ended when the context is left.

    Attributes:
        folder: Working directory.
        arguments: What follows `train`.
        extra: Changes of the environment.
        process: The launcher.
        output: File with what all processes print.
    """

    folder: Path
    arguments: Sequence[object]
    extra: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __enter__(self) -> Launch:
        self.output = self.folder / f"launch-{self.mark[:8]}.txt"
        environment = dict(os.environ) | self.extra | {MARK: self.mark}
        # Without compiled modules each process compiles all of Scanline.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.pop("TORCH_CPP_LOG_LEVEL", None)
        with open(self.output, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scanline", "train", *map(str, self.arguments)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.process.pid, *self.alive()):
            with contextlib.suppress(ProcessLookupError):
                if process != self.process.pid or self.process.poll() is None:
                    os.kill(process, signal.SIGKILL)
        self.process.wait(LIMIT_S)

    @property
    def text(self) -> str:
        """Everything that was printed so far."""
        return self.output.read_text()

    def wait(self) -> int:
        """Return the exit code of the launcher, once it has ended."""
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the launch has not ended; it has printed: {self.text}") from None

    def ended(self) -> Ended:
        """Return the exit code and what was printed, once the launcher has ended."""
        return Ended(self.wait(), self.text)

    def alive(self) -> dict[int, dict[str, str]]:
        """Return the environments of all processes of this launch, by process id. Zombies have none."""
        return {
            process: environment
            for process, environment in _environments()
            if environment.get(MARK) == self.mark
        }

    def worker(self, rank: int) -> int | None:
        """Return the process id of a member of the team, once it runs."""
        ranks = {environment.get("RANK"): process for process, environment in self.alive().items()}
        return ranks.get(str(rank))

    def wait_until_none_is_alive(self, seconds: float) -> None:
        """Wait for the end of all processes."""
        wait_for(lambda: not self.alive(), f"processes of {self.arguments} are alive", seconds)


def _environments() -> Iterator[tuple[int, dict[str, str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                items = (folder / "environ").read_bytes().split(b"\0")
                pairs = [item.decode(errors="replace").partition("=") for item in items]
                yield int(folder.name), {key: value for key, _, value in pairs}


def lines(text: str) -> list[str]:
    """Return the messages of the program."""
    return [line for line in text.splitlines() if line.startswith("scanline: ")]
