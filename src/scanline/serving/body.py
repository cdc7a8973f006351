"""Reads the body of a request as it arrives: bounded, unpacked."""

from __future__ import annotations

import zlib
from typing import Any

from scanline.serving.asgi import Message, Receive, Scope
from scanline.serving.limits import LINGER, Limits
from scanline.serving.problems import Problem

_SMALL = 2**16  # bytes that are not counted among what all requests hold together


class BodyMemory:
    """The memory that the bodies of all requests in flight take, so that many large ones do not fill it.

    Attributes:
        capacity: Upper bound in bytes.
        used: Bytes in use.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.used = capacity, 0


class Body:
    """The body of one request.

    A body that is too large is read on for a while, but not kept: a client that is still sending when the
    connection closes may never see the response.

    Attributes:
        received: Bytes received, packed or not.
        complete: Whether all of it has been received.
    """

    def __init__(self, limits: Limits, memory: BodyMemory) -> None:
        self._limits, self._memory = limits, memory
        self._unpacker: Any = None  # zlib's decompressor
        self._pieces: list[bytes] = []
        self._size, self._reserved = 0, 0
        self.received = 0
        self.complete = False

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body, unpacked.

        Raises:
            Problem: `too-large`, `wrong-type`, `malformed` or `overloaded`.
        """
        encoding, length, expects = b"identity", b"", False
        for name, value in scope["headers"]:
            if name == b"content-encoding":
                encoding = value.strip().lower()
            elif name == b"content-length":
                length = value
            elif name == b"expect":
                expects = True  # then nothing has been sent yet
        # 16 + 15: gzip only, with a window of at most 32 KiB. zlib and raw deflate streams are refused.
        if encoding == b"gzip":
            self._unpacker = zlib.decompressobj(wbits=31)
        elif encoding != b"identity":
            given = encoding[:40].decode("latin-1")
            raise Problem("wrong-type", f"expected the encoding gzip or none, found {given!r}")
        # Refuse by the declared length before anything is read or allocated. A client that sent "Expect:
        # 100-continue" waits for permission, so it needs no lingering read.
        if length.isdigit() and int(length) > self._limits.body_bytes * (1 if expects else LINGER):
            raise _too_large(self._limits, close=True)
        try:
            while not self.complete:
                self._add(await receive())
        except zlib.error as error:
            raise Problem("malformed", f"expected a body packed with gzip, found {error}") from None
        # One byte more than the limit is unpacked at most, see `_add`, so this comparison detects every
        # excess.
        if self._size > self._limits.body_bytes:
            raise _too_large(self._limits)
        # The stream must end where the body ends: a truncated stream has no verified checksum, and data
        # after it would be dropped silently.
        if self._unpacker is not None and not self._unpacker.eof:
            raise Problem("malformed", "expected a body packed with gzip, found a part of one")
        if self._unpacker is not None and self._unpacker.unused_data:
            raise Problem("malformed", "expected a body packed with gzip, found more after its end")
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _add(self, message: Message) -> None:
        if message["type"] != "http.request":
            raise ConnectionError("the client closed the connection")
        piece, limit = message.get("body", b""), self._limits.body_bytes
        self.received += len(piece)
        if self.received > limit * LINGER:
            raise _too_large(self._limits, close=True)
        if self._size <= limit:
            if self._unpacker is not None:  # never unpack more than one byte beyond the limit
                piece = self._unpacker.decompress(piece, limit - self._size + 1)
            self._size += len(piece)
            self._pieces.append(piece)
            if self._size > _SMALL:
                self._reserve(self._size - self._reserved)
        else:
            # Too large: release what was kept, and only count the rest.
            self._pieces.clear()
        self.complete = not message.get("more_body", False)

    def _reserve(self, size: int) -> None:
        memory = self._memory
        # Event loop thread only, so check and increment need no lock.
        if memory.used + size > memory.capacity:
            detail = f"the requests in flight hold {memory.used:,} bytes; the limit is {memory.capacity:,}"
            raise Problem("overloaded", detail, headers=[("retry-after", "1"), ("connection", "close")])
        memory.used += size
        self._reserved += size

    def release(self) -> None:
        """Give the memory back; to be called once the body is not needed any more."""
        # Idempotent, so that callers can release in a `finally` block.
        self._memory.used -= self._reserved
        self._reserved = 0


async def discard_body(receive: Receive, limits: Limits) -> None:
    """Receive a body without keeping it, so that its client sees the response that follows."""
    received = 0
    while received <= limits.body_bytes * LINGER:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client closed the connection")
        received += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _too_large(limits: Limits, close: bool = False) -> Problem:
    detail = f"expected a body of at most {limits.body_bytes:,} bytes, unpacked, found more"
    return Problem("too-large", detail, headers=[("connection", "close")] if close else [])
