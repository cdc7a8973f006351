"""Starts the processes of a search on this machine, starts those again that are killed, and ends them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scanline.errors import DataError, ModelError, ScanlineError, UsageError
from scanline.kernels.waiting import spin_limit
from scanline.search.program import DEVICE, STORAGE

_LOOK_S = 0.05  # between two looks at the processes
_PAUSE_S = 120.0  # for a process to pause its training and end
_SIGNALS = (130, 143)  # exit codes of a process that has paused its trial after SIGINT or SIGTERM
_MOST_RESTARTS = 10  # one after another, without a trial that has come further in between
KINDS: dict[int, type[ScanlineError]] = {2: UsageError, 3: DataError, 4: ModelError}


@dataclass(eq=False)
class _Process:
    arguments: Sequence[str]
    handle: subprocess.Popen[bytes]
    log: Path


@dataclass(eq=False)
class Processes:
    """Processes of a study.

    Attributes:
        folder: Folder of the study.
        logs: Folder for what they write to standard error.
        storage: Address of the storage, with its password.
        device: Device to compute on.
        threads: Number of threads of each.
    """

    folder: Path
    logs: Path
    storage: str
    device: str
    threads: int
    _running: list[_Process] = field(default_factory=list)
    _started: int = 0

    def run(
        self,
        programs: Sequence[Sequence[str]],
        at_once: int,
        deadline: float | None = None,
        progress: Callable[[], object] = lambda: None,
    ) -> bool:
        """Run programs, each to its end.

        Args:
            programs: Arguments of `scanline.search.program`, one sequence for each process.
            at_once: Number of processes that run at a time.
            deadline: Time of `time.monotonic` at which they are paused; None: no limit.
            progress: Called often; what it returns shows whether a process that was killed had come further.

        Returns:
            Whether all have come to their end; otherwise the deadline has.

        Raises:
            ScanlineError: The error of a process, or if processes are killed again and again.
        """
        waiting = list(programs)
        restarts, reached = 0, progress()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < at_once:
                    self._running.append(self._start(waiting.pop(0)))
                time.sleep(_LOOK_S)
                if (now := progress()) != reached:
                    restarts, reached = 0, now
                for process in self._ended():
                    code = process.handle.returncode
                    if code < 0 or code in _SIGNALS:
                        restarts += 1
                        if restarts > _MOST_RESTARTS:
                            signal = -code if code < 0 else code - 128
                            raise ScanlineError(
                                f"{restarts} processes of the search were ended one after another by signal "
                                f"{signal}; the machine may lack memory: use fewer --workers"
                            )
                        waiting.insert(0, process.arguments)
                    elif code:
                        raise _error(process)
                if deadline is not None and time.monotonic() >= deadline:
                    return False
            return True
        finally:
            self._end()

    def _start(self, arguments: Sequence[str]) -> _Process:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._started += 1
        log = self.logs / f"{os.getpid()}-{self._started}.txt"
        given = [arguments[0], str(self.folder), *arguments[1:]]
        environment = {"OMP_NUM_THREADS": str(self.threads), **spin_limit()} | os.environ
        with log.open("wb") as output:
            handle = subprocess.Popen(
                [sys.executable, "-m", "scanline.search.program", *given],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=environment | {STORAGE: self.storage, DEVICE: self.device},
                # Ctrl-C on a terminal reaches the first process alone, which pauses the others.
                start_new_session=True,
            )
        return _Process(arguments, handle, log)

    def _ended(self) -> list[_Process]:
        ended = [each for each in self._running if each.handle.poll() is not None]
        self._running = [each for each in self._running if each not in ended]
        for process in ended:
            _close(process)
            if process.handle.returncode == 0:
                process.log.unlink(missing_ok=True)
        return ended

    def _end(self) -> None:
        """Let all processes pause and end."""
        for process in self._running:
            _close(process)
        limit = time.monotonic() + _PAUSE_S
        for process in self._running:
            try:
                process.handle.wait(max(0.1, limit - time.monotonic()))
                process.log.unlink(missing_ok=True)
            except subprocess.TimeoutExpired:
                process.handle.kill()
                process.handle.wait()
        self._running = []


def _close(process: _Process) -> None:
    """Close the standard input of a process, which ends it."""
    if process.handle.stdin is not None:
        with contextlib.suppress(OSError):
            process.handle.stdin.close()


def _error(process: _Process) -> ScanlineError:
    code = process.handle.returncode
    text = process.log.read_text(errors="replace").strip()
    if code in (1, 2, 3, 4) and text and "Traceback" not in text:
        return KINDS.get(code, ScanlineError)(text.split("\n")[-1])
    return ScanlineError(
        f"a process of the search has ended with exit code {code}; what it wrote is in {process.log}"
    )
