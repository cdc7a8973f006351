"""Invalid content types, encodings, forms and sizes of bodies: the right problem is reported."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from tests.serving.client import memory_mb, problem, request_head
from tests.serving.test_predict import form, png, stroke
from tests.serving.test_values import GIANT_MB, zeros

pytestmark = pytest.mark.usefixtures("server_survives")

# --- types, encodings, forms


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (None, "no Content-Type"),
        ("", "no Content-Type"),
        ("text/plain", "'text/plain'"),
        ("application/xml", "'application/xml'"),
        ("application/jsonp", "'application/jsonp'"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("image", "'image'"),
        ("x" * 1_000, f"'{'x' * 80}'"),
    ],
)
def test_an_unsupported_content_type_is_refused(server, kind, found):
    detail = problem(server.post(b'{"inputs": []}', kind), "wrong-type")["detail"]
    assert detail == f"expected application/json, image/..., audio/..., or multipart/form-data, found {found}"


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "x", "\xff"])
def test_an_unsupported_encoding_is_refused(server, encoding):
    found = problem(server.post(zlib.compress(b"{}"), headers={"content-encoding": encoding}), "wrong-type")
    assert found["detail"].startswith("expected the encoding gzip or none, found ")


PACKED = gzip.compress(json.dumps({"inputs": [zeros()]}).encode())


@pytest.mark.parametrize(
    "body",
    [
        PACKED[:-1],
        PACKED[:20],
        b"",
        b"garbage",
        PACKED[:30] + b"\xff" * 10 + PACKED[40:],
        PACKED + PACKED,
        PACKED + b"x",
    ],
    ids=["end", "half", "empty", "garbage", "damaged", "two", "more"],
)
def test_a_body_that_is_not_gzip_but_declared_so_is_malformed(server, body):
    found = problem(server.post(body, headers={"content-encoding": "gzip"}), "malformed")
    assert found["detail"].startswith("expected a body packed with gzip, found ")


PICTURE = ('name="a"; filename="a.png"', png(stroke()))


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        (*form(), "wrong-values"),
        (*form(('name="a"', b"text")), "malformed"),
        (*form(PICTURE, ('name="b"', b"text")), "malformed"),
        (*form(('filename="a.png"', png(stroke()))), "malformed"),
        (form(PICTURE)[0], "multipart/form-data", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=other", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=undefined", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=idna", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=base64", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=" + "x" * 5_000, "malformed"),
        (form(PICTURE)[0][:-12], form(PICTURE)[1], None),
        (b"--line\r\n\r\n\r\n--line--\r\n", form()[1], "malformed"),
        (b"--line\r\nbroken", form()[1], None),
        (b"garbage", form()[1], "malformed"),
        (b"", form()[1], "wrong-values"),
        (*form(PICTURE, ('name="b"; filename="b.png"', b"no picture")), "wrong-values"),
        (*form(('name="b"; filename="b\x01\x85\u2028.png"', b"no picture")), "wrong-values"),
        (*form(*[('name="b"; filename="b.png"', b"")] * 257), "too-large"),
        (*form(*[('name="b"; filename="b.png"', b"")] * 1_001), "malformed"),
    ],
)
def test_an_invalid_form_is_refused(server, body, kind, name):
    answer = server.post(body, kind)
    if name is not None:
        problem(answer, name)
    else:  # the parser reads as much as possible; the error must be reported
        assert answer.status in (200, 400, 422), answer
        if answer.status > 200:
            problem(answer, answer.json()["type"].rpartition("/")[2])


def test_an_unreadable_file_of_a_form_is_named(server):
    body, kind = form(PICTURE, ('name="b"; filename="seven.png"', b"no picture"))
    assert "seven.png" in problem(server.post(body, kind), "wrong-values")["detail"]


@pytest.mark.parametrize("query", ["?trace=yes", "?trace", "?trace=1", "?trace=true&trace=maybe"])
def test_a_query_that_is_neither_true_nor_false_is_refused(server, query):
    found = problem(server.post(png(stroke()), "image/png", query=query), "wrong-values")
    assert found["detail"].startswith("trace: expected true or false, found ")


def test_a_query_with_too_many_parameters_is_refused(server):
    query = "?" + "&".join(f"a{number}=1" for number in range(200))
    problem(server.post(png(stroke()), "image/png", query=query), "wrong-values")


# --- sizes and lengths of bodies


def test_a_body_far_over_the_limit_is_refused_at_once(server):
    with server.connect() as connection:
        connection.send(
            request_head(
                "POST",
                "/v1/predict",
                {"content-type": "application/json", "content-length": str(2**40)},
                server.port,
            )
        )
        answer = connection.receive()
        problem(answer, "too-large")
        assert answer.header("connection") == "close"
        assert connection.closed


def test_expect_100_continue_is_refused_for_a_body_over_the_limit(server):
    headers = {
        "content-type": "application/json",
        "content-length": str(8 * 2**20 + 1),
        "expect": "100-continue",
    }
    with server.connect() as connection:
        connection.send(request_head("POST", "/v1/predict", headers, server.port))
        problem(connection.receive(), "too-large")


def test_expect_100_continue_is_answered(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "expect": "100-continue"}
    with server.connect() as connection:
        connection.send(request_head("POST", "/v1/predict", headers, server.port))
        assert connection.receive().status == 100
        connection.send(body)
        assert connection.receive().status == 200


def test_a_body_slightly_over_the_limit_is_read_and_the_connection_continues(server):
    body = b" " * (8 * 2**20 + 1)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    with server.connect() as connection:
        connection.send(request_head("POST", "/v1/predict", headers, server.port) + body)
        problem(connection.receive(), "too-large")
        connection.send(request_head("GET", "/v2/health/live", {}, server.port))
        assert connection.receive().status == 200


def test_a_body_of_exactly_the_limit_is_accepted(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    assert server.post(body + b" " * (8 * 2**20 - len(body))).status == 200


def chunked(server, *pieces: bytes, last: bool = True, **headers: str) -> bytes:
    kept = {"content-type": "application/json", "transfer-encoding": "chunked"} | headers
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request_head("POST", "/v1/predict", kept, server.port) + body + (b"0\r\n\r\n" if last else b"")


def test_a_body_in_chunks_is_read(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    with server.connect() as connection:
        connection.send(chunked(server, body[:5], body[5:6], body[6:]))
        answer = connection.receive()
    assert answer.body == server.post(body).body


def test_an_endless_chunked_body_is_refused_at_a_limit(server):
    before = memory_mb(server.process.pid)
    with server.connect() as connection:
        try:
            connection.send(chunked(server, last=False))
            for _ in range(200):
                connection.send(b"100000\r\n" + bytes(2**20) + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("200 MB were taken")
    assert memory_mb(server.process.pid) - before < GIANT_MB


def test_a_chunked_body_over_the_limit_is_refused(server):
    with server.connect() as connection:
        connection.send(chunked(server, *[b" " * 2**20] * 9))
        problem(connection.receive(), "too-large")


@pytest.mark.parametrize(
    "lines",
    [
        "content-length: -1",
        "content-length: 1x",
        "content-length: 99999999999999999999999",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: what",
    ],
)
def test_lengths_that_contradict_are_malformed(server, lines):
    with server.connect() as connection:
        connection.send(f"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n".encode() + b"{}")
        problem(connection.receive(), "malformed")
        assert connection.closed
