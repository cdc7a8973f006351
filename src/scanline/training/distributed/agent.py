"""The agent of a machine: starts its training processes, and starts them again after failures.

The agents of all machines meet at the rendezvous. When a process or a machine is gone, or a machine comes,
all of them start their processes again with those that are there. This is torch's elastic agent.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import sys
import threading
from typing import Any

import torch
from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousTimeoutError,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.torch_version import TorchVersion

from scanline.training.distributed.addresses import host_and_port, interface_of, own_address
from scanline.training.distributed.launch_folder import LaunchFolder, watch_parent
from scanline.training.distributed.meeting import BACKEND, register

# Agents notice within 15 s that a machine is gone; then those that are left wait this long for others.
_LAST_CALL_S = 5
# How long the endpoint may take to answer once it is connected.
_ANSWER_S = 20
# Older agents fail where the numbers of processes change as machines come and go.
_TORCH = "2.13"
_SIGNALS = 128  # exit codes above it are those of signals
_NO_MEETING = "cannot meet the other machines at {}: {}"


def main() -> int:
    """Run the agent of the launch that this process belongs to, and return its exit code."""
    folder = LaunchFolder.current()
    assert folder is not None
    watch_parent()
    os.environ.update(folder.environment())
    logging.disable(logging.CRITICAL)  # the training's own messages say it
    config = json.loads(folder.config.read_text(encoding="utf-8"))
    if config["endpoint"] and TorchVersion(torch.__version__) < TorchVersion(_TORCH):
        folder.write("error", f"several machines need torch {_TORCH} or newer, got {torch.__version__}")
        return 1
    arrivals = _Arrivals(config, folder)
    meetings = register()
    try:
        config["address"] = own_address(config["endpoint"]) if config["endpoint"] else None
        interface = interface_of(config["address"]) if config["address"] else ""
        if interface:  # Gloo would take the one of this machine's name, which may be the loopback
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        elastic_launch(_launch_config(config, folder), sys.executable)(*config["command"])
        with contextlib.suppress(RendezvousConnectionError):  # the machine of the endpoint may have ended
            meetings[0].set_closed()
        return 0
    except SignalException as stopped:
        outcome = folder.number("outcome")
        if meetings and outcome is not None and outcome < _SIGNALS:
            # An error that would come again: the other machines must not go on without this one.
            with contextlib.suppress(RendezvousConnectionError):
                meetings[0].set_closed()
        return 128 + int(stopped.sigval)
    except ChildFailedError as failed:
        last = failed.get_first_failure()[1].exitcode
        message = (
            f"the processes have failed {config['restarts'] + 1} times, the last time with exit code {last}; "
            "once the cause is mended, resume with --resume --run DIR"
        )
    except RendezvousTimeoutError:
        message = (
            f"{config['least']} machines are needed, and {arrivals.count()} came within "
            f"{config['join_s']:g} s: start the same command on the others"
        )
    except RendezvousClosedError:
        message = f"the training {config['job']} has ended: give a new one another --job"
    except (RendezvousConnectionError, DistNetworkError, OSError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0][:200]
        message = _NO_MEETING.format(config["endpoint"], reason)
    folder.write("error", message)
    return 1


def _launch_config(config: dict[str, Any], folder: LaunchFolder) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=config["least"],
        max_nodes=config["most"],
        nproc_per_node=config["processes"],
        run_id=config["job"],
        rdzv_backend=BACKEND,
        rdzv_endpoint=config["endpoint"] or "localhost:0",
        rdzv_configs={
            "join_timeout": config["join_s"],
            "last_call_timeout": _LAST_CALL_S,
            "read_timeout": max(1, min(_ANSWER_S, round(config["join_s"]))),
        },
        max_restarts=config["restarts"],
        monitor_interval=0.1,
        local_addr=config["address"],
        logs_specs=DefaultLogsSpecs(log_dir=str(folder.path)),
    )


class _Arrivals:
    """Counts the machines that have come, for the message if too few do."""

    def __init__(self, config: dict[str, Any], folder: LaunchFolder) -> None:
        self._key = f"scanline/arrived/{config['job']}"
        self._store: TCPStore | None = None
        self._config, self._folder = config, folder
        if config["endpoint"]:
            # In the background: on the machine of the endpoint the agent opens the port only now.
            threading.Thread(target=self._arrive, daemon=True).start()

    def _arrive(self) -> None:
        host, port = host_and_port(self._config["endpoint"])
        seconds = self._config["join_s"]
        # torch waits for ever for another program's port that accepts connections and does not answer.
        watch = threading.Timer(seconds + _LAST_CALL_S, self._give_up)
        watch.daemon = True
        watch.start()
        with contextlib.suppress(RuntimeError):  # the agent itself reports what is wrong
            store = TCPStore(host, port, timeout=datetime.timedelta(seconds=seconds))
            store.add(self._key, 1)
            self._store = store
        watch.cancel()

    def _give_up(self) -> None:
        endpoint, seconds = self._config["endpoint"], self._config["join_s"]
        self._folder.write("error", _NO_MEETING.format(endpoint, f"no answer within {seconds:g} s"))
        os._exit(1)

    def count(self) -> str:
        """Return how many machines have come, in words."""
        with contextlib.suppress(RuntimeError):
            if self._store is not None:
                return str(self._store.add(self._key, 0))
        return "fewer"


if __name__ == "__main__":
    # Without waiting for the thread that may still be connecting.
    os._exit(main())
