"""Where requests begin and end on a connection, seen from below HTTP."""

from __future__ import annotations

import json

import pytest

from scanline.serving.connections import content_length
from tests.model.test_session import new_model
from tests.serving.client import head, in_thread, problem


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
def test_the_length_of_a_body_is_known_only_if_one_header_decides_it(lines, length):
    assert content_length(b"POST / HTTP/1.1\r\n" + lines + b"\r\n") == length


def test_a_body_that_follows_its_response_is_not_taken_for_a_head(small):
    with small.line() as line:
        line.say(head("POST", "/nothing", {"content-length": "100000"}, small.port))
        problem(line.hear(), "unknown-route")
        for _ in range(100):
            line.say(b"\r\n\r\n" + b"x" * 996)
        line.say(head("GET", "/v2/health/live", {}, small.port))
        assert line.hear().json() == {"live": True}


def test_a_body_that_never_ends_after_its_response_is_not_waited_for(small):
    with small.line() as line:
        line.say(head("POST", "/nothing", {"content-length": "100000"}, small.port))
        problem(line.hear(), "unknown-route")
        assert line.closed


def test_a_chunked_body_that_is_not_read_ends_the_connection(small):
    with small.line() as line:
        line.say(head("POST", "/nothing", {"transfer-encoding": "chunked"}, small.port) + b"1\r\nx\r\n")
        answer = line.hear()
        problem(answer, "unknown-route")
        assert answer.header("connection") == "close"
        assert line.closed


def test_after_a_chunked_body_the_connection_continues(small):
    body = json.dumps({"inputs": [[[0] * 5]]}).encode()
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    with small.line() as line:
        for _ in range(2):
            line.say(head("POST", "/v1/predict", headers, small.port))
            line.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            assert line.hear().status == 200


def test_the_head_of_a_second_request_in_a_row_is_bounded_too(small):
    first = head("GET", "/v2/health/live", {}, small.port)
    with small.line() as line:
        line.say(first + head("GET", "/v2/health/live", {"x": "y" * 3_000}, small.port))
        try:
            assert line.hear().json() == {"live": True}
            problem(line.hear(), "head-too-large")
        except ConnectionError:
            return  # closed before the first was answered: nothing of the second was taken either


def test_a_head_that_begins_with_blank_lines_is_read_and_bounded(small):
    with small.line() as line:
        line.say(b"\r\n\r\n" + head("GET", "/v2/health/live", {}, small.port))
        assert line.hear().json() == {"live": True}
        line.say(b"\r\n\r\nGET")
        problem(line.hear(), "too-slow")


def test_blank_lines_do_not_keep_a_connection_open(small):
    with small.line() as line:
        line.say(b"\r\n")
        assert line.closed
