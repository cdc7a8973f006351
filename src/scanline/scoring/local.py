"""Scoring on this machine: in this process, or in several that are started for it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scanline.errors import ScanlineError, UsageError
from scanline.kernels.waiting import spin_limit
from scanline.scoring.job import Part
from scanline.scoring.parts import PartScorer
from scanline.scoring.replies import part_of
from scanline.scoring.work import PackedWork, Unit

ATTEMPTS = 3  # processes that may end while they score the same unit
_GRACE_S = 5.0  # for a process that is asked to end


def score_here(score: PartScorer, units: Sequence[Unit]) -> Iterator[Part]:
    """Score units in this process, on all of its threads, and yield their parts."""
    return map(score, units)


def score_in_processes(score: PartScorer, units: Sequence[Unit], processes: int) -> Iterator[Part]:
    """Score units in several processes on this machine, and yield their parts as they are written.

    A process that ends early is replaced, and its unit is given to the next one. Leaving the iterator, or an
    error, ends all processes.

    Args:
        score: The scorer; its sequences are a packed data set.
        units: The units.
        processes: Number of processes. The cores are divided among them.

    Raises:
        ScanlineError: If a unit cannot be scored, or processes end again and again while they score it.
    """
    pool = _Pool(json.dumps(score.to_json()), processes)
    for unit in units:
        pool.waiting.put(unit)
    threads = [threading.Thread(target=pool.serve, daemon=True) for _ in range(min(processes, len(units)))]
    for thread in threads:
        thread.start()
    try:
        for _ in units:
            result = pool.results.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        pool.end()
        for thread in threads:
            thread.join()


def check_processes(work: object, processes: int) -> None:
    """Raise UsageError if sequences are in the memory of this process, and several are to score them."""
    if processes > 1 and not isinstance(work, PackedWork):
        raise UsageError(
            "--processes above 1 requires a packed data set: "
            "make one with `scanline data pack SOURCE --to URI`"
        )


@dataclass(eq=False)
class _Pool:
    """Units that wait, and their results; each thread serves one process at a time.

    Attributes:
        config: What each process needs, as a line of JSON.
        processes: Number of processes.
        waiting: Units that no process has been given.
        results: A part, or the error that ends the job.
    """

    config: str
    processes: int
    waiting: queue.SimpleQueue[Unit] = field(default_factory=queue.SimpleQueue)
    results: queue.SimpleQueue[Part | Exception] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _ended: bool = False

    def serve(self) -> None:
        """Give units to a process until none waits, or an error ends the job."""
        process = None
        try:
            while not self._ended:
                try:
                    unit = self.waiting.get_nowait()
                except queue.Empty:
                    return
                codes: list[int] = []
                while (part := self._ask(process := process or self._start(), unit)) is None:
                    codes.append(self._stop(process))
                    process = None
                    if self._ended:
                        return
                    if len(codes) == ATTEMPTS:
                        raise _ended_too_often(unit, codes[-1])
                self.results.put(part)
        except Exception as error:  # noqa: BLE001 -- raised by the thread that waits for the results
            self.results.put(error)
        finally:
            if process is not None:
                self._stop(process)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            process = subprocess.Popen(
                [sys.executable, "-m", "scanline.scoring.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(self.processes),
                # Ctrl-C on a terminal reaches the first process alone, which ends the others.
                start_new_session=True,
            )
            self._started.add(process)
            if self._ended:  # between the check of the caller and here
                process.kill()
        _send(process, self.config)
        return process

    def _ask(self, process: subprocess.Popen[bytes], unit: Unit) -> Part | None:
        """Return the part of a unit; None if the process has ended before it was written."""
        assert process.stdout is not None
        _send(process, json.dumps(asdict(unit)))
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        return part_of(line)

    def _stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a process, which does not score now, and return its exit code."""
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):  # a line that the process has not read
            process.stdin.close()  # it ends where its input does
        try:
            code = process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        with self._lock:
            self._started.discard(process)
        return code

    def end(self) -> None:
        """End all processes; the threads notice it."""
        with self._lock:
            self._ended = True
            for process in self._started:
                process.kill()


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    except OSError:  # it has ended, which the next read shows
        pass


def _ended_too_often(unit: Unit, code: int) -> ScanlineError:
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    return ScanlineError(
        f"scoring {unit.name}: {ATTEMPTS} processes ended one after another ({reason}); "
        "the machine may lack memory: use fewer --processes"
    )


def _environment(processes: int) -> dict[str, str]:
    """Return the environment of a process: its share of the cores, unless the user has set one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    defaults: dict[str, Any] = {"OMP_NUM_THREADS": str(max(1, cores // processes)), **spin_limit()}
    return defaults | os.environ
