"""The team of several processes: who computes what, and how the results come together.

The bits do not depend on the number of processes: gradients are added in the order of `training.tree`, and a
sequence's prediction is the same in any batch.
"""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.source import SequenceSource
from scanline.errors import ScanlineError
from scanline.model.network import Network
from scanline.model.predictor import Abandoned, Predictor
from scanline.storage.digest import sha256
from scanline.storage.tensors import pack_tensors
from scanline.training.distributed.exchange import SETUP_S, Exchange
from scanline.training.distributed.launch_folder import meaning_of
from scanline.training.interruption import Interruption
from scanline.training.slices import signal_of
from scanline.training.team import Abandon, Team
from scanline.training.tree import Node, add_subtrees, bounds, subtrees

# Enough to write the model of a training that has failed.
_REPORT_S = 60.0


class DistributedTeam(Team):
    """Several processes that train one network.

    Args:
        exchange: The connections between them.
        mixed: Whether different bits are accepted; the weights of process `writer` then replace those of the
            others wherever they are compared.

    Attributes:
        exchange: As given.
        mixed: As given.
        writer: Rank of the process that writes the run directory.
        at_end: Called when this process ends, once the training has ended in all processes.
    """

    def __init__(self, exchange: Exchange, mixed: bool = False) -> None:
        super().__init__()
        self.rank, self.size = exchange.rank, exchange.size
        self.exchange, self.mixed, self.writer = exchange, mixed, 0
        self.at_end: Callable[[], None] = lambda: None
        self._agreed: int | None = None
        self._step_began = time.monotonic()

    @property
    def signal(self) -> int | None:
        """The signal that some process had received before the last step, or None."""
        # A process alone may compute whole batches, which no signals travel with.
        return self._agreed if self.size > 1 else self.received()

    def listen_to(self, interruption: Interruption) -> None:
        """Take signals from `interruption`; after one, lost processes are not waited for."""
        self.received = lambda: meaning_of(interruption.signal_number)
        self.exchange.stopping = lambda: interruption.signal_number is not None

    def finish(self) -> None:
        """Wait until all processes have ended the training and the run is written."""
        self.exchange.stopping = lambda: False  # nothing is left to stop
        self.exchange.gather_bytes(b"", SETUP_S)
        self.exchange.close()
        atexit.register(self.at_end)

    def wait_for_end(self) -> None:
        """Wait until another process has reported why the training ends, and has ended.

        The end of this process may end all others of this machine.
        """
        self.exchange.wait_for_end(_REPORT_S)

    def _patience(self, own_seconds: float) -> float:
        """Return how long to wait for others that do what took this process `own_seconds`."""
        return self.exchange.timeout + 4 * own_seconds

    def add_up(self, sums: Mapping[Node, Tensor], slices: int) -> Tensor:
        """Return the sum of all slices' vectors, with the same bits in every process.

        Each process adds one piece of the vector, from the subtrees of all processes, and gathers the others:
        about twice the size of the vector is sent and received.
        """
        k, exchange = self.size, self.exchange
        patience = self._patience(time.monotonic() - self._step_began)
        nodes = [list(subtrees((0, slices), bounds(slices, k, rank))) for rank in range(k)]
        vectors = [sums[node] for node in nodes[self.rank]]
        length = vectors[0].numel()
        piece = -(-length // k)
        # (k, roots, piece): the pieces for one process lie together.
        sent = vectors[0].new_zeros(len(vectors), k * piece)
        for row, vector in zip(sent, vectors, strict=True):
            row[:length] = vector
        sent = sent.view(len(vectors), k, piece).transpose(0, 1).reshape(-1)
        sizes = [len(each) * piece for each in nodes]
        received = exchange.all_to_all(sent, [len(vectors) * piece] * k, sizes, patience)
        everyone = [node for each in nodes for node in each]
        total = add_subtrees((0, slices), dict(zip(everyone, received.view(-1, piece), strict=True)))
        # Contiguous: a transfer must not read the other rows.
        vector = exchange.all_gather(total.contiguous(), patience).view(-1)[:length]
        self._agreed = signal_of(vector)
        self._step_began = time.monotonic()
        return vector

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the rows of all processes one after another; see `Team.gather`."""
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        rows = self.exchange.all_gather(padded, self._patience(time.monotonic() - self._step_began))
        self._step_began = time.monotonic()
        return torch.cat([each[:size] for each, size in zip(rows, sizes, strict=True)])

    def outputs(
        self, predictor: Predictor, source: SequenceSource, abandon: Abandon = None
    ) -> NDArray[np.float32]:
        """Return the outputs of `predictor` for all sequences; each process computes its share of them."""
        started, network = time.monotonic(), predictor.network
        first, end = bounds(len(source), self.size, self.rank)
        # Number of rows of the first 0, 1, ..., N sequences: one of each sequence, or of each step.
        rows = np.arange(len(source) + 1)
        if network.pooling.every_step:
            rows = np.append(0, np.cumsum(source.lengths))
        shares = [bounds(len(source), self.size, rank) for rank in range(self.size)]
        counts = [int(rows[end] - rows[first]) for first, end in shares]
        own = np.zeros((max(counts), network.architecture.classes), np.float32)
        stopped_by = 0
        try:
            if end > first:
                own[: counts[self.rank]] = predictor.outputs(source.take(slice(first, end)), abandon)
        except Abandoned:
            stopped_by = self.received() or signal.SIGINT
        patience = self._patience(time.monotonic() - started)
        flag = torch.tensor([stopped_by], dtype=torch.int64, device="cpu")
        signals = self.exchange.all_gather(flag, patience)
        if signals.any():
            self._agreed = int(signals.max())
            raise Abandoned
        gathered = self.exchange.all_gather(torch.from_numpy(own), patience).numpy()
        self._step_began = time.monotonic()
        return np.concatenate([each[:count] for each, count in zip(gathered, counts, strict=True)])

    def check_weights(self, network: Network, step: int) -> None:
        """Compare the weights of all processes after `step`.

        Raises:
            ScanlineError: If they differ and that is not accepted; names the processes.
        """
        content = pack_tensors(network.state_dict())
        digests = self.exchange.gather_bytes(sha256(content).encode(), self._patience(0.0))
        different = [rank for rank, digest in enumerate(digests) if digest != digests[self.writer]]
        if not different:
            return
        if not self.mixed:
            names = ", ".join(map(str, different))
            raise ScanlineError(
                f"after step {step} the weights of process {names} differ from those of process "
                f"{self.writer}: use machines with the same processor and packages, or --allow-mixed"
            )
        self.share_weights(network)

    def share_weights(self, network: Network) -> None:
        """Replace the weights of all processes by those of the writer."""
        with torch.no_grad():
            for tensor in network.state_dict().values():
                own = tensor.cpu().contiguous()
                content = self.exchange.broadcast_bytes(
                    own.numpy().tobytes(), self.writer, self._patience(0.0)
                )
                tensor.copy_(torch.frombuffer(bytearray(content), dtype=own.dtype).view(own.shape))
