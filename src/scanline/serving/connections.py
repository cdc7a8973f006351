"""Connection limits below HTTP: slow and large heads, too many connections, early rejection.

uvicorn has no settings for these, and ASGI begins only after the head of a request. `Connection` is therefore
an `asyncio.Protocol` between the socket and uvicorn's protocol. It uses only what asyncio and ASGI document:
it passes bytes on in both directions, follows where requests begin and end, and is notified by the
application when a request starts and ends. It does not parse HTTP: uvicorn decides what is a valid request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from scanline.serving.admission import Admission, overloaded
from scanline.serving.limits import LINGER, Limits
from scanline.serving.problems import MEDIA_TYPE, Problem
from scanline.serving.transport import GuardedTransport

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n")
# With one of these headers, Content-Length does not determine the end of the body, or of HTTP itself.
_OTHER_FRAMING = (b"\r\ntransfer-encoding:", b"\r\nupgrade:", b"\r\nexpect:")
_OTHER_CONNECTION = re.compile(rb"\r\nconnection:(?![ \t]*keep-alive[ \t]*\r\n)", re.IGNORECASE)


class Connections:
    """The open connections of one server.

    Args:
        admission: How many requests are in flight; asked before a request is parsed.
        limits: `head_bytes`, `read_s`, `idle_s` and `connections` are enforced here.
    """

    def __init__(self, admission: Admission, limits: Limits) -> None:
        self.admission, self.limits = admission, limits
        self.count = 0
        self.by_client: dict[tuple[str, int], Connection] = {}
        # Responses that may be sent in large numbers, or before uvicorn sees the request, are built once.
        self.full = response_bytes(overloaded(limits.requests))
        self.slow_head = response_bytes(
            Problem("too-slow", f"expected a request's head within {limits.read_s:g} s"), close=True
        )
        self.large_head = response_bytes(
            Problem("head-too-large", f"expected a head of at most {limits.head_bytes:,} bytes"), close=True
        )
        self.malformed = response_bytes(
            Problem("malformed", "expected HTTP/1.1, found something else"), close=True
        )
        self.crowded = response_bytes(
            Problem("overloaded", f"{limits.connections} connections are open, which is the limit"),
            close=True,
        )

    def of(self, scope: MutableMapping[str, Any]) -> Connection | None:
        """Return the connection that an ASGI scope came over; None if it is not one of this server's."""
        client = scope.get("client")
        return None if client is None else self.by_client.get(tuple(client))

    def protocol(self, http: Callable[..., asyncio.Protocol]) -> type[asyncio.Protocol]:
        """Return the protocol class to listen with.

        Args:
            http: uvicorn's protocol class; called with the arguments that uvicorn passes to a protocol class.
        """
        connections = self

        class Guarded(Connection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(connections, http(*args, **kwargs))

        return Guarded


class Connection(asyncio.Protocol):
    """One connection.

    While the limit of requests in flight is reached, others get 503 before they are parsed: a rejection must
    cost far less than a prediction, or a flood of requests would leave no time for predictions. For the same
    reason reading from a rejected client is paused, for longer if many clients are rejected.

    All methods run in the event loop's thread. Invariant: `_body_left`, `_opaque` and `_head` describe the
    next byte from the client: inside a body of known length, inside one of unknown length, or in a head of
    which `_head` has been received.
    """

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._all, self._inner = connections, inner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._client: tuple[str, int] | None = None
        self._refused = False  # too many connections: uvicorn does not know of this one
        self._upgraded = False  # to WebSocket: no HTTP any more
        self._head = b""
        self._body_left, self._opaque, self._opaque_bytes = 0, False, 0
        self._discard = 0  # bytes of a rejected request's body that are still to come
        self._heads, self._started, self._ended = 0, 0, 0  # heads received, requests started and ended
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._pause_timer: asyncio.TimerHandle | None = None

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection; close it at once if there are too many."""
        transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport = transport
        self._all.count += 1
        if self._all.count > self._all.limits.connections:
            self._refused = True
            self._close(self._all.crowded)
            return
        name = transport.get_extra_info("peername")
        if name:
            self._client = str(name[0]), int(name[1])
            self._all.by_client[self._client] = self
        self._inner.connection_made(GuardedTransport(transport, self, self._all.malformed, self.upgrade))
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.count -= 1
        self._stop_timers()
        # The operating system may have given the address to a new connection already: remove only our own
        # entry.
        if self._client is not None and self._all.by_client.get(self._client) is self:
            del self._all.by_client[self._client]
        if not self._refused:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, unless they are of a request that is rejected or a head that is too large."""
        if self._upgraded:
            self._inner.data_received(data)
        elif self._refused or self._is_closing():
            return
        elif self._discard:
            self._discard_body(data)
        elif self._all.admission.full and self._between_requests and self._reject(data):
            return
        elif self._follow(data):
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return None if self._refused else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        if not self._refused:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if not self._refused:
            self._inner.resume_writing()

    # --- the application's side

    @property
    def body_length_known(self) -> bool:
        """Whether Content-Length determines the end of the current request's body."""
        return not self._opaque

    def request_started(self) -> None:
        """The application has a request: its head was complete."""
        self._started += 1
        if self._started > self._heads:  # uvicorn found the end of a head that we did not: follow uvicorn
            self._heads = self._started
            self._head, self._opaque, self._opaque_bytes = b"", True, 0
            self._stop_head_timer()

    def body_received(self) -> None:
        """The application has the whole body of a request whose body's length was not known."""
        self._opaque = False

    def request_ended(self, pause_s: float = 0.0) -> None:
        """The application has sent a response, or given up.

        Args:
            pause_s: How long not to read from this client.
        """
        self._ended += 1
        self._opaque = False
        if self._transport is None or self._upgraded or self._is_closing():
            return
        if pause_s and self._between_requests:
            self._pause(pause_s)
        else:
            self._wait_for_request()

    def upgrade(self, protocol: asyncio.Protocol) -> None:
        """Pass everything to `protocol` from now on; called when uvicorn changes to WebSocket."""
        self._stop_timers()
        self._inner, self._upgraded = protocol, True

    # --- framing

    @property
    def _between_requests(self) -> bool:
        """Whether the next byte is the first of a request and no other is in flight on this connection."""
        return not (self._head or self._body_left or self._opaque) and self._heads == self._ended

    def _follow(self, data: bytes) -> bool:
        """Follow where heads and bodies end; return whether `data` may be passed on."""
        position = 0
        while position < len(data):
            if self._opaque:
                self._opaque_bytes += len(data) - position
                if self._opaque_bytes > self._all.limits.body_bytes * LINGER + self._all.limits.head_bytes:
                    self._close(b"")
                    return False
                return True
            if self._body_left:
                step = min(self._body_left, len(data) - position)
                self._body_left -= step
                position += step
                continue
            if not self._head and data[position] in b"\r\n":  # blank lines before a request are ignored
                position += 1
                continue
            had = len(self._head)
            head = self._head + data[position:] if had else data[position:] if position else data
            end = head.find(_HEAD_END, max(0, had - 3))
            if (end if end >= 0 else len(head)) > self._all.limits.head_bytes:
                self._close(b"" if self._heads > self._ended else self._all.large_head)
                return False
            if end < 0:
                self._head = head
                if self._head_timer is None:
                    delay = self._all.limits.read_s
                    self._head_timer = self._loop.call_later(delay, self._on_slow_head)
                return True
            self._head = b""
            self._stop_head_timer()
            self._heads += 1
            self._idle_since = self._loop.time()
            self._expect_body(head[: end + 2])
            position += end + 4 - had
        return True

    def _expect_body(self, head: bytes) -> None:
        length = content_length(head)
        self._opaque, self._opaque_bytes = length is None, 0
        self._body_left = length or 0

    # --- rejecting requests

    def _reject(self, data: bytes) -> bool:
        """Reject the request that begins with `data` if it is a plain POST; return whether it was."""
        end = data.find(_HEAD_END)
        if end < 0 or not data.startswith(b"POST ") or _OTHER_CONNECTION.search(data, 0, end + 2):
            return False
        length = content_length(data[: end + 2])
        rest = len(data) - end - 4
        # Pipelined requests, unknown framing and bodies that are too large take the normal path, which
        # handles them.
        if length is None or rest > length or length > self._all.limits.body_bytes:
            return False
        self._discard = length - rest
        # Same timer as for heads: a client that stalls inside a rejected body is closed after `read_s`.
        if self._discard:  # a response before the request is complete would confuse many clients
            self._head_timer = self._loop.call_later(self._all.limits.read_s, self._close, b"")
        else:
            self._send_full()
        return True

    def _discard_body(self, data: bytes) -> None:
        rest = data[self._discard :]
        self._discard = max(0, self._discard - len(data))
        if self._discard:
            return
        self._stop_head_timer()
        self._send_full()
        if rest:
            self.data_received(rest)

    def _send_full(self) -> None:
        assert self._transport is not None
        self._transport.write(self._all.full)
        self._pause(self._all.admission.reject(self._loop.time()))

    def _pause(self, seconds: float) -> None:
        """Do not read from the client for a while."""
        assert self._transport is not None
        self._transport.pause_reading()
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        self._pause_timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause_timer = None
        if self._transport is not None and not self._is_closing():
            self._transport.resume_reading()
            self._wait_for_request()

    # --- timers

    def _wait_for_request(self) -> None:
        """Close the connection if no request comes within `idle_s`.

        One timer is kept going and looks at `_idle_since`, since a timer for each request costs more.
        """
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._all.limits.idle_s, self._on_idle)

    def _on_idle(self) -> None:
        self._idle_timer = None
        if self._started > self._ended:
            return  # `request_ended` starts it again
        # The timer may fire slightly early, hence the tolerance of 1 ms and the minimum delay of 10 ms.
        left = self._idle_since + self._all.limits.idle_s - self._loop.time()
        if self._head_timer is None and left <= 0.001:
            self._close(b"")
        else:  # a head that is incomplete has its own, shorter timer
            self._idle_timer = self._loop.call_later(max(left, 0.01), self._on_idle)

    def _on_slow_head(self) -> None:
        self._head_timer = None
        if self._heads > self._ended:  # a response must not overtake that of the request before
            self._head_timer = self._loop.call_later(self._all.limits.read_s, self._on_slow_head)
        else:
            self._close(self._all.slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        for timer in (self._idle_timer, self._pause_timer):
            if timer is not None:
                timer.cancel()
        self._idle_timer = self._pause_timer = None

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _close(self, last: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if last:
                self._transport.write(last)
            self._transport.close()


def content_length(head: bytes) -> int | None:
    """Return the length of the body after a head; None if more than one Content-Length header decides it."""
    lowered = head.lower()
    if any(name in lowered for name in _OTHER_FRAMING):
        return None
    count = lowered.count(b"\r\ncontent-length:")
    # No Content-Length and no Transfer-Encoding: a request has no body (RFC 9112, section 6.3).
    if count == 0:
        return 0
    # Two lengths, or one that is not a plain number, are a request smuggling attempt or a broken client:
    # framing counts as unknown, and uvicorn decides.
    length = _LENGTH.search(lowered)
    return int(length[1]) if length is not None and count == 1 else None


def response_bytes(problem: Problem, close: bool = False) -> bytes:
    """Return all bytes of a response, for use outside of ASGI."""
    body = problem.to_bytes()
    lines = [
        f"HTTP/1.1 {problem.status} {problem.name}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        *(f"{name}: {value}" for name, value in problem.headers),
        *(["connection: close"] if close else []),
    ]
    return "\r\n".join(lines).encode() + _HEAD_END + body
