"""A real S3 server on loopback (moto) and a TCP proxy in front of it that breaks connections.

Fixtures: `object_store` (the environment leads to the server; one bucket a test), and its `proxy`, which the
environment leads to after `with object_store.through_proxy():`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests

ACCESS_KEY, SECRET_KEY = "AKIDFORTESTSONLY", "secret+for/tests=only"

# A process of its own: moto imports a lot, and must not share the interpreter with what is tested. It ends
# when its standard input does, so also when the tests are killed.
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


class Proxy:
    """Forwards TCP connections on loopback to one port, and breaks them on demand.

    Attributes:
        url: Its address.
        connections: Number of connections it has accepted.
        broken: Number of connections it has refused or cut.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self.heal()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def heal(self) -> None:
        """Forward everything from now on, and count anew."""
        self.connections = self.broken = 0
        self._refusals = self._response_cuts = self._request_cuts = 0
        self._after = 0
        self._delay_s = 0.0
        self._answer: bytes | None = None

    def refuse(self, times: int) -> None:
        """Close the next connections before a byte is sent."""
        self._refusals = times

    def cut_responses(self, times: int, after: int) -> None:
        """Cut connections once the answer to a request has more than `after` bytes, its head included."""
        self._response_cuts, self._after = times, after

    def cut_requests(self, times: int, after: int) -> None:
        """Cut connections once a request has more than `after` bytes, its head included."""
        self._request_cuts, self._after = times, after

    def delay(self, seconds: float) -> None:
        """Wait before each piece of an answer."""
        self._delay_s = seconds

    def answer(self, status: str, code: str, message: str = "") -> None:
        """Answer every request as S3 reports an error, without asking the server."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        self._answer = f"{head}Connection: close\r\n\r\n".encode() + body

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            if self._take("_refusals"):
                _reset(client)
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _take(self, counter: str) -> bool:
        """Use up one of the faults that were asked for, if any is left."""
        with self._lock:
            left = getattr(self, counter)
            if left <= 0:
                return False
            setattr(self, counter, left - 1)
            self.broken += 1
            return True

    def _serve(self, client: socket.socket) -> None:
        if self._answer is not None:
            with client, contextlib.suppress(OSError):
                client.recv(_CHUNK)
                client.sendall(self._answer)
            return
        server = socket.create_connection(("127.0.0.1", self._target))
        sent = [0, 0]  # bytes of the request, and of the answer to it
        threading.Thread(target=self._pump, args=(client, server, sent, True), daemon=True).start()
        self._pump(server, client, sent, False)

    def _pump(self, source: socket.socket, target: socket.socket, sent: list[int], request: bool) -> None:
        counter = "_request_cuts" if request else "_response_cuts"
        own, other = (0, 1) if request else (1, 0)
        try:
            while data := source.recv(_CHUNK):
                if sent[other]:
                    sent[own] = sent[other] = 0
                if not request and self._delay_s:
                    time.sleep(self._delay_s)
                room = self._after - sent[own]
                if len(data) > room and self._take(counter):
                    target.sendall(data[: max(0, room)])
                    _reset(source)
                    _reset(target)
                    return
                sent[own] += len(data)
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    # The other thread of this connection may be waiting in recv, which close alone does not end.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()


@dataclass
class ObjectStore:
    """A bucket of the server.

    Attributes:
        url: Address of the server.
        bucket: Name of the bucket.
        environment: The variables that lead to it, for processes that a test starts.
        proxy: The proxy in front of the server.
    """

    url: str
    bucket: str
    proxy: Proxy
    _monkeypatch: pytest.MonkeyPatch
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}"

    def connect(self, url: str) -> None:
        """Let the environment lead to a server, with credentials that it accepts."""
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
        }
        for name, value in self.environment.items():
            self._monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
            self._monkeypatch.delenv(name, raising=False)
        # Connections to the server of an earlier test.
        from scanline.data.packed import location

        self._monkeypatch.setattr(location, "_filesystems", {})

    @contextlib.contextmanager
    def through_proxy(self) -> Iterator[Proxy]:
        """Let the environment lead to the proxy, which forwards everything until it is asked not to."""
        self.proxy.heal()
        self.connect(self.proxy.url)
        try:
            yield self.proxy
        finally:
            self.proxy.heal()
            self.connect(self.url)

    def put(self, key: str, content: bytes) -> None:
        self._request("PUT", key, content)

    def get(self, key: str) -> bytes:
        return self._request("GET", key).content

    def delete(self, key: str) -> None:
        self._request("DELETE", key)

    def object_names(self) -> list[str]:
        """Return the keys of all objects of the bucket, at most 1,000."""
        import xml.etree.ElementTree as ElementTree

        listing = ElementTree.fromstring(self._request("GET", "?list-type=2").content)
        return sorted(each.text or "" for each in listing.iter() if each.tag.endswith("}Key"))

    def deny(self, *actions: str) -> None:
        """Forbid actions such as `s3:GetObject` on all objects of the bucket, for all users."""
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{self.bucket}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._request("PUT", "?policy", json.dumps(policy).encode())

    def _request(self, method: str, key: str, content: bytes | None = None) -> requests.Response:
        # moto checks no signature, but refuses anonymous requests for existing objects.
        answer = requests.request(
            method,
            f"{self.url}/{self.bucket}/{key}",
            data=content,
            headers={
                "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/request"
            },
            timeout=60,
        )
        answer.raise_for_status()
        return answer


_numbers = itertools.count()


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[int]:
    """A port on loopback where an S3 server listens, one for each process of the tests."""
    pytest.importorskip("moto", reason="moto is not installed: pip install '.[dev]'")
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a line for each request
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.fixture(scope="session")
def _object_store_proxy(object_store_server) -> Iterator[Proxy]:
    proxy = Proxy(object_store_server)
    yield proxy
    proxy.close()


@pytest.fixture
def object_store(object_store_server, _object_store_proxy, monkeypatch) -> Iterator[ObjectStore]:
    """An empty bucket of the server, which the environment leads to."""
    pytest.importorskip("pyarrow")
    store = ObjectStore(
        f"http://127.0.0.1:{object_store_server}",
        f"bucket-{next(_numbers)}",
        _object_store_proxy,
        monkeypatch,
    )
    store.connect(store.url)
    store._request("PUT", "")
    yield store
    # A thread that still reads ahead would connect to whatever the environment leads to after this test, and
    # leave that connection to the next one.
    for thread in threading.enumerate():
        if thread.name == "row groups":
            thread.join(60)
