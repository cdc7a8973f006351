"""Ctrl-C and SIGTERM as a wish that is granted between two steps."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

PATIENCE_S = 1.0


class Interruption:
    """While entered, the first SIGINT or SIGTERM is only noted in `signal_number`; a second one acts at once.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._noted_at = 0.0
        self._before: dict[int, object] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number, self._noted_at = number, time.monotonic()
        self._restore()

    def is_overdue(self) -> bool:
        """Whether the wish is a second old: what takes longer than a step should be given up for it."""
        return self.signal_number is not None and time.monotonic() - self._noted_at > PATIENCE_S

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
