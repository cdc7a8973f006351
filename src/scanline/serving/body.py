"""The body of a request, as it comes: bounded, unpacked."""

from __future__ import annotations

import zlib
from typing import Any

from scanline.serving.guard import Message, Receive, Scope
from scanline.serving.limits import Limits
from scanline.serving.problems import Problem

_LINGER = 8  # so many times the limit of a body that is too large are read and dropped before the answer
_SMALL = 2**16  # bytes that are not counted among what all requests hold together


class Holdings:
    """What the bodies of all requests that are under way take, so that many large ones do not fill memory."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0


class Body:
    """One body. What is too large is read on for a while, but not kept: a client that is still sending when
    the connection closes may never see the answer."""

    def __init__(self, limits: Limits, holdings: Holdings) -> None:
        self._limits, self._holdings = limits, holdings
        self._unpack: Any = None
        self._pieces: list[bytes] = []
        self._size, self._held = 0, 0
        self.received = 0  # bytes, packed or not
        self.complete = False

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """All of it, unpacked. Raises Problem: too-large, wrong-type, malformed, overloaded."""
        encoding, length, expects = b"identity", b"", False
        for name, value in scope["headers"]:
            if name == b"content-encoding":
                encoding = value.strip().lower()
            elif name == b"content-length":
                length = value
            elif name == b"expect":
                expects = True  # then nothing has been sent yet
        if encoding == b"gzip":
            self._unpack = zlib.decompressobj(wbits=31)
        elif encoding != b"identity":
            said = encoding[:40].decode("latin-1")
            raise Problem("wrong-type", f"expected the encoding gzip or none, found {said!r}")
        if length.isdigit() and int(length) > self._limits.body_bytes * (1 if expects else _LINGER):
            raise _too_large(self._limits, close=True)
        try:
            while not self.complete:
                self._add(await receive())
        except zlib.error as error:
            raise Problem("malformed", f"expected a body packed with gzip, found {error}") from None
        if self._size > self._limits.body_bytes:
            raise _too_large(self._limits)
        if self._unpack is not None and not self._unpack.eof:
            raise Problem("malformed", "expected a body packed with gzip, found a part of one")
        if self._unpack is not None and self._unpack.unused_data:
            raise Problem("malformed", "expected a body packed with gzip, found more after its end")
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _add(self, message: Message) -> None:
        if message["type"] != "http.request":
            raise ConnectionError("the client went away")
        piece, most = message.get("body", b""), self._limits.body_bytes
        self.received += len(piece)
        if self.received > most * _LINGER:
            raise _too_large(self._limits, close=True)
        if self._size <= most:
            if self._unpack is not None:
                piece = self._unpack.decompress(piece, most - self._size + 1)
            self._size += len(piece)
            self._pieces.append(piece)
            if self._size > _SMALL:
                self._hold(self._size - self._held)
        else:
            self._pieces.clear()
        self.complete = not message.get("more_body", False)

    def _hold(self, more: int) -> None:
        holdings = self._holdings
        if holdings.bytes + more > holdings.most:
            detail = f"the requests under way hold {holdings.bytes:,} bytes; {holdings.most:,} is the most"
            raise Problem("overloaded", detail, headers=(("retry-after", "1"), ("connection", "close")))
        holdings.bytes += more
        self._held += more

    def let_go(self) -> None:
        """It is not needed any more."""
        self._holdings.bytes -= self._held
        self._held = 0


def _too_large(limits: Limits, close: bool = False) -> Problem:
    detail = f"expected a body of at most {limits.body_bytes:,} bytes, unpacked, found more"
    return Problem("too-large", detail, headers=(("connection", "close"),) if close else ())
