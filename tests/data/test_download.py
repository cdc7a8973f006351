"""Downloads, against a real HTTP server on the loopback."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scanline.data import download
from scanline.errors import DataError, ScanlineError

BODY = bytes(i * i % 251 for i in range(300_000))
LIMIT = 400_000
# Where servers break off: a multiple of the chunks that are written.
PIECE = 6 * 2**14


@dataclass
class Mirror:
    """A server of one file. mode: ok, or how it misbehaves."""

    mode: str = "ok"
    body: bytes = BODY
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self):
        mirror, asked = self.mirror, self.headers.get("Range")
        mirror.ranges.append(asked)
        if mirror.mode == "missing":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if mirror.mode == "no ranges":
            start = 0
        if asked and start >= len(mirror.body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = mirror.body[start:]
        if mirror.mode == "wrong range":
            start = 1
        self.send_response(206 if asked and mirror.mode != "no ranges" else 200)
        if asked and mirror.mode != "no ranges":
            self.send_header("Content-Range", f"bytes {start}-{len(mirror.body) - 1}/{len(mirror.body)}")
        if mirror.mode != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mirror.mode == "breaks off" or (mirror.mode == "breaks off once" and len(mirror.ranges) == 1):
            body = body[:PIECE]
        if mirror.mode == "sends nothing":
            body = b""
        self.wfile.write(body)
        mirror.sent += len(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.delenv("SCANLINE_OFFLINE", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    servers = []

    def serve(mode: str = "ok", body: bytes = BODY) -> Mirror:
        mirror = Mirror(mode, body)
        handler = type("Handler", (_Handler,), {"mirror": mirror})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = False  # so that closing the server waits for them
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        mirror.url = f"http://127.0.0.1:{server.server_port}/file.gz"
        return mirror

    yield serve
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "set" / "file.gz"


def right(path: Path) -> str | None:
    same = hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(BODY).digest()
    return None if same else "wrong checksum"


def get(target: Path, *mirrors: Mirror, **options) -> Path:
    urls = [mirror.url for mirror in mirrors]
    return download.fetch(urls, target, **({"limit_bytes": LIMIT, "check": right} | options))


def test_a_file_arrives_whole_and_leaves_no_part_behind(serve, target):
    assert get(target, serve()) == target
    assert target.read_bytes() == BODY
    assert not target.with_name("file.gz.part").exists()


def test_progress_counts_up_to_the_whole(serve, target):
    seen = []
    get(target, serve(), on_progress=lambda received, total: seen.append((received, total)))
    assert seen[-1] == (300_000, 300_000)
    assert [received for received, _ in seen] == sorted({received for received, _ in seen})


def test_the_total_is_none_without_a_content_length(serve, target):
    seen = []
    get(target, serve("no length"), on_progress=lambda received, total: seen.append((received, total)))
    assert seen[-1] == (300_000, None)


def test_a_broken_download_is_resumed_where_it_broke(serve, target):
    mirror = serve("breaks off once")
    get(target, mirror)
    assert mirror.ranges == [None, "bytes=98304-"]
    assert mirror.sent == len(BODY)  # nothing came twice
    assert target.read_bytes() == BODY


def test_a_download_is_resumed_by_a_later_call(serve, target):
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(BODY[:250_000])
    mirror = serve()
    seen = []
    get(target, mirror, on_progress=lambda received, total: seen.append((received, total)))
    assert mirror.ranges == ["bytes=250000-"]
    assert mirror.sent == 50_000
    assert seen[-1] == (300_000, 300_000)
    assert target.read_bytes() == BODY


def test_what_one_mirror_began_another_ends(serve, target):
    first, second = serve("breaks off"), serve()
    get(target, first, second)
    assert first.ranges == [None, "bytes=98304-", "bytes=196608-"]
    assert second.ranges == ["bytes=294912-"]
    assert first.sent + second.sent == 300_000
    assert target.read_bytes() == BODY


def test_a_mirror_that_keeps_breaking_off_keeps_what_it_sent(serve, target):
    with pytest.raises(DataError, match=r"127\.0\.0\.1:\d+: connection lost after 294,912 bytes"):
        get(target, serve("breaks off"))
    assert target.with_name("file.gz.part").read_bytes() == BODY[:294_912]
    assert not target.exists()


def test_a_server_without_ranges_starts_again(serve, target):
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(b"x" * 1000)
    mirror = serve("no ranges")
    get(target, mirror)
    assert mirror.ranges == ["bytes=1000-"]
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("mode", ["ok", "wrong range"])
def test_an_unusable_answer_to_a_range_starts_again(serve, target, mode):
    held = 300_000 if mode == "ok" else 1000  # past the end: the server answers 416
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(b"x" * held)
    mirror = serve(mode)
    get(target, mirror)
    assert mirror.ranges == [f"bytes={held}-", None]
    assert target.read_bytes() == BODY


def test_a_mixed_file_is_deleted_and_downloaded_again(serve, target):
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(b"x" * 1000)
    mirror = serve()
    get(target, mirror)
    assert mirror.ranges == ["bytes=1000-", None]
    assert target.read_bytes() == BODY


def test_the_next_mirror_is_asked_when_one_fails(serve, target):
    gone, wrong, empty, good = serve("missing"), serve(body=b"z" * 500), serve("sends nothing"), serve()
    get(target, gone, wrong, empty, good)
    assert [len(mirror.ranges) for mirror in (gone, wrong, empty, good)] == [1, 1, 1, 1]
    assert target.read_bytes() == BODY


def test_wrong_bytes_never_take_the_files_name(serve, target):
    with pytest.raises(DataError, match=r"127\.0\.0\.1:\d+: wrong checksum"):
        get(target, serve(body=BODY[:-1] + b"!"))
    assert not target.exists()
    assert not target.with_name("file.gz.part").exists()


def test_a_forced_download_that_fails_leaves_the_old_file(serve, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(DataError, match="wrong checksum"):
        get(target, serve(body=b"bad"), force=True)
    assert target.read_bytes() == b"old"


def test_a_file_that_is_there_is_not_downloaded_again(serve, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    mirror = serve()
    get(target, mirror)
    assert mirror.ranges == []
    get(target, mirror, force=True)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("mode", "message"),
    [("ok", "expected at most 1,000 bytes, got 300,000"), ("no length", "sends more than 1,000")],
)
def test_more_bytes_than_the_limit_are_refused(serve, target, mode, message):
    seen = []
    with pytest.raises(DataError, match=message):
        get(target, serve(mode), limit_bytes=1000, on_progress=lambda received, _: seen.append(received))
    assert seen == []  # it stopped at once, not at the end
    assert list(target.parent.glob("*.gz*")) in ([], [target.with_name("file.gz.lock")])


def test_when_all_mirrors_fail_one_line_names_each_with_its_reason(serve, target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        dead = Mirror(url=f"http://127.0.0.1:{closed.getsockname()[1]}/file.gz")
        with pytest.raises(DataError) as caught:
            get(target, serve("missing"), dead)
    assert re.fullmatch(
        r"cannot download file\.gz: 127\.0\.0\.1:\d+: 404 Not Found; 127\.0\.0\.1:\d+: no connection; "
        rf"put the file at {re.escape(str(target))}, or set SCANLINE_DATA to a folder that has set/file\.gz",
        str(caught.value),
    )


def test_a_silent_server_is_given_up(serve, target, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Mirror(url=f"http://127.0.0.1:{silent.getsockname()[1]}/file.gz")
        get(target, mute, serve())
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_no_socket_is_opened(monkeypatch, target, value):
    def no_socket(*_args, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("SCANLINE_OFFLINE", value)
    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    with pytest.raises(DataError, match=r"SCANLINE_OFFLINE is set: unset it, put the .*SCANLINE_DATA"):
        get(target, Mirror(url="http://127.0.0.1:9/file.gz"))
    assert not target.parent.exists()


@pytest.mark.parametrize("value", ["", "0"])
def test_an_empty_or_zero_offline_switch_is_off(serve, target, monkeypatch, value):
    mirror = serve()
    monkeypatch.setenv("SCANLINE_OFFLINE", value)
    assert get(target, mirror).exists()


def test_of_several_at_once_one_downloads_and_the_others_wait(serve, target):
    mirror = serve()
    threads = [threading.Thread(target=get, args=(target, mirror)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mirror.ranges == [None]
    assert target.read_bytes() == BODY


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(serve, tmp_path):
    (tmp_path / "set").write_bytes(b"a file where the folder should be")
    with pytest.raises(ScanlineError, match=r"cannot write .*file\.gz: .*; set SCANLINE_CACHE to a folder"):
        get(tmp_path / "set" / "file.gz", serve())
