"""What every request passes, in and out: who may ask, how much may come in, how errors look."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.problems import MEDIA_TYPE, Problem

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("scanline.serving")
_OPEN = ("/", "/assets/", "/v2/health/", "/problems")  # without a token: they say nothing of the model
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SMALL = 2**15  # bytes that the transport takes at once


@dataclass(frozen=True)
class Access:
    """Who may ask. hosts: names that this server goes by, without port. origins: of pages, beside its own.
    token: what a client must show, empty if nobody need."""

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    token: str = ""

    def check(self, scope: Scope) -> None:
        """Raises Problem: wrong-host, foreign-origin, no-token."""
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if host_name(host) not in self.hosts:
            said = repr(host[:100]) if len(hosts) == 1 else f"{len(hosts)} of them"
            raise Problem("wrong-host", f"expected the header Host to name this server, found {said}")
        for name, value in headers:
            if name == b"origin":
                origin = value.decode("latin-1").lower()
                if origin.partition("://")[2] != host and origin not in self.origins:
                    raise Problem(
                        "foreign-origin", f"expected a page of {host}, found one of {origin[:100]!r}"
                    )
        if self.token and not _is_open(scope["path"]):
            shown = [value for name, value in headers if name == b"authorization"]
            wanted = b"Bearer " + self.token.encode()
            if len(shown) != 1 or not hmac.compare_digest(shown[0], wanted):
                detail = "expected Authorization: Bearer and this server's token, found " + (
                    "another" if shown else "none"
                )
                raise Problem("no-token", detail, headers=(("www-authenticate", "Bearer"),))


def host_name(host: str) -> str:
    """Of "name:port", "[::1]:port", or either without a port."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _is_open(path: str) -> bool:
    return path == "/" or any(path.startswith(each) for each in _OPEN[1:])


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: App, access: Access, limits: Limits, metrics: Metrics) -> None:
        self._app, self._access, self._limits, self._metrics = app, access, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI 3 application."""
        if scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check(scope)
        except Problem as problem:
            await refuse_stream(scope, receive, send, problem)
            return
        await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                await send(message)
                return
            if len(message.get("body", b"")) < _SMALL:
                await send(message)
                return
            try:  # a client that takes nothing off our hands must not hold it for ever
                async with asyncio.timeout(self._limits.read_s):
                    await send(message)
            except TimeoutError:
                LOG.warning("a client took too long to receive an answer")
                raise ConnectionError("the client is too slow") from None

        try:
            self._access.check(scope)
            await self._app(scope, receive, answer)
        except Problem as problem:
            await send_problem(answer, problem)
        except ConnectionError:
            pass
        except Exception:
            LOG.exception("a request failed")
            if not status:
                await send_problem(answer, Problem("failed", "the server failed; its log has more"))
        route = scope.get("route", "other")
        route = getattr(route, "path", route)
        self._metrics.requests.labels(route, status or 499).inc()
        self._metrics.seconds.labels(route).observe(time.perf_counter() - began)


async def send_problem(send: Send, problem: Problem) -> None:
    """The problem as the answer to a request."""
    body = problem.to_bytes()
    headers = [(name.encode(), value.encode()) for name, value in problem.headers]
    headers += [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_stream(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """The problem as the answer to a WebSocket's handshake."""
    await receive()  # its connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})
        return

    async def answer(message: Message) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    await send_problem(answer, problem)
