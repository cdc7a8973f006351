"""A process that publishes runs for another one: `python -m scanline.tracking.worker`.

It reads a line of JSON from standard input: the target, the runs, and whether it follows a training. It
prints lines of JSON: {"note": text}, then {"tracked": ...} for each run or {"error": text}. It follows a
training until the line "end" or the end of the input, which means that the training was killed; then it makes
a last pass, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from scanline.errors import ScanlineError
from scanline.tracking.connection import NoConnection, check_reachable, configure_client
from scanline.tracking.target import Target
from scanline.training.checkpoint_folders import newest_checkpoint

# Imported when a server has been reached: a server that is down costs nothing but this process.
if TYPE_CHECKING:
    from scanline.tracking.publication import Publication, Tracked

POLL_S = 1.0  # between looks for a new checkpoint
LAST_PASS_S = 30.0  # for the last pass of a training that was killed
_LOCK_S = 30.0
_CONNECT_S, _LAST_CONNECT_S = 3.0, 0.5
_TIMEOUT_S = {True: 5, False: 30}  # for an answer, while a training is followed or not
_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0  # after failures


@dataclass
class Inbox:
    """What the other process says.

    Attributes:
        ended: Set at the end of the training.
        was_killed: Whether the training was killed.
    """

    ended: threading.Event = field(default_factory=threading.Event)
    was_killed: bool = False

    def read(self, stream: BinaryIO) -> None:
        """Wait for the end of the training."""
        line = stream.readline()
        self.was_killed = line != b"end\n"
        self.ended.set()
        if self.was_killed:
            # Nobody waits for this process any more.
            time.sleep(LAST_PASS_S)
            os._exit(1)


def main() -> None:
    """Publish what the input asks for."""
    # Whatever else is printed must not come between the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(**content: Any) -> None:
        with contextlib.suppress(OSError):  # the other process has ended
            print(json.dumps(content), file=replies, flush=True)

    # Ctrl-C on a terminal reaches this process, too; the other one handles it and says when to end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    request = json.loads(sys.stdin.buffer.readline())
    target, follows = Target(**request["target"]), request["follows"]
    configure_client(target, _TIMEOUT_S[follows])
    try:
        if follows:
            inbox = Inbox()
            threading.Thread(target=inbox.read, args=(sys.stdin.buffer,), daemon=True).start()
            if hasattr(os, "nice"):
                os.nice(19)  # training comes first
            tracked = _Follower(Path(request["runs"][0]), target, inbox, reply).follow()
            reply(tracked=tracked.to_json())
        else:
            threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
            check_reachable(target, _CONNECT_S)
            for run in request["runs"]:
                reply(tracked=_publish(Path(run), target).to_json())
    except ScanlineError as error:
        reply(error=str(error), code=error.exit_code)
    except Exception as error:  # noqa: BLE001 -- reported by the other process
        reply(error=f"publishing failed: {error!r:.300}", code=1)
    replies.flush()
    os._exit(0)  # threads of the client may wait for the server


def _end_with(stream: BinaryIO) -> None:
    """End this process when the other one does."""
    stream.read()
    os._exit(1)


def _publish(run: Path, target: Target) -> Tracked:
    """Publish a run that is finished, interrupted or being trained."""
    from scanline.tracking.publication import Publication

    publication = Publication(run, target)
    with publication.lock(_LOCK_S):
        return publication.update()


class _Follower:
    """Publishes a run while it is trained."""

    def __init__(self, run: Path, target: Target, inbox: Inbox, reply: Any) -> None:
        self._run, self._target, self._inbox, self._reply = run, target, inbox, reply
        self._publication: Publication | None = None
        self._failures, self._is_running = 0, False
        self._error: ScanlineError | None = None  # of the last pass
        self._newest: str | None = None  # the checkpoint whose lines were published

    def follow(self) -> Tracked:
        """Publish what each checkpoint seals, until the training ends; then the outcome.

        Raises:
            ScanlineError: If something is left to publish.
        """
        while not self._inbox.ended.is_set():
            pause = POLL_S
            try:
                self._pass()
                self._failures, self._error = 0, None
            except ScanlineError as error:
                self._error, self._newest = error, None
                if not self._failures:
                    self._reply(note=f"tracking: {error}; training continues")
                pause = min(_LONGEST_PAUSE_S, _PAUSE_S * 2**self._failures)
                self._failures += 1
            self._inbox.ended.wait(pause)
        # A server that did not answer just now must not make the end of the training wait for it.
        if self._error is not None and not isinstance(self._error, NoConnection):
            raise self._error
        publication = self._open(_LAST_CONNECT_S if self._failures else _CONNECT_S)
        return publication.update("KILLED" if self._inbox.was_killed else "FAILED")

    def _open(self, connect_s: float) -> Publication:
        """Return the publication, locked until this process ends, if the server can be reached."""
        check_reachable(self._target, connect_s)
        if self._publication is None:
            from scanline.tracking.publication import Publication

            publication = Publication(self._run, self._target)
            self._lock = publication.lock(_LOCK_S)
            self._publication = publication
        return self._publication

    def _pass(self) -> None:
        """Publish the lines of a new checkpoint, if there is one."""
        newest = newest_checkpoint(self._run)
        if newest is None or newest == self._newest:
            return
        publication = self._publication
        if publication is None or self._newest is None:  # at the beginning and after a failure
            publication = self._open(_CONNECT_S)
        publication.update(is_training=True)
        if not self._is_running:
            publication.set_running()
            self._is_running = True
        self._newest = newest


if __name__ == "__main__":
    main()
