"""Writing checkpoints in the background, so that training does not wait for the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class CheckpointWriter:
    """Runs the writing of checkpoints on one thread, one at a time and in order.

    The training thread copies the state to bytes before it hands over, so the two threads share no tensor.
    A failure is raised in the training thread, by the next call of any method but `close`.
    """

    def __init__(self) -> None:
        # Two writers at once could remove the checkpoint that the other one counts as the last valid one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=_lower_priority)
        self._pending: Future[object] | None = None

    def submit(self, write: Callable[[], object]) -> None:
        """Wait until the previous write is done, then start this one.

        Raises:
            Exception: Whatever the previous write raised.
        """
        self.wait()
        self._pending = self._thread.submit(write)

    def check(self) -> None:
        """Raise what the last write raised, if it has ended; otherwise return at once."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until everything is written, and raise what writing raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the write in progress and end the thread. Errors are ignored."""
        self._thread.shutdown()


def _lower_priority() -> None:
    """Mark the thread as a background job for Linux's scheduler.

    Otherwise it would preempt one of the training threads, and at the next barrier all others would wait
    for that one.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
