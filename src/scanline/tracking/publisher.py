"""Starts the process that publishes runs, and listens to it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scanline.errors import ModelError, ScanlineError
from scanline.tracking.facts import check_run
from scanline.tracking.publication import Tracked
from scanline.tracking.target import Target, check_installed

END_S = 30.0  # how long the end of a training waits for a server that answers


class Publisher:
    """Publishes a run while it is trained, in another process, so that training never waits.

    Attributes:
        run: The run directory.
        target: The server.
    """

    def __init__(self, run: Path, target: Target) -> None:
        self.run, self.target = run, target
        self._process = _start(target, [run], follows=True)
        self._replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for reply in _replies(self._process):
            self._replies.put(reply)

    def notes(self) -> list[str]:
        """Return what has to be reported since the last call."""
        notes = []
        while not self._replies.empty():
            reply = self._replies.get()
            if "note" in reply:
                notes.append(reply["note"])
            elif "error" in reply:
                notes.append(f"tracking: {reply['error']}; {self._remedy()}")
            else:
                notes.append(f"tracked: {reply['tracked']['url'] or self.target.shown}")
        return notes

    def close(self, timeout_s: float = END_S) -> list[str]:
        """Publish the rest, and return what has to be reported.

        Args:
            timeout_s: How long to wait for it.
        """
        try:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # it has failed and written why
                self._process.stdin.write(b"end\n")
                self._process.stdin.close()
            self._process.wait(timeout_s)
            self._reader.join()
            return self.notes()
        except subprocess.TimeoutExpired:
            return [*self.notes(), f"tracking: {self.target.shown} is slow; {self._remedy()}"]
        finally:
            _kill(self._process)  # also after a second Ctrl-C

    def _remedy(self) -> str:
        words = ["scanline", "track", str(self.run), "--to", self.target.shown]
        return f"publish the rest with `{shlex.join(words)}`"


@contextlib.contextmanager
def publishing(run: Path, target: Target | None, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Publish a run while it is trained in the block.

    Yields a function to call now and then, which reports messages.

    Args:
        run: The run directory.
        target: The server; None publishes nothing.
        say: Called with messages.
    """
    if target is None:
        yield lambda: None
        return
    publisher = Publisher(run, target)

    def report() -> None:
        for line in publisher.notes():
            say(line)

    try:
        yield report
    finally:
        for line in publisher.close():
            say(line)


def track(
    runs: Sequence[Path], target: Target, on_tracked: Callable[[Tracked], None] | None = None
) -> list[Tracked]:
    """Publish runs, or what is missing of them on the server.

    Args:
        runs: Run directories.
        target: The server.
        on_tracked: Called after each run.

    Raises:
        ModelError: If one of them is not a run directory.
        MissingExtraError: If MLflow's client is not installed.
        ScanlineError: If the server does not answer or refuses a request; runs before that are published.
    """
    check_installed()
    for run in runs:
        check_run(run)
    process, published = _start(target, runs, follows=False), []
    try:
        for reply in _replies(process):
            if "error" in reply:
                kind = ModelError if reply["code"] == ModelError.exit_code else ScanlineError
                raise kind(reply["error"])
            published.append(Tracked(**reply["tracked"]))
            if on_tracked is not None:
                on_tracked(published[-1])
    finally:
        _kill(process)
    if len(published) < len(runs):
        raise ScanlineError(f"the process that publishes {runs[len(published)]} has ended: publish it again")
    return published


def _start(target: Target, runs: Sequence[Path], follows: bool) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scanline.tracking.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # MLflow's own messages
        env=dict(os.environ),
    )
    assert process.stdin is not None
    request = {"target": asdict(target), "runs": [str(run) for run in runs], "follows": follows}
    # In a pipe, not among the arguments, which other users of the machine can read.
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what was not written
            process.stdin.close()


def _replies(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.endswith(b"\n"):
                reply: dict[str, Any] = json.loads(line)
                yield reply
