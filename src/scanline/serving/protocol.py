"""HTTP/1.1 on a socket: uvicorn's, with bounds on slow and large heads, and the surplus turned away early."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from scanline.serving.batching import Admission, overloaded
from scanline.serving.limits import Limits
from scanline.serving.problems import MEDIA_TYPE, Problem

_HEAD_ENDS, _LENGTH = b"\r\n\r\n", re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)
_UNUSUAL = re.compile(rb"\r\n(?:expect|connection|upgrade|transfer-encoding):", re.IGNORECASE)


def protocol(admission: Admission, limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol class for one server."""
    full = _whole(overloaded(limits.requests))
    late = f"expected a request's head within {limits.read_s:g} s"
    too_slow = _whole(Problem("too-slow", late), close=True)
    too_large = _whole(
        Problem("head-too-large", f"expected a head of at most {limits.head_bytes:,} bytes"), close=True
    )
    malformed = _whole(Problem("malformed", "expected HTTP/1.1, found something else"), close=True)
    crowded = _whole(
        Problem("overloaded", f"{limits.connections} connections are open, as many as may be"), close=True
    )

    class Protocol(HttpToolsProtocol):
        """One connection.

        While as many requests are under way as may be, others are answered with 503 before they are read:
        to turn one away must cost little beside answering one, or a flood of them leaves no time for answers.
        For the same reason a client that was turned away is not listened to for a moment, the longer the more
        of them there are.
        """

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._between, self._in_head, self._head_bytes = True, True, 0
            self._turned_away = False
            self._timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._end(crowded)
                return
            self._timer = self.loop.call_later(limits.idle_s, self._end, b"")

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if admission.full and self._between and _is_whole_post(data):
                self._unset_keepalive_if_required()
                self._turn_away()
                return
            self._between = False
            if self._in_head:
                self._head_bytes += len(data)
            super().data_received(data)
            if not self._in_head:
                return
            if self._head_bytes > limits.head_bytes:
                self._end(too_large)
            elif self._head_bytes == len(data):  # the first of it; the rest is to come
                self._stop_timer()
                self._timer = self.loop.call_later(limits.read_s, self._end, too_slow)

        def _end(self, last: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(last)
                self.transport.close()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _turn_away(self) -> None:
            deaf_s = admission.turn_away(self.loop.time())
            self.transport.write(full)
            self.flow.pause_reading()
            self._stop_timer()
            self._timer = self.loop.call_later(deaf_s, self._listen)

        def _listen(self) -> None:
            self._timer = None
            if not self.transport.is_closing():
                self.flow.resume_reading()
                if self._timer is None and self.timeout_keep_alive_task is None:
                    self._timer = self.loop.call_later(limits.idle_s, self._end, b"")

        def _is_large(self) -> bool:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            return size > limits.head_bytes

        def send_400_response(self, msg: str) -> None:
            self._end(malformed)

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_timer()
            if self._head_bytes > limits.head_bytes and self._is_large():  # it came with the body, or at once
                self._end(too_large)
                raise ValueError("the head is too large")  # the parser stops
            busy = self.cycle is not None and not self.cycle.response_complete
            if admission.full and not busy and self.parser.get_method() == b"POST":
                self._turned_away = True
                return
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if not self._turned_away:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._between, self._in_head, self._head_bytes = True, True, 0
            if self._turned_away:
                self._turned_away = False
                self._turn_away()
            else:
                super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._between = self._in_head and not self._head_bytes and not self.pipeline

    return Protocol


def _is_whole_post(data: bytes) -> bool:
    """Whether `data` is one request with a body, nothing unusual about it."""
    if not data.startswith(b"POST "):
        return False
    end = data.find(_HEAD_ENDS)
    length = _LENGTH.search(data, 0, end + 2)
    if end < 0 or length is None or len(data) != end + 4 + int(length[1]):
        return False
    return _UNUSUAL.search(data, 0, end + 2) is None


def _whole(problem: Problem, close: bool = False) -> bytes:
    """All bytes of an answer."""
    body = problem.to_bytes()
    lines = [
        f"HTTP/1.1 {problem.status} {problem.name}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        *(f"{name}: {value}" for name, value in problem.headers),
        *(["connection: close"] if close else []),
    ]
    return "\r\n".join(lines).encode() + _HEAD_ENDS + body
