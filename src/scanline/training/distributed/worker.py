"""A process that an elastic agent has started: it trains, and tells the agent how that has ended."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from scanline.errors import Interrupted, ScanlineError
from scanline.training.distributed.exchange import LostConnection
from scanline.training.distributed.join import Request, StartFailed, join
from scanline.training.distributed.launch_folder import LaunchFolder, end_launch, watch_parent
from scanline.training.follower import Follower
from scanline.training.interruption import RESTART
from scanline.training.run import TrainingRun


def take_part(request: Request) -> TrainingRun:
    """Join the training. Returns in the process that writes the run; the others train here and then exit.

    Raises:
        ScanlineError: If the training cannot start.
    """
    watch_parent()
    with reported():
        member = join(request)
    if isinstance(member, Follower):
        _follow(member)
    return member


def _follow(follower: Follower) -> NoReturn:
    rank = os.environ["RANK"]
    log = follower.run / f"log-rank-{rank}.txt"
    terminal = os.dup(2)
    _redirect(log)
    try:
        with reported():
            follower.train()
    except ScanlineError as error:
        # The writer prints what happened to all; only this process knows that it has lost a connection.
        if isinstance(error, LostConnection):
            print(f"scanline: {error}", file=sys.stderr)
        else:
            follower.team.wait_for_end()
        sys.exit(error.exit_code)
    except Exception as error:
        os.write(terminal, f"scanline: process {rank} has failed: {error!r:.200}; see {log}\n".encode())
        raise
    finally:
        with contextlib.suppress(OSError):
            if log.stat().st_size == 0:  # it had nothing to say
                log.unlink()
    sys.exit(0)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """On an error, tell the agent that starting again is of no use, once the error has been printed.

    Not after a lost connection, and not if the agent itself has stopped the process: then it starts all
    processes again.
    """
    try:
        yield
    except ScanlineError as error:
        is_restart = isinstance(error, Interrupted) and error.signal_number == RESTART
        is_final = not isinstance(error, LostConnection) and not is_restart
        atexit.register(_exit_now, error.exit_code, is_final)
        # The process that has failed prints why; that processes end on request is not an error.
        if isinstance(error, StartFailed) or is_restart or (not is_final and _is_stopped()):
            sys.exit(error.exit_code)
        raise
    except Exception:  # a fault that would come again, such as too little memory
        atexit.register(_exit_now, 1, True)
        raise


def _exit_now(code: int, is_final: bool) -> None:
    """Exit without waiting for connections to processes that may be gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if is_final and not _is_stopped():
        end_launch(code)
    os._exit(code)


def _is_stopped() -> bool:
    """Return whether the agent is ending its processes already."""
    folder = LaunchFolder.current()
    return folder is not None and folder.number("stopped") is not None


def _redirect(log: Path) -> None:
    """Append what this process prints to a file of the run, if the run is on this machine."""
    with contextlib.suppress(OSError):
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
