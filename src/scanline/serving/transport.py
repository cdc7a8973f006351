"""The transport that a guarded connection hands to uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

# uvicorn's own response to what it cannot parse; ours are application/problem+json.
_PLAIN_400, _PLAIN_TEXT = b"HTTP/1.1 400 ", b"\r\ncontent-type: text/plain"


class GuardedTransport(asyncio.Transport):
    """The transport of a connection, as passed to uvicorn.

    Args:
        transport: The connection's own.
        protocol: The protocol of the connection.
        malformed: What to send instead of uvicorn's response to what it cannot parse.
        upgrade: Called with the protocol that uvicorn changes to for a WebSocket.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        malformed: bytes,
        upgrade: Callable[[asyncio.Protocol], None],
    ) -> None:
        super().__init__()
        self._transport, self._protocol = transport, protocol
        self._malformed, self._upgrade = malformed, upgrade

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write; uvicorn's plain-text response to what it cannot parse is replaced by a problem document."""
        if data[:13] == _PLAIN_400 and _PLAIN_TEXT in bytes(data[:1000]):
            data = self._malformed
        self._transport.write(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change to WebSocket; the connection stays in between, so that it is counted."""
        self._upgrade(cast(asyncio.Protocol, protocol))

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the connection."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport's."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """As the transport's."""
        return self._transport.is_closing()

    def close(self) -> None:
        """As the transport's."""
        self._transport.close()

    def abort(self) -> None:
        """As the transport's."""
        self._transport.abort()

    def is_reading(self) -> bool:
        """As the transport's."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """As the transport's."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the transport's."""
        self._transport.resume_reading()

    def can_write_eof(self) -> bool:
        """As the transport's."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """As the transport's."""
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        """As the transport's."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """As the transport's."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the transport's."""
        self._transport.set_write_buffer_limits(high, low)
