"""Starting the processes of a training on this machine, with torch's elastic agent.

The agent notices the end of a process, starts all of them again together with the other machines' and goes on
until the training has ended. Its processes resume from the newest checkpoint.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError, RendezvousTimeoutError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from scanline.errors import ScanlineError, UsageError

_OUTCOME = "SCANLINE_LAUNCH_OUTCOME"  # names the file for the exit code of the training
_WATCH_S = 0.5
# Within 15 s the agents notice that a machine is gone; then those that are left wait this long for others.
_LAST_CALL_S = 5


@dataclass(frozen=True)
class Machines:
    """Which machines train together.

    Attributes:
        least: The training begins, and goes on, with this many of them.
        most: The largest number of them.
        endpoint: HOST:PORT where they meet; the machine HOST opens the port. Empty for this machine alone.
        job: Name of the training, the same on all of them.
        join_s: How long to wait for `least` of them, in seconds.
        restarts: How often this machine's processes are started again after a failure.
    """

    least: int = 1
    most: int = 1
    endpoint: str = ""
    job: str = ""
    join_s: float = 300.0
    restarts: int = 20


def launch(command: Sequence[str], processes: int, machines: Machines = Machines()) -> int:
    """Start processes that train together, and wait for the end of the training.

    Args:
        command: Arguments of `python` for each process.
        processes: Number of processes on this machine.
        machines: Which machines train together.

    Returns:
        The exit code of the training: 0, that of the error that the processes have reported, or 128 and the
        number of the signal that has stopped it.

    Raises:
        ScanlineError: If not enough machines come in time, or the processes fail too often.
    """
    _set_environment(processes, alone=not machines.endpoint)
    job = machines.job or uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="scanline-launch-") as folder:
        outcome = Path(folder) / "outcome"
        os.environ[_OUTCOME] = str(outcome)
        config = LaunchConfig(
            min_nodes=machines.least,
            max_nodes=machines.most,
            nproc_per_node=processes,
            run_id=job,
            rdzv_backend="c10d",
            rdzv_endpoint=machines.endpoint or "localhost:0",
            rdzv_configs={"join_timeout": machines.join_s, "last_call_timeout": _LAST_CALL_S},
            max_restarts=machines.restarts,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        arrivals = _Arrivals(machines.endpoint, job, machines.join_s)
        try:
            elastic_launch(config, sys.executable)(*command)
            return 0
        except SignalException as stopped:
            return _reported(outcome) or 128 + int(stopped.sigval)
        except ChildFailedError as failed:
            code = _reported(outcome)
            if code is None:
                raise ScanlineError(
                    f"the processes have failed {machines.restarts + 1} times, the last time with exit code "
                    f"{failed.get_first_failure()[1].exitcode}; resume with --resume once the cause is mended"
                ) from failed
            return code
        except RendezvousTimeoutError as late:
            raise ScanlineError(
                f"{machines.least} machines are needed, and {arrivals.count()} came within "
                f"{machines.join_s:.0f} s: start the same command on the others, with the same --rendezvous "
                "and --job"
            ) from late
        except (RendezvousConnectionError, DistNetworkError, OSError) as error:
            raise ScanlineError(
                f"cannot meet the other machines at {machines.endpoint}: {_reason(error)}"
            ) from error


def _set_environment(processes: int, alone: bool) -> None:
    """Set what the processes inherit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    # Otherwise machines that are left look for the store of a machine that is gone.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    if alone and sys.platform.startswith("linux"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # The agent logs what the training's own messages say.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)


class _Arrivals:
    """Counts the machines that have come, for the message if too few do."""

    def __init__(self, endpoint: str, job: str, seconds: float) -> None:
        self._key = f"scanline/arrived/{job}"
        self._store: TCPStore | None = None
        if endpoint:
            host, _, port = endpoint.rpartition(":")
            if not port.isdecimal() or not host:
                raise UsageError(f"--rendezvous: expected HOST:PORT, got {endpoint!r}")
            # In the background: on the machine `host` the agent opens the port only now.
            threading.Thread(target=self._arrive, args=(host, int(port), seconds), daemon=True).start()

    def _arrive(self, host: str, port: int, seconds: float) -> None:
        with contextlib.suppress(RuntimeError):  # the agent itself reports what is wrong
            store = TCPStore(host, port, timeout=datetime.timedelta(seconds=seconds))
            store.add(self._key, 1)
            self._store = store

    def count(self) -> str:
        """Return how many machines have come, in words."""
        with contextlib.suppress(RuntimeError):
            if self._store is not None:
                return str(self._store.add(self._key, 0))
        return "fewer"


def _reported(outcome: Path) -> int | None:
    """Return the exit code that the processes have reported."""
    with contextlib.suppress(OSError, ValueError):
        return int(outcome.read_text())
    return None


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error).partition("\n")[0][:200]


def watch_parent() -> None:
    """End this process soon after its agent, however that ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def end_launch(code: int) -> None:
    """Tell the agent that the training has ended with an exit code and must not be started again."""
    outcome = os.environ.get(_OUTCOME)
    if outcome:
        with contextlib.suppress(OSError):
            Path(outcome).write_text(str(code))
    count, most = (
        int(os.environ.get(f"TORCHELASTIC_{name}", 0)) for name in ("RESTART_COUNT", "MAX_RESTARTS")
    )
    if outcome or count < most:
        os.kill(os.getppid(), signal.SIGTERM)
