"""Requests that arrive together are computed together, on a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.problems import Problem
from scanline.serving.reading import Wish

RETRY_AFTER_S, _TURNED_AWAY_PER_S = 1, 500
_HEAVY_S = 0.05
_AT_ONCE_S = 3e-4  # what takes less is computed between two requests: to hand it to a thread costs as much


class Admission:
    """How many requests are under way, and whether one more may come in.

    What is bounded is all that was let in and not answered, not only what waits to be computed: in a burst
    it is in reading and writing that requests queue up.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.most, self.under_way, self.ending = most, 0, False
        self._metrics, self._next_hearing = metrics, 0.0
        metrics.under_way.set_function(lambda: self.under_way)

    @property
    def full(self) -> bool:
        """Whether the next one is turned away."""
        return self.under_way >= self.most

    def enter(self) -> None:
        """Let a request in. Raises Problem: overloaded, ending."""
        if self.ending:
            raise Problem("ending", "this server finishes what is under way and takes no more")
        if self.full:
            self.turn_away()
            raise overloaded(self.most)
        self.under_way += 1

    def turn_away(self, now: float = 0.0) -> float:
        """Count one that was not let in; returns for how long its client need not be listened to, seconds.

        At most so long as it was told to stay away, and so that those who come again too early take a
        bounded share of the time: _TURNED_AWAY_PER_S of them are heard.
        """
        self._metrics.turned_away.inc()
        self._next_hearing = max(self._next_hearing, now) + 1 / _TURNED_AWAY_PER_S
        return min(self._next_hearing - now, RETRY_AFTER_S)

    def leave(self) -> None:
        """The request was answered, in whatever way."""
        self.under_way -= 1


def overloaded(most: int) -> Problem:
    """What a request is told that comes when `most` are under way."""
    detail = f"{most} requests are under way, as many as may be"
    return Problem("overloaded", detail, headers=(("retry-after", str(RETRY_AFTER_S)),))


class Batcher:
    """Collects plain requests and answers them in batches.

    The first of a batch waits for others, `limits.wait_ms` at most, and only if there were others in the
    last batch: a client that is alone does not wait.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Wish]], list[bytes]],
        limits: Limits,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._compute, self._limits, self._admission, self._metrics = compute, limits, admission, metrics
        self._waiting: deque[tuple[Wish, asyncio.Future[bytes], float]] = deque()  # with when it came
        self._gathering = False
        self._count = 0  # sequences in `_waiting`
        self._last = 1  # requests in the last batch
        self._pace = 1e-6  # seconds for each value, of late
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End, after the batch that is being computed."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def answer(self, wish: Wish) -> bytes:
        """The answer to a plain request, computed with whatever else is there."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((wish, future, loop.time()))
        self._count += len(wish.sequences)
        if not self._gathering or self._ready():
            self._arrived.set()
        return await future

    def is_heavy(self, wish: Wish) -> bool:
        """Whether a request would hold up the others of its batch."""
        return wish.size * self._pace > _HEAVY_S

    def _ready(self) -> bool:
        """Whether there is nothing to gain by waiting."""
        here = len(self._waiting)
        return self._count >= self._limits.batch or (here >= self._last and here >= self._admission.under_way)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            if not self._waiting:
                await self._arrived.wait()
            if not self._ready():
                await self._gather(self._waiting[0][2] + self._limits.wait_ms / 1000)
            batch = self._take()
            if not batch:
                continue
            began, size = loop.time(), sum(wish.size for wish, _ in batch)
            wishes = [wish for wish, _ in batch]
            try:
                if size * self._pace < _AT_ONCE_S:
                    answers = self._compute(wishes)
                else:
                    answers = await loop.run_in_executor(self._thread, self._compute, wishes)
            except Exception as error:  # noqa: BLE001  # each of them is told, and the next batch is computed
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
            took = loop.time() - began
            self._pace += 0.1 * (took / size - self._pace)
            self._metrics.batch.observe(len(batch))
            self._metrics.compute.observe(took)

    async def _gather(self, until: float) -> None:
        """Wait for others, until then at most."""
        self._gathering = True
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._arrived.wait()
        self._gathering = False

    def _take(self) -> list[tuple[Wish, asyncio.Future[bytes]]]:
        """The next batch, without those that nobody waits for any more."""
        batch: list[tuple[Wish, asyncio.Future[bytes]]] = []
        count = 0
        while self._waiting and (
            not batch or count + len(self._waiting[0][0].sequences) <= self._limits.batch
        ):
            wish, future, _ = self._waiting.popleft()
            self._count -= len(wish.sequences)
            if not future.done():
                batch.append((wish, future))
                count += len(wish.sequences)
        self._last = max(len(batch), 1)
        return batch
