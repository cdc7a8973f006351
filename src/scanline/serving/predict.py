"""`POST /v1/predict`: from a request to the bytes of its response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scanline.serving.admission import Admission, overloaded
from scanline.serving.asgi import Receive, Scope
from scanline.serving.batching import Batcher
from scanline.serving.body import Body, BodyMemory, discard_body
from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.problems import Problem
from scanline.serving.requests import Request, RequestParser
from scanline.serving.responses import Responder
from scanline.serving.uploads import content_type, query_flag, uploaded_files

Result = TypeVar("Result")
PATH = "/v1/predict"
_MAX_SLOW = 16


class PredictEndpoint:
    """Admits, parses and answers requests for predictions.

    Plain JSON is parsed in the event loop and computed by the batcher. Images, recordings, traces and large
    requests take longer than a batch and would delay it: one thread, `slow_thread`, works on them one after
    another, and on streams.
    """

    def __init__(
        self,
        responder: Responder,
        parser: RequestParser,
        limits: Limits,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._responder, self._parser, self._limits = responder, parser, limits
        self._admission, self._memory = admission, BodyMemory(limits.held_bytes)
        self._batcher = Batcher(responder.respond_all, limits, admission, metrics)
        # One thread: a second one would compete with the batcher for the same cores.
        self.slow_thread = ThreadPoolExecutor(1, thread_name_prefix="slow")
        self._slow_requests = 0

    def start(self) -> None:
        """Start computing, on the running event loop."""
        self._batcher.start()

    async def stop(self) -> None:
        """Stop, after what is being computed."""
        await self._batcher.stop()
        self.slow_thread.shutdown()

    async def respond(self, scope: Scope, receive: Receive) -> bytes:
        """Return the response to a request, as JSON.

        Raises:
            Problem: Of any kind.
        """
        try:
            self._admission.enter()
        except Problem:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.read_s):
                    await self._discard(scope, receive)
            raise
        # Admitted: from here on `release` and `leave` must run, also after an error or a cancellation.
        body = Body(self._limits, self._memory)
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return await self._respond(scope, receive, body)
        except TimeoutError:
            # The timeout cancels the waiting coroutine only. Work already running in a thread finishes
            # there, and its result is dropped.
            raise _late(self._limits, body) from None
        finally:
            body.release()
            self._admission.leave()

    async def _respond(self, scope: Scope, receive: Receive, body: Body) -> bytes:
        media_type = content_type(scope)
        content = await body.read(scope, receive)
        if media_type != b"application/json":
            with self._slow_place():
                files = await uploaded_files(scope, media_type, content)
                trace = query_flag(scope, "trace")
                return await self._in_thread(
                    lambda: self._responder.respond(self._parser.parse_files(files, trace))
                )
        # In the event loop: for requests of usual size, handing over to a thread takes longer than parsing.
        request = self._parser.parse_json(content)
        if request.is_plain and not self._batcher.is_heavy(request):
            return await self._batcher.submit(request)
        with self._slow_place():
            return await self._in_thread(lambda: self._respond_slowly(request))

    def _respond_slowly(self, request: Request) -> bytes:
        if request.is_plain:
            return self._responder.respond_all([request])[0]
        return self._responder.respond(request)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.slow_thread, work)

    @contextlib.contextmanager
    def _slow_place(self) -> Iterator[None]:
        """Count one more slow request while the context is entered.

        Raises:
            Problem: `overloaded`.
        """
        if self._slow_requests >= _MAX_SLOW:
            raise overloaded(_MAX_SLOW)
        self._slow_requests += 1
        try:
            yield
        finally:
            self._slow_requests -= 1

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        if not any(name == b"expect" for name, _ in scope["headers"]):  # then nothing has been sent yet
            await discard_body(receive, self._limits)


def _late(limits: Limits, body: Body) -> Problem:
    if body.complete:
        detail = f"there was no answer within {limits.deadline_s:g} s"
        return Problem("too-late", detail, headers=[("retry-after", "1")])
    detail = f"expected the whole request within {limits.deadline_s:g} s, found {body.received:,} bytes of it"
    return Problem("too-slow", detail, headers=[("connection", "close")])
