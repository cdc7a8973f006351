"""Requests that arrive at the same time are computed together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from scanline.serving.admission import Admission
from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.requests import Request

_HEAVY_S = 0.05
_INLINE_S = 3e-4  # a batch that takes less is computed in the event loop: a thread would cost as much


class Batcher:
    """A queue of plain requests, which are answered in batches.

    The first request of a batch waits for others, at most `limits.wait_ms`, and only if there were others in
    the last batch: a single client does not wait.

    All state belongs to the event loop's thread. `_compute` runs in the event loop if the batch is small,
    otherwise in `_thread`; one batch is computed at a time, so the queue grows meanwhile and the next batch
    is larger.

    Args:
        compute: Returns one response for each request.
        limits: `batch` and `wait_ms`.
        admission: Says how many requests are in flight, and so whether waiting can gain anything.
        metrics: Records sizes and times of batches.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Request]], list[bytes]],
        limits: Limits,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._compute, self._limits, self._admission, self._metrics = compute, limits, admission, metrics
        self._queue: deque[tuple[Request, asyncio.Future[bytes], float]] = deque()  # with the time of arrival
        self._gathering = False
        self._queued_sequences = 0
        self._last_batch = 1  # requests in the last batch
        self._s_per_value = 1e-6  # moving average
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start computing, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop after the batch that is being computed."""
        # The server stops only after all requests were answered or given up: the queue
        # holds no request that a client still waits for.
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def submit(self, request: Request) -> bytes:
        """Return the response to a plain request, computed together with others."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._queue.append((request, future, loop.time()))
        self._queued_sequences += len(request.sequences)
        # Waking the task for every arrival would cost more than the batch gains.
        if not self._gathering or self._is_ready():
            self._arrival.set()
        return await future

    def is_heavy(self, request: Request) -> bool:
        """Return whether a request would delay the others of its batch."""
        return request.size * self._s_per_value > _HEAVY_S

    def _is_ready(self) -> bool:
        """Return whether waiting for more requests gains nothing."""
        queued = len(self._queue)
        # Requests in flight that are not queued are still being received, written or computed elsewhere;
        # some of them may join the batch. Once all are queued, or the batch is full, waiting cannot enlarge
        # it.
        full = self._queued_sequences >= self._limits.batch
        return full or (queued >= self._last_batch and queued >= self._admission.in_flight)

    async def _run(self) -> None:
        while True:
            # Cleared before the queue is looked at: an arrival between the two would be missed otherwise.
            self._arrival.clear()
            if not self._queue:
                await self._arrival.wait()
            if not self._is_ready():
                await self._gather(self._queue[0][2] + self._limits.wait_ms / 1000)
            batch = self._take()
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[Request, asyncio.Future[bytes]]]) -> None:
        """Compute a batch and resolve its futures."""
        loop = asyncio.get_running_loop()
        start, size = loop.time(), sum(request.size for request, _ in batch)
        requests = [request for request, _ in batch]
        try:
            # Only this task computes, and it awaits each batch before it takes the next one, so `_compute`
            # never runs twice at the same time.
            if size * self._s_per_value < _INLINE_S:
                responses = self._compute(requests)
            else:
                responses = await loop.run_in_executor(self._thread, self._compute, requests)
        except Exception as error:  # noqa: BLE001  # each client gets it, and the next batch is computed
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), response in zip(batch, responses, strict=True):
            if not future.done():  # its client may have gone or its deadline passed meanwhile
                future.set_result(response)
        elapsed = loop.time() - start
        # Exponential moving average over about ten batches: one slow batch must not divert everything to
        # the slow thread.
        self._s_per_value += 0.1 * (elapsed / size - self._s_per_value)
        self._metrics.batch.observe(len(batch))
        self._metrics.compute.observe(elapsed)

    async def _gather(self, deadline: float) -> None:
        """Wait until the batch is ready, or until `deadline` on the event loop's clock."""
        self._gathering = True
        self._arrival.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._arrival.wait()
        self._gathering = False

    def _take(self) -> list[tuple[Request, asyncio.Future[bytes]]]:
        """Remove the next batch from the queue, without requests that were cancelled."""
        batch: list[tuple[Request, asyncio.Future[bytes]]] = []
        count = 0
        # The first request is always taken: one with more sequences than `limits.batch` would otherwise
        # block the queue for ever.
        while self._queue and (not batch or count + len(self._queue[0][0].sequences) <= self._limits.batch):
            request, future, _ = self._queue.popleft()
            self._queued_sequences -= len(request.sequences)
            if not future.done():
                batch.append((request, future))
                count += len(request.sequences)
        self._last_batch = max(len(batch), 1)
        return batch
