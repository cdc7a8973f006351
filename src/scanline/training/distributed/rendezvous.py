"""The place where the machines of a training meet, in a process of its own.

Otherwise the first machine's agent has it, and the others cannot go on when that machine is gone.
"""

from __future__ import annotations

import threading

from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]

from scanline.errors import ScanlineError


class Rendezvous:
    """Serves agents until the process ends.

    Args:
        port: Port to open on all of this machine's addresses; 0 takes a free one.

    Attributes:
        port: The port that is open.

    Raises:
        ScanlineError: If the port cannot be opened.
    """

    def __init__(self, port: int) -> None:
        try:
            self._store = TCPStore("0.0.0.0", port, is_master=True, wait_for_workers=False)
        except DistNetworkError as error:
            raise ScanlineError(
                f"port {port} cannot be opened, another program may be using it: choose another --port"
            ) from error
        self.port: int = self._store.port

    def serve(self) -> None:
        """Serve until the process ends."""
        threading.Event().wait()
