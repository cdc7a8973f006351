"""Messages between the processes of a training, with deadlines: a process that is gone is noticed in seconds.

Gloo moves tensors in main memory, NCCL those on GPUs.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from scanline.errors import ScanlineError
from scanline.model.predictor import Abandoned

# Waiting is interrupted this often, so that Python handles signals.
_PULSE = datetime.timedelta(seconds=0.5)
# Machines need different times to start Python and torch.
_CONNECT_S = 60.0
# Enough to read the data. A process that ends in the meantime closes its connections, which ends the wait.
SETUP_S = 3600.0
# How long a process that has received a signal waits for the others.
_GRACE_S = 1.5
_AGAIN = "; training goes on from the newest checkpoint with those that are left"


class LostConnection(ScanlineError):
    """Another process of the training is gone, or did not answer in time."""


class Exchange:
    """The connections between all processes.

    Args:
        device: Device of the gradients, "cpu" or "cuda:N".
        timeout: Seconds after which a process that does not answer counts as lost.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        timeout: As given.
        stopping: Returns whether this process has received a signal; it then does not wait for lost ones.
    """

    def __init__(self, device: str, timeout: float) -> None:
        self.timeout = timeout
        self.stopping: Callable[[], bool] = lambda: False
        limit = datetime.timedelta(seconds=max(timeout, _CONNECT_S))
        try:
            # Every process connects to every other one, by way of a store at MASTER_ADDR.
            store, self.rank, self.size = next(iter(rendezvous("env://", timeout=limit)))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.size,
                # Deadlines are those of `_wait`, which knows what is waited for.
                timeout=datetime.timedelta(seconds=2 * SETUP_S),
            )
        except (RuntimeError, ValueError) as error:
            peers = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            raise LostConnection(
                f"cannot connect to the other processes at {peers}: {_first(error)}"
            ) from error

    def wait_for_end(self, seconds: float) -> None:
        """Wait until another process has closed its connections, at most `seconds`.

        That process makes no transfer meanwhile, so that this one can only fail.
        """
        with contextlib.suppress(LostConnection, Abandoned):
            self.gather_bytes(b"", seconds)

    def close(self) -> None:
        """Close the connections, once all processes need them no more."""
        dist.destroy_process_group()

    def _wait(self, work: dist.Work | None, seconds: float) -> None:
        """Wait for a transfer.

        Raises:
            LostConnection: If a process is gone, or after `seconds`.
            Abandoned: If this process has received a signal and the others do not answer.
        """
        assert work is not None
        started = time.monotonic()
        stop_at = None
        while True:
            try:
                work.wait(_PULSE)
                return
            except RuntimeError as error:
                # It may have ended well just after the pulse: then waiting again returns at once.
                if work.is_completed():
                    self._finish(work, error)
                    return
            now = time.monotonic()
            if self.stopping():
                stop_at = stop_at or now + _GRACE_S
                if now > stop_at:
                    raise Abandoned
            if now - started > seconds:
                raise LostConnection(f"another process has not answered for {seconds:.0f} s{_AGAIN}")

    @staticmethod
    def _finish(work: dist.Work, error: RuntimeError) -> None:
        """Raise LostConnection if a transfer that has ended has failed."""
        try:
            work.wait(_PULSE)
        except RuntimeError:
            raise LostConnection(
                f"lost the connection to another process ({_first(error)}){_AGAIN}"
            ) from error

    def all_to_all(
        self, sent: Tensor, sizes: Sequence[int], received_sizes: Sequence[int], seconds: float
    ) -> Tensor:
        """Send each process its piece of `sent`, and return the pieces that all have sent to this one.

        Args:
            sent: Pieces for all processes, one after the other.
            sizes: Number of elements for each process.
            received_sizes: Number of elements from each process.
            seconds: Longest wait.
        """
        received = sent.new_empty(sum(received_sizes))
        work = dist.all_to_all_single(received, sent, list(received_sizes), list(sizes), async_op=True)
        self._wait(work, seconds)
        return received

    def all_gather(self, piece: Tensor, seconds: float) -> Tensor:
        """Return the pieces (n,) of all processes as (size, n)."""
        gathered = piece.new_empty((self.size, *piece.shape))
        self._wait(dist.all_gather(list(gathered), piece, async_op=True), seconds)
        return gathered

    def gather_bytes(self, content: bytes, seconds: float) -> list[bytes]:
        """Return the bytes of all processes."""
        own = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
        lengths = self.all_gather(torch.tensor([len(content)], dtype=torch.int64, device="cpu"), seconds)[
            :, 0
        ].tolist()
        padded = torch.zeros(max(*lengths, 1), dtype=torch.uint8, device="cpu")
        padded[: len(own)] = own[: len(padded)]
        rows = self.all_gather(padded, seconds)
        return [row[:length].numpy().tobytes() for row, length in zip(rows, lengths, strict=True)]

    def broadcast_bytes(self, content: bytes, source: int, seconds: float) -> bytes:
        """Return the bytes of process `source`; those of the others are ignored."""
        length = torch.tensor([len(content)], dtype=torch.int64, device="cpu")
        self._wait(dist.broadcast(length, source, async_op=True), seconds)
        if not length:
            return b""
        if self.rank == source:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        else:
            data = torch.empty(int(length), dtype=torch.uint8, device="cpu")
        self._wait(dist.broadcast(data, source, async_op=True), seconds)
        return data.numpy().tobytes()


def _first(error: Exception) -> str:
    """Return the first sentence of torch's message."""
    return str(error).partition(". This is")[0].partition("\n")[0][:200]
