"""Types of ASGI 3, and responses that are sent without a framework."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from scanline.serving.problems import MEDIA_TYPE, Problem

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CLOSE_S = 1.0  # for a connection to close after a handshake was refused


async def send_json(send: Send, body: bytes) -> None:
    """Send a response with status 200."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, problem: Problem) -> None:
    """Send a problem as the response to a request."""
    body = problem.to_bytes()
    headers = [(name.encode(), value.encode()) for name, value in problem.headers]
    headers += [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Send a problem as the response to a WebSocket's handshake."""
    await receive()  # websocket.connect
    # Without this ASGI extension a handshake can only be refused by closing, without a problem document. A
    # close reason holds at most 123 bytes (RFC 6455, section 5.5).
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})
        return

    # The extension renames the events: "websocket.http.response.start" and ".body".
    async def respond(message: Message) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    await send_problem(respond, problem)
    # uvicorn logs an error if the application returns before the connection is closed. It puts one disconnect
    # in the queue with the response, and another when the connection is closed.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await receive()
            await receive()
