"""Where requests begin and end on a connection, seen from below HTTP."""

from __future__ import annotations

import json

import pytest

from scanline.serving.connections import content_length
from tests.model.test_session import new_model
from tests.serving.client import in_thread, problem, request_head


@pytest.fixture(scope="module")
def small():
    with in_thread(new_model(), read_s=0.5, head_bytes=2_000, idle_s=1.0) as server:
        yield server


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (b"host: a", 0),
        (b"content-length: 12", 12),
        (b"Content-Length:12 ", 12),
        (b"x: content-length: 3", 0),
        (b"content-length: 1\r\ncontent-length: 1", None),
        (b"content-length: +1", None),
        (b"content-length: 1x", None),
        (b"content-length: 3\r\ntransfer-encoding: chunked", None),
        (b"content-length: 3\r\nexpect: 100-continue", None),
        (b"connection: upgrade\r\nupgrade: websocket", None),
    ],
)
def test_the_length_of_a_body_is_known_only_from_one_unambiguous_header(lines, length):
    assert content_length(b"POST / HTTP/1.1\r\n" + lines + b"\r\n") == length


def test_a_body_sent_after_its_response_is_not_parsed_as_a_head(small):
    with small.connect() as connection:
        connection.send(request_head("POST", "/nothing", {"content-length": "100000"}, small.port))
        problem(connection.receive(), "unknown-route")
        for _ in range(100):
            connection.send(b"\r\n\r\n" + b"x" * 996)
        connection.send(request_head("GET", "/v2/health/live", {}, small.port))
        assert connection.receive().json() == {"live": True}


def test_an_endless_body_after_its_response_ends_the_connection(small):
    with small.connect() as connection:
        connection.send(request_head("POST", "/nothing", {"content-length": "100000"}, small.port))
        problem(connection.receive(), "unknown-route")
        assert connection.closed


def test_a_chunked_body_that_is_not_read_ends_the_connection(small):
    with small.connect() as connection:
        connection.send(
            request_head("POST", "/nothing", {"transfer-encoding": "chunked"}, small.port) + b"1\r\nx\r\n"
        )
        answer = connection.receive()
        problem(answer, "unknown-route")
        assert answer.header("connection") == "close"
        assert connection.closed


def test_after_a_chunked_body_the_connection_continues(small):
    body = json.dumps({"inputs": [[[0] * 5]]}).encode()
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    with small.connect() as connection:
        for _ in range(2):
            connection.send(request_head("POST", "/v1/predict", headers, small.port))
            connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            assert connection.receive().status == 200


def test_the_head_of_a_pipelined_request_has_the_same_limit(small):
    first = request_head("GET", "/v2/health/live", {}, small.port)
    with small.connect() as connection:
        connection.send(first + request_head("GET", "/v2/health/live", {"x": "y" * 3_000}, small.port))
        try:
            assert connection.receive().json() == {"live": True}
            problem(connection.receive(), "head-too-large")
        except ConnectionError:
            return  # closed before the first was answered: nothing of the second was taken either


def test_blank_lines_before_a_head_are_skipped_up_to_a_limit(small):
    with small.connect() as connection:
        connection.send(b"\r\n\r\n" + request_head("GET", "/v2/health/live", {}, small.port))
        assert connection.receive().json() == {"live": True}
        connection.send(b"\r\n\r\nGET")
        problem(connection.receive(), "too-slow")


def test_blank_lines_do_not_keep_a_connection_open(small):
    with small.connect() as connection:
        connection.send(b"\r\n")
        assert connection.closed
