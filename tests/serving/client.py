"""An HTTP client that sends exact bytes, and servers in a thread or a process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from scanline.serving import server as serving
from scanline.serving.access import Access
from scanline.serving.app import create_service
from scanline.serving.limits import Limits
from scanline.serving.problems import KINDS
from scanline.serving.start import LOOPBACK

WAIT_S = 20.0  # limit of every wait, so that a failing test does not hang


@dataclass(frozen=True)
class Response:
    """One response.

    Attributes:
        status: Status code.
        headers: Names in lower case, and values.
        body: The body.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each == name]
        assert len(found) < 2, (name, found)
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


def problem(answer: Response, name: str) -> dict[str, Any]:
    """Check that a response is the problem `name` in the form of RFC 9457, and return its document."""
    assert answer.header("content-type") == "application/problem+json", answer
    found = answer.json()
    assert (
        {"type", "title", "status", "detail"}
        <= found.keys()
        <= {"type", "title", "status", "detail", "errors"}
    )
    assert found["type"] == f"/problems/{name}", found
    assert found["status"] == answer.status == KINDS[name].status
    assert found["title"] == KINDS[name].title
    assert isinstance(found["detail"], str)
    assert found["detail"].isprintable(), found["detail"]
    assert 0 < len(found["detail"]) <= 1_000
    for each in found.get("errors", ()):
        assert each.keys() == {"pointer", "detail"}
    return found


class Connection:
    """A connection whose bytes the test writes and reads itself."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = WAIT_S) -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self._read = self.socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._read.close()
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def receive(self, method: str = "GET") -> Response:
        """Return the next response. Raises ConnectionError if the server has closed the connection."""
        status = self._read.readline()
        if not status:
            raise ConnectionError("closed")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3})(?: [^\r\n]*)?\r\n", status)
        assert match, status
        headers = []
        while (line := self._read.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        found = Response(int(match[1]), headers, b"")
        if found.status < 200 or method == "HEAD":
            return found
        length = found.header("content-length")
        assert length is not None, headers
        return replace(found, body=self._read.read(int(length)))

    @property
    def closed(self) -> bool:
        """Whether the server closes the connection within the time limit."""
        try:
            return self._read.read(1) == b""
        except ConnectionResetError:
            return True


def request_head(method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], port: int) -> bytes:
    """Return the head of a request, with a Host header unless `headers` have one."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs = [("host", f"127.0.0.1:{port}"), *pairs]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@dataclass(eq=False)
class Server:
    """Where a server is, and ways to ask it."""

    port: int
    model: Any = None
    stop: Any = None
    process: Any = None
    errors: Path | None = None
    given: Any = None
    extra: dict[str, str] = field(default_factory=dict)

    def connect(self) -> Connection:
        return Connection(self.port)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = (), *, plain: bool = False
    ) -> Response:
        """Send one request on a new connection. plain: add no header but Host."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if not plain:
            pairs += list(self.extra.items())
        if body is not None and not plain:
            pairs.append(("content-length", str(len(body))))
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(request_head(method, path, pairs, self.port) + (body or b""))
            return connection.receive(method)

    def get(self, path: str, headers: Any = ()) -> Response:
        return self.request("GET", path, headers=headers)

    def post(
        self, body: bytes, kind: str | None = "application/json", headers: Any = (), query: str = ""
    ) -> Response:
        """Send a request to /v1/predict."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if kind is not None:
            pairs.append(("content-type", kind))
        return self.request("POST", "/v1/predict" + query, body, pairs)

    def predict(self, inputs: Any, **options: Any) -> Response:
        return self.post(json.dumps({"inputs": inputs} | options).encode())

    def probabilities(self, inputs: Any, **options: Any) -> list[list[float]]:
        """Return the probabilities (N, K) of a response that must have status 200."""
        answer = self.predict(inputs, **options)
        assert answer.status == 200, answer
        return [list(each["probabilities"].values()) for each in answer.json()["predictions"]]

    def check_ready(self) -> None:
        """Check that the server responds, and that its process runs."""
        assert self.get("/v2/health/ready").json() == {"ready": True}
        if self.process is not None:
            assert self.process.poll() is None


class _Loop(uvloop.Loop):
    """A loop outside the main thread, which gets no signals: the handler is stored for the test to call."""

    on_signal: Any = None

    def add_signal_handler(self, number: int, callback: Any, *args: Any) -> None:
        self.on_signal = callback


@contextlib.contextmanager
def in_thread(model: Any, access: Access | None = None, **limits: Any):
    """Run `serve` on a thread of this process, with limits that the command has no options for."""
    listener = serving.listen("127.0.0.1", 0)
    loops: list[_Loop] = []

    def loop() -> _Loop:
        loops.append(_Loop())
        return loops[0]

    access = access or Access(frozenset(LOOPBACK))
    given = create_service(model, "made", "0", access, replace(Limits(), **limits))
    ready = threading.Event()
    kept = uvicorn.Config.get_loop_factory
    uvicorn.Config.get_loop_factory = lambda self: loop  # type: ignore[method-assign]
    thread = threading.Thread(target=serving.serve, args=(given, listener, ready.set))
    try:
        thread.start()
        assert ready.wait(WAIT_S)
    finally:
        uvicorn.Config.get_loop_factory = kept  # type: ignore[method-assign]

    def stop() -> None:
        loops[0].call_soon_threadsafe(loops[0].on_signal)

    port = listener.getsockname()[1]
    extra = {"authorization": f"Bearer {access.token}"} if access.token else {}
    try:
        yield Server(port, model, stop, given=given, extra=extra)
    finally:
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):
                stop()
        thread.join(WAIT_S)
        alive = thread.is_alive()
        if alive:
            stop()
            thread.join(WAIT_S)
        assert not alive, "the server did not end"


def start_process(folder: Path, run: Path, *options: object) -> subprocess.Popen[bytes]:
    """Start `scanline serve` as a process. folder: for a file of its standard error."""
    path = folder / f"{secrets.token_hex(4)}.stderr"
    with open(path, "wb") as errors:
        started = subprocess.Popen(
            [sys.executable, "-m", "scanline", "serve", str(run), "--port", "0", *map(str, options)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"SCANLINE_OFFLINE": "1"},
        )
    started.errors = path  # type: ignore[attr-defined]
    return started


def wait_ready(started: Any) -> Server:
    """Wait until a process has printed its address; return the server."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        printed = started.errors.read_text()
        if match := re.search(r"at http://([^/]+):(\d+)/", printed):
            return Server(int(match[2]), process=started, errors=started.errors)
        assert started.poll() is None, printed
        time.sleep(0.05)
    raise AssertionError(started.errors.read_text())


def terminate(started: Any, number: int = signal.SIGTERM) -> str:
    """Send the signal, wait for the end, which must be with status 0, and return the standard error."""
    if started.poll() is None:
        started.send_signal(number)
    try:
        code = started.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
        raise
    printed: str = started.errors.read_text()
    assert code == 0, printed
    return printed


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Return the memory of a process in MB: its peak, or with VmRSS the current value."""
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{what}:\s+(\d+) kB", text)
    assert match
    return int(match[1]) / 1024


def wait_until(condition: Any, what: str) -> None:
    """Wait until the condition is true."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def is_idle(connection: Connection, seconds: float) -> bool:
    """Whether no bytes arrive on a connection for so many seconds."""
    return not select.select([connection.socket], [], [], seconds)[0]
