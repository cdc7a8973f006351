"""Starting the processes of a training on this machine.

This process handles signals and waits; its child, the agent, starts the processes and starts them again after
failures. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from scanline.errors import ScanlineError, UsageError
from scanline.kernels.waiting import spin_limit
from scanline.training.distributed.launch_folder import LaunchFolder


@dataclass(frozen=True)
class Machines:
    """Which machines train together.

    Attributes:
        least: The training begins, and goes on, with this many of them.
        most: The largest number of them.
        endpoint: HOST:PORT where they meet; the machine HOST opens the port. Empty for this machine alone.
        job: Name of the training, the same on all of them; empty for a new name.
        join_s: How long to wait for `least` of them, in seconds.
        restarts: How often this machine's processes are started again after a failure.
    """

    least: int = 1
    most: int = 1
    endpoint: str = ""
    job: str = ""
    join_s: float = 300.0
    restarts: int = 20

    def check(self) -> None:
        """Raise UsageError if the machines cannot meet like this."""
        if not self.endpoint:
            return
        host, _, port = self.endpoint.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UsageError(f"--rendezvous: expected HOST:PORT, got {self.endpoint!r}")
        if not self.job:
            raise UsageError("--rendezvous requires --job NAME, the same name on all machines")


def launch(
    command: Sequence[str],
    processes: int,
    machines: Machines | None = None,
    output: Callable[[str], None] | None = None,
) -> int:
    """Start processes that train together, and wait for the end of the training.

    Args:
        command: Arguments of `python` for each process.
        processes: Number of processes on this machine.
        machines: Which machines train together; None: this one alone.
        output: Called with each line that the processes print; None leaves it to them.

    Returns:
        The exit code of the training: 0, that of the error that the processes have reported, or 128 and the
        number of the signal that has stopped it.

    Raises:
        UsageError: If the machines cannot meet like this.
        ScanlineError: If not enough machines come in time, or the processes fail too often.
    """
    machines = machines or Machines()
    machines.check()
    with tempfile.TemporaryDirectory(prefix="scanline-launch-") as path:
        folder = LaunchFolder(Path(path))
        job = machines.job or uuid.uuid4().hex
        config = {"command": list(command), "processes": processes, **asdict(machines), "job": job}
        folder.config.write_text(json.dumps(config), encoding="utf-8")
        agent = subprocess.Popen(
            [sys.executable, "-m", "scanline.training.distributed.agent"],
            env=_environment(processes, alone=not machines.endpoint) | folder.environment(),
            # Ctrl-C on a terminal reaches this process alone, which passes it on.
            start_new_session=True,
            stdout=None if output is None else subprocess.PIPE,
        )
        with _passing_signals_on(agent, folder):
            for line in agent.stdout or ():
                if output is not None:
                    output(line.decode("utf-8", "replace").rstrip("\n"))
            code = agent.wait()
        outcome, stopped = folder.number("outcome"), folder.number("stopped")
        if outcome is not None:
            return outcome
        if stopped is not None:
            return 128 + stopped
        if error := folder.read("error"):
            raise ScanlineError(error)
        if code < 0:
            raise ScanlineError(
                f"the agent of the training was ended by signal {-code}; resume with --resume --run DIR"
            )
        return code


def _environment(processes: int, alone: bool) -> dict[str, str]:
    """Return the environment of the processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    defaults = {
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        # Otherwise machines that are left look for the store of a machine that is gone.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        # What the agent and Gloo log, the training's own messages say.
        "TORCH_CPP_LOG_LEVEL": "FATAL",
    }
    defaults |= spin_limit()
    if alone and sys.platform.startswith("linux"):
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    return defaults | os.environ


@contextlib.contextmanager
def _passing_signals_on(agent: subprocess.Popen[bytes], folder: LaunchFolder) -> Iterator[None]:
    """Pass SIGINT and SIGTERM on to the agent, and end it if the block is left by an error."""

    def stop(number: int, frame: FrameType | None) -> None:
        if folder.number("stopped") is not None:  # the second signal acts at once
            agent.kill()
            return
        folder.write("stopped", str(number))
        agent.send_signal(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if agent.poll() is None:
            agent.kill()
            agent.wait()
        if agent.stdout is not None:
            agent.stdout.close()
