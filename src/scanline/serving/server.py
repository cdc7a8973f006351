"""The server as a process: a socket, signals, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Generator

import uvicorn

from scanline.errors import ScanlineError, UsageError
from scanline.serving.app import Service, create_app
from scanline.serving.protocol import protocol


class _Server(uvicorn.Server):
    """uvicorn's, which leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing: `serve` has handlers."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address; port 0: any that is free. Raises UsageError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen at {host}:{port}: {reason}; name another --host or --port") from None
    return found


def serve(given: Service, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish what is under way. A second signal ends at once.

    on_ready: called once requests are taken.
    """
    config = uvicorn.Config(
        create_app(given),
        loop="auto",
        http=protocol(given.admission, given.limits),
        ws="websockets-sansio",
        ws_max_size=given.limits.body_bytes,
        ws_per_message_deflate=False,  # a small message could unpack to a large one
        ws_ping_interval=20.0,
        timeout_keep_alive=int(given.limits.idle_s),
        timeout_graceful_shutdown=int(given.limits.drain_s),
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        date_header=True,
        proxy_headers=False,
    )
    server = _Server(config)

    def stop() -> None:
        if given.admission.ending:
            server.force_exit = True
            logging.getLogger(
                "uvicorn.error"
            ).disabled = True  # each thing cut off would come with a traceback
        given.admission.ending = True
        server.should_exit = True

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, stop)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        serving = loop.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            gc.collect()
            gc.freeze()  # what lives as long as the server need not be looked through again and again
            on_ready()
        await serving

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())
    if not server.started:
        raise ScanlineError("the server could not be started; its log has more")
