"""Ctrl-C and SIGTERM during training: handled at step boundaries."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

GRACE_S = 1.0
# Stands for a SIGTERM after which an agent starts its processes again: they only save their state.
RESTART = getattr(signal, "SIGUSR2", signal.SIGTERM)


class Interruption:
    """Context that records the first SIGINT or SIGTERM; a second one has its usual effect.

    Python runs signal handlers between bytecodes of the main thread. Raising there could leave a step or a
    file half done, so the handler only sets `signal_number`, and the training loop asks for it.
    In other threads, where Python allows no handlers, the context does nothing.

    Attributes:
        signal_number: The signal received, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._received_at = 0.0
        self._handlers: dict[int, object] = {}

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.signal_number, self._received_at = number, time.monotonic()
        self._restore()  # so that a second signal acts at once

    def is_overdue(self) -> bool:
        """Return whether the signal came more than `GRACE_S` seconds ago.

        A long evaluation is then abandoned rather than finished.
        """
        return self.signal_number is not None and time.monotonic() - self._received_at > GRACE_S

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._handlers.clear()

    def __enter__(self) -> Interruption:
        # signal.signal raises ValueError in any other thread.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
