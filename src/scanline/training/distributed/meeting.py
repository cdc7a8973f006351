"""The meeting of agents: torch's c10d rendezvous, which a lost machine does not end for the others."""

from __future__ import annotations

import time

from torch.distributed import DistStoreError, Store  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import (
    RendezvousConnectionError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import RendezvousBackend, create_handler

from scanline.training.distributed.addresses import opens_port

BACKEND = "scanline"  # its name in torch's registry


class Meeting(RendezvousHandler):
    """A c10d rendezvous with two differences.

    If the first machine of a round is gone before the others have its address, they meet again. And a
    machine that gives up leaves the others the meeting; only the end of the training closes it.
    """

    def __init__(self, inner: RendezvousHandler) -> None:
        self._inner = inner

    def next_rendezvous(self) -> RendezvousInfo:
        """Meet the other machines."""
        while True:
            try:
                return self._inner.next_rendezvous()
            except DistStoreError:
                continue

    def shutdown(self) -> bool:
        """Do nothing: this is called after every failure, too."""
        return True

    # What follows is torch's.

    @property
    def use_agent_store(self) -> bool:
        """Whether the processes use the agent's store."""
        return self._inner.use_agent_store

    def get_backend(self) -> str:
        """Return the name of the backend."""
        return BACKEND

    def is_closed(self) -> bool:
        """Return whether the training has ended."""
        return self._inner.is_closed()

    def set_closed(self) -> None:
        """Tell all machines that the training has ended."""
        self._inner.set_closed()

    def num_nodes_waiting(self) -> int:
        """Return the number of machines that have come since the last meeting."""
        return self._inner.num_nodes_waiting()

    def get_run_id(self) -> str:
        """Return the name of the job."""
        return self._inner.get_run_id()


def _connected(parameters: RendezvousParameters) -> tuple[RendezvousBackend, Store]:
    """Connect to the endpoint, whose machine may come later, within the time for joining."""
    deadline = time.monotonic() + float(parameters.config["join_timeout"])
    while True:
        # Asked each time: another launcher on this machine may have opened the port in the meantime.
        parameters.config["is_host"] = opens_port(parameters.endpoint)
        try:
            return create_backend(parameters)
        except RendezvousConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def register() -> list[Meeting]:
    """Make `BACKEND` known to torch, and return the list to which it adds the meeting that it makes."""
    made: list[Meeting] = []

    def create(parameters: RendezvousParameters) -> RendezvousHandler:
        backend, store = _connected(parameters)
        made.append(Meeting(create_handler(store, backend, parameters)))
        return made[-1]

    rendezvous_handler_registry.register(BACKEND, create)
    return made
