"""The server as a process: socket, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable

import uvicorn

from scanline.errors import ScanlineError, UsageError
from scanline.serving.app import Service, create_app


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    Args:
        host: Address or name to listen at.
        port: Port; 0 for any that is free.

    Raises:
        UsageError: If the address is not available.
    """
    try:
        # The first result decides between IPv4 and IPv6.
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Without it, a restart fails for a minute while old connections are in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen at {host}:{port}: {reason}; name another --host or --port") from None
    return listener


def serve(service: Service, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight. A second signal ends at once.

    Args:
        service: The model and everything its routes share.
        listener: As `listen` returns it.
        on_ready: Called once requests are accepted.

    Raises:
        ScanlineError: If the server could not be started.
    """
    config = _config(service)
    server = uvicorn.Server(config)

    def stop() -> None:
        # Shutdown order: new requests get 503, then uvicorn closes the listener and idle connections and
        # waits for the requests in flight, at most `drain_s`; then the lifespan ends, which stops batcher and
        # threads.
        if service.admission.ending:
            server.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # it logs a traceback for each request cut off
        service.admission.ending = True
        server.should_exit = True

    async def run() -> None:
        loop = asyncio.get_running_loop()
        _on_signal(loop, stop)
        serving = loop.create_task(server.serve(sockets=[listener]))
        # uvicorn has no event for its start, only this flag; a failed start ends the task instead.
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        # uvicorn replaced the handlers when it started. With its own, the process would be killed by the
        # signal after a graceful shutdown, instead of exiting with 0.
        _on_signal(loop, stop)
        if server.should_exit:  # a signal came before
            service.admission.ending = True
        if server.started:
            gc.collect()
            gc.freeze()  # objects that live as long as the server need not be traversed by every collection
            on_ready()
        await serving

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())
    if not server.started:
        raise ScanlineError("the server could not be started; see its log")


def _config(service: Service) -> uvicorn.Config:
    app = create_app(service)
    config = uvicorn.Config(
        app,
        loop="auto",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=service.limits.body_bytes,
        ws_per_message_deflate=False,  # a small message could unpack to a large one
        ws_ping_interval=20.0,
        timeout_keep_alive=24 * 3600,  # idle connections are closed by `Connection`
        timeout_graceful_shutdown=int(service.limits.drain_s),
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        date_header=True,
        proxy_headers=False,
    )
    # The protocol class that `http` names, inside one of ours: see connections.py.
    config.load()
    config.http_protocol_class = app.connections.protocol(config.http_protocol_class)
    return config


def _on_signal(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
