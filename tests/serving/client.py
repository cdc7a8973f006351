"""A client that sends exact bytes, and real servers to send them to."""

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

WAIT_S = 20.0  # for anything; a test that fails must not hang


@dataclass(frozen=True)
class Answer:
    """status, headers (names in lower case), body of one response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each == name]
        assert len(found) < 2, (name, found)
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


def problem(answer: Answer, name: str) -> dict[str, Any]:
    """What RFC 9457 asks of every answer of 400 and above, and that it is the problem `name`."""
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


class Line:
    """One connection, written to and read from by hand."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = WAIT_S) -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self._read = self.socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._read.close()
        self.socket.close()

    def say(self, content: bytes) -> None:
        self.socket.sendall(content)

    def hear(self, method: str = "GET") -> Answer:
        """The next response. Raises ConnectionError if there is none."""
        status = self._read.readline()
        if not status:
            raise ConnectionError("closed")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3})(?: [^\r\n]*)?\r\n", status)
        assert match, status
        headers = []
        while (line := self._read.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        found = Answer(int(match[1]), headers, b"")
        if found.status < 200 or method == "HEAD":
            return found
        length = found.header("content-length")
        assert length is not None, headers
        return replace(found, body=self._read.read(int(length)))

    @property
    def closed(self) -> bool:
        """Whether the server has closed, or does within the time."""
        try:
            return self._read.read(1) == b""
        except ConnectionResetError:
            return True


def head(method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], port: int) -> bytes:
    """The head of a request; Host is there unless told otherwise."""
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

    def line(self) -> Line:
        return Line(self.port)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Any = (), *, plain: bool = False
    ) -> Answer:
        """One request on a connection of its own. plain: add nothing to `headers` but Host."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if not plain:
            pairs += list(self.extra.items())
        if body is not None and not plain:
            pairs.append(("content-length", str(len(body))))
        with self.line() as line:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.say(head(method, path, pairs, self.port) + (body or b""))
            return line.hear(method)

    def get(self, path: str, headers: Any = ()) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(
        self, body: bytes, kind: str | None = "application/json", headers: Any = (), query: str = ""
    ) -> Answer:
        """To /v1/predict."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if kind is not None:
            pairs.append(("content-type", kind))
        return self.ask("POST", "/v1/predict" + query, body, pairs)

    def predict(self, inputs: Any, **wish: Any) -> Answer:
        return self.post(json.dumps({"inputs": inputs} | wish).encode())

    def shares(self, inputs: Any, **wish: Any) -> list[list[float]]:
        """(N, K) of an answer that must be 200."""
        answer = self.predict(inputs, **wish)
        assert answer.status == 200, answer
        return [list(each["probabilities"].values()) for each in answer.json()["predictions"]]

    def goes_on(self) -> None:
        """The server is there and well."""
        assert self.get("/v2/health/ready").json() == {"ready": True}
        if self.process is not None:
            assert self.process.poll() is None


class _Loop(uvloop.Loop):
    """Off the main thread there are no signals: what they would call is kept, to be called by hand."""

    on_signal: Any = None

    def add_signal_handler(self, number: int, callback: Any, *args: Any) -> None:
        self.on_signal = callback


@contextlib.contextmanager
def in_thread(model: Any, access: Access | None = None, **limits: Any):
    """`serve` itself, on a thread of this process, with the limits that no option of the command sets."""
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


def process(folder: Path, run: Path, *options: object) -> subprocess.Popen[bytes]:
    """`scanline serve` as anyone starts it; not yet ready. folder: for what it says on standard error."""
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


def ready(started: Any) -> Server:
    """That process, once it says where it is."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        said = started.errors.read_text()
        if match := re.search(r"at http://([^/]+):(\d+)/", said):
            return Server(int(match[2]), process=started, errors=started.errors)
        assert started.poll() is None, said
        time.sleep(0.05)
    raise AssertionError(started.errors.read_text())


def end(started: Any, number: int = signal.SIGTERM) -> str:
    """Send the signal; the process must end well. What it said on standard error."""
    if started.poll() is None:
        started.send_signal(number)
    try:
        code = started.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
        raise
    said: str = started.errors.read_text()
    assert code == 0, said
    return said


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Of a process, MB: the most it ever held, or VmRSS."""
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{what}:\s+(\d+) kB", text)
    assert match
    return int(match[1]) / 1024


def until(condition: Any, what: str) -> None:
    """Wait for it to be true."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def silent(line: Line, seconds: float) -> bool:
    """Whether nothing comes on a connection for so long."""
    return not select.select([line.socket], [], [], seconds)[0]
