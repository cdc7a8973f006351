"""The outermost ASGI layer: access, slow readers, problem documents, metrics."""

from __future__ import annotations

import asyncio
import logging
import time

from scanline.serving.access import Access
from scanline.serving.asgi import App, Message, Receive, Scope, Send, refuse_websocket, send_problem
from scanline.serving.connections import Connection, Connections
from scanline.serving.limits import Limits
from scanline.serving.metrics import Metrics
from scanline.serving.problems import Problem

LOG = logging.getLogger("scanline.serving")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SMALL = 2**15  # bytes that a transport takes without waiting for the client


class Guard:
    """An ASGI application around another one.

    Args:
        app: The application inside.
        access: Who may use the server.
        limits: `read_s` is enforced here.
        metrics: Counts requests.
        connections: Notified when requests start and end; empty if another server runs the application.
    """

    def __init__(
        self, app: App, access: Access, limits: Limits, metrics: Metrics, connections: Connections
    ) -> None:
        self._app, self._access, self._limits, self._metrics = app, access, limits, metrics
        self.connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, WebSocket, or the lifespan."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check(scope)
        except Problem as problem:
            await refuse_websocket(scope, receive, send, problem)
            return
        await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        connection, pause_s = self.connections.of(scope), 0.0
        response = _Response(send, connection, self._limits.read_s)
        if connection is not None:
            connection.request_started()
            if not connection.body_length_known:
                receive = _watch_body(receive, connection)
        try:
            self._access.check(scope)
            await self._app(scope, receive, response.send)
        except Problem as problem:
            if problem.name == "overloaded":
                pause_s = self.connections.admission.reject(asyncio.get_running_loop().time())
            await send_problem(response.send, problem)
        except ConnectionError:
            pass  # the client is gone
        except Exception:
            LOG.exception("a request failed")
            # Once a response has started, its status line is sent; a second one would corrupt the
            # connection.
            if not response.status:
                await send_problem(response.send, Problem("failed", "the server failed; see its log"))
        finally:
            if connection is not None:
                connection.request_ended(pause_s)
        # A string from the direct routes, a route object from Starlette. Unrouted paths count as "other":
        # labels made from a client's paths would grow without bound.
        route = scope.get("route", "other")
        route = getattr(route, "path", route)
        # 499, as in nginx: the client closed the connection before a response started.
        self._metrics.requests.labels(route, response.status or 499).inc()
        self._metrics.seconds.labels(route).observe(time.perf_counter() - start)


class _Response:
    """Sends the messages of one response.

    Attributes:
        status: HTTP status code; 0 before the response starts.
    """

    def __init__(self, send: Send, connection: Connection | None, read_s: float) -> None:
        self._send, self._connection, self._read_s = send, connection, read_s
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a message, with the headers that every response has.

        Raises:
            ConnectionError: If the client does not accept the response in time.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # A new list: the one in the message may be shared between responses.
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
            if self._connection is not None and not self._connection.body_length_known:
                # The rest of the request's body could not be distinguished from the next request.
                message["headers"].append((b"connection", b"close"))
        elif len(message.get("body", b"")) >= _SMALL:
            try:  # a client that does not read must not keep the response in memory for ever
                async with asyncio.timeout(self._read_s):
                    await self._send(message)
            except TimeoutError:
                LOG.warning("a client took too long to receive a response")
                raise ConnectionError("the client is too slow") from None
            return
        await self._send(message)


def _watch_body(receive: Receive, connection: Connection) -> Receive:
    """Return `receive`, extended to notify the connection when the body is complete."""

    async def watched() -> Message:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            connection.body_received()
        return message

    return watched
