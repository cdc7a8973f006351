"""The folder through which a launcher, its agent and the training processes of one machine tell how they end.

The launcher waits for the agent, the agent starts the processes. Signals and exit codes alone do not say
whether processes are to be started again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

from scanline.training.interruption import RESTART

_VARIABLE = "SCANLINE_LAUNCH"
_PARENT = "SCANLINE_LAUNCH_PARENT"
_WATCH_S = 0.5


class LaunchFolder:
    """The folder of a launch.

    Attributes:
        path: The folder.
        config: What the agent is to do.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.config = path, path / "config.json"

    @classmethod
    def current(cls) -> LaunchFolder | None:
        """Return the folder of the launch that this process belongs to; None if torchrun has started it."""
        path = os.environ.get(_VARIABLE)
        return cls(Path(path)) if path else None

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the children of this process."""
        return {_VARIABLE: str(self.path), _PARENT: str(os.getpid())}

    def write(self, name: str, content: str) -> None:
        """Write "outcome", "stopped" or "error"."""
        with contextlib.suppress(OSError):
            (self.path / name).write_text(content, encoding="utf-8")

    def read(self, name: str) -> str:
        """Return what was written; empty if nothing was."""
        with contextlib.suppress(OSError):
            return (self.path / name).read_text(encoding="utf-8")
        return ""

    def number(self, name: str) -> int | None:
        """Return a number that was written: the exit code "outcome" or the signal "stopped"."""
        content = self.read(name)
        return int(content) if content.isdecimal() else None


def meaning_of(number: int | None) -> int | None:
    """Return `number`, a signal that this process has received, or RESTART if the training is to go on.

    An agent sends SIGTERM both to end its processes and to start them again together with a new machine.
    """
    if number != signal.SIGTERM:
        return number
    folder = LaunchFolder.current()
    is_end = folder is not None and folder.number("stopped") is not None
    return number if is_end else RESTART


def end_launch(code: int) -> None:
    """Tell the agent that the training has ended with an exit code and must not be started again."""
    folder = LaunchFolder.current()
    if folder is not None:
        folder.write("outcome", str(code))
    count, most = (
        int(os.environ.get(f"TORCHELASTIC_{name}", 0)) for name in ("RESTART_COUNT", "MAX_RESTARTS")
    )
    if folder is not None or count < most:
        os.kill(os.getppid(), signal.SIGTERM)


def watch_parent() -> None:
    """End this process soon after its parent, however that ends.

    Its own launcher names itself in the environment, as it may have ended while this process started.
    """
    parent = int(os.environ.get(_PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
