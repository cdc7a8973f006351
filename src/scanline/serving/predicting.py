"""`POST /v1/predict`: from a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from scanline.serving.batching import Admission, Batcher, overloaded
from scanline.serving.body import Body, Holdings
from scanline.serving.guard import Receive, Scope, Send
from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.predictor import Predictor
from scanline.serving.problems import Problem
from scanline.serving.reading import Reader

Given = TypeVar("Given")
Made = TypeVar("Made")
PATH = "/v1/predict"
_MOST_FIELDS = 100  # of a query
_MOST_ASIDE = 16  # requests for traces and pictures under way at once


class Predicting:
    """Lets requests in, reads them, and has them answered.

    aside: the thread of all that takes longer than a batch, and would hold it up: pictures, traces, streams.
    """

    def __init__(
        self, predictor: Predictor, reader: Reader, limits: Limits, admission: Admission, metrics: Metrics
    ) -> None:
        self._predictor, self._reader, self._limits = predictor, reader, limits
        self._admission, self._holdings = admission, Holdings(limits.held_bytes)
        self._batcher = Batcher(predictor.answer_all, limits, admission, metrics)
        self.aside = ThreadPoolExecutor(1, thread_name_prefix="aside")
        self._under_way_aside = 0

    def start(self) -> None:
        """Begin to compute, on the running loop."""
        self._batcher.start()

    async def stop(self) -> None:
        """End, after what is being computed."""
        await self._batcher.stop()
        self.aside.shutdown()

    async def answer(self, scope: Scope, receive: Receive) -> bytes:
        """The answer to a request, JSON. Raises Problem."""
        limits = self._limits
        self._admission.enter()
        body = Body(limits, self._holdings)
        try:
            async with asyncio.timeout(limits.deadline_s):
                kind = _content_type(scope)
                content = await body.read(scope, receive)
                if kind != b"application/json":
                    with self._aside():
                        return await self._of_pictures(scope, kind, content)
                wish = self._reader.json(content)
                if not wish.plain:
                    return await self._in_thread(self._predictor.show, wish)
                if self._batcher.is_heavy(wish):
                    return (await self._in_thread(self._predictor.answer_all, [wish]))[0]
                return await self._batcher.answer(wish)
        except TimeoutError:
            raise _too_late(limits, body) from None
        finally:
            body.let_go()
            self._admission.leave()

    async def _in_thread(self, work: Callable[[Given], Made], given: Given) -> Made:
        with self._aside():
            return await asyncio.get_running_loop().run_in_executor(self.aside, work, given)

    async def _of_pictures(self, scope: Scope, kind: bytes, body: bytes) -> bytes:
        if kind.startswith(b"image/"):
            files = [("the picture", body)]
        elif kind == b"multipart/form-data":
            files = await _files(scope, body)
        else:
            said = repr(kind[:80].decode("latin-1")) if kind else "no Content-Type"
            detail = f"expected application/json, image/..., or multipart/form-data, found {said}"
            raise Problem("wrong-type", detail)
        traced = _flag(scope, "trace")

        def both() -> bytes:
            return self._predictor.show(self._reader.pictures(files, traced))

        return await asyncio.get_running_loop().run_in_executor(self.aside, both)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """While entered, one request more is answered aside. Raises Problem: overloaded."""
        if self._under_way_aside >= _MOST_ASIDE:
            raise overloaded(_MOST_ASIDE)
        self._under_way_aside += 1
        try:
            yield
        finally:
            self._under_way_aside -= 1


def _too_late(limits: Limits, body: Body) -> Problem:
    if body.complete:
        detail = f"there was no answer within {limits.deadline_s:g} s"
        return Problem("too-late", detail, headers=(("retry-after", "1"),))
    detail = f"expected the whole request within {limits.deadline_s:g} s, found {body.received:,} bytes of it"
    return Problem("too-slow", detail, headers=(("connection", "close"),))


def _content_type(scope: Scope) -> bytes:
    """Without its parameters."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind: bytes = value.partition(b";")[0].strip().lower()
            return kind
    return b""


def _flag(scope: Scope, name: str) -> bool:
    query = scope["query_string"].decode("latin-1")
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem("wrong-values", f"expected at most {_MOST_FIELDS} fields in the query") from None
    value: str = given.get(name, ["false"])[-1]
    if value not in ("true", "false"):
        raise Problem("wrong-values", f"{name}: expected true or false, found {value[:40]!r}")
    return value == "true"


async def _files(scope: Scope, body: bytes) -> list[tuple[str, bytes]]:
    """The files of a form, in its order."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(Headers(scope=scope), pieces(), max_fields=0).parse()
    except (MultiPartException, KeyError, ValueError) as error:  # the last of a charset that it names
        raise Problem("malformed", f"expected a form of pictures: {error}") from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        return [
            (each.filename or name, await each.read())
            for name, each in form.multi_items()
            if isinstance(each, UploadFile)
        ]


async def send_answer(send: Send, body: bytes) -> None:
    """The answer to a request that could be answered."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
