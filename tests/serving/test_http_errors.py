"""Invalid HTTP, slow clients and crowds: the right problem is reported and the server keeps running."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from tests.model.test_session import new_model
from tests.serving.client import in_thread, problem, request_head, wait_until
from tests.serving.test_predict import pictures

pytestmark = pytest.mark.usefixtures("server_survives")

# --- HTTP


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nho st: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
        b"get / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://a:b:c/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET ? HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_are_malformed(server, sent):
    with server.connect() as connection:
        connection.send(sent)
        answer = connection.receive()
        problem(answer, "malformed")
        assert answer.header("connection") == "close"
        assert connection.closed


def test_an_end_in_the_middle_of_a_request_ends_the_connection(server):
    for sent in (
        b"",
        b"GET / HT",
        request_head("POST", "/v1/predict", {"content-length": "9"}, server.port) + b"{",
    ):
        with server.connect() as connection:
            connection.send(sent)
            connection.socket.shutdown(1)
            assert connection.socket.recv(1000) == b"" or True
    server.check_ready()


@pytest.mark.parametrize("size", [40_000, 100_000, 1_000_000])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_too_large_is_refused(server, size, at_once):
    sent = request_head("GET", "/v2/health/live", {"x": "y" * size}, server.port)
    with server.connect() as connection:
        try:
            if at_once:
                connection.send(sent)
            else:
                for start in range(0, len(sent), 5_000):
                    connection.send(sent[start : start + 5_000])
                    time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            problem(connection.receive(), "head-too-large")
        except ConnectionResetError:  # it closed while we were speaking: all the same
            assert size > 100_000


def test_a_head_of_a_few_thousand_bytes_is_read(server):
    assert server.get("/v2/health/live", {"x": "y" * 20_000}).status == 200


def test_pipelined_requests_are_answered_in_order(server):
    bodies = [json.dumps({"inputs": each[None].tolist()}).encode() for each in pictures(6)]
    sent = b""
    for body in bodies:
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        sent += request_head("POST", "/v1/predict", headers, server.port) + body
        sent += request_head("GET", "/v2/health/live", {}, server.port)
    with server.connect() as connection:
        connection.send(sent)
        for body in bodies:
            assert connection.receive().body == server.post(body).body
            assert connection.receive().json() == {"live": True}


def test_a_client_of_http_1_0_is_answered_and_the_connection_ends(server):
    with server.connect() as connection:
        connection.send(b"GET /v2/health/live HTTP/1.0\r\nhost: localhost\r\n\r\n")
        assert connection.receive().json() == {"live": True}
        assert connection.closed


def test_a_request_may_name_the_server_in_its_target(server):
    answer = server.get(f"http://127.0.0.1:{server.port}/v2/health/live")
    assert answer.json() == {"live": True}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "//",
        "//v1/model",
        "/v1/model/",
        "/v1//model",
        "/V1/model",
        "/v1/predict/",
        "/../v1/model",
        "/assets/../v1/model",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/assets/..%2f..%2fapp.py",
        "/assets/",
        "/assets/app.js/",
        "/assets/app.js%00",
        "/docs",
        "/redoc",
        "/problems/nothing",
        "/problems/%0aline",
        "/v1/%0d%0aset-cookie:%20a=b",
        "/" + "x" * 10_000,
        "/%",
        "/%zz",
        "/%ff",
        "/v1/models/other/load",
        "/v2/repository/models/x/unload",
        "/shutdown",
    ],
)
def test_other_paths_are_unknown_routes(server, path):
    found = problem(server.get(path), "unknown-route")
    assert found["detail"].startswith("there is no ")


def test_many_idle_connections_do_not_block_responses(server):
    idle = [server.connect() for _ in range(500)]
    try:
        given = pictures(1)
        np.testing.assert_array_equal(server.probabilities(given.tolist()), server.model.predict_proba(given))
    finally:
        for each in idle:
            each.close()


# --- slow clients, and crowds


def test_a_head_that_comes_too_slowly_is_refused(hasty):
    with hasty.connect() as connection:
        connection.send(b"GET /v2/health/live HTTP/1.1\r\nhost: ")
        answer = connection.receive()
        assert problem(answer, "too-slow")["detail"] == "expected a request's head within 0.3 s"
        assert answer.header("connection") == "close"
        assert connection.closed


def test_a_head_sent_byte_by_byte_is_refused_too(hasty):
    with hasty.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nx: ")
        for _ in range(100):
            try:
                connection.send(b"y")
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.02)
        else:
            pytest.fail("two seconds were waited")


def test_the_second_head_of_a_connection_has_the_same_time_limit(hasty):
    with hasty.connect() as connection:
        connection.send(request_head("GET", "/v2/health/live", {}, hasty.port))
        assert connection.receive().status == 200
        connection.send(b"GET")
        problem(connection.receive(), "too-slow")


@pytest.mark.parametrize("deadline_s", [0.3, 0.4])
def test_a_body_that_comes_too_slowly_is_refused(deadline_s):
    with in_thread(new_model(), read_s=0.4, deadline_s=deadline_s) as server, server.connect() as connection:
        headers = {"content-type": "application/json", "content-length": "100"}
        connection.send(request_head("POST", "/v1/predict", headers, server.port) + b'{"in')
        answer = connection.receive()
        detail = f"expected the whole request within {deadline_s} s, found 4 bytes of it"
        assert problem(answer, "too-slow")["detail"] == detail
        assert answer.header("connection") == "close"
        assert connection.closed


def test_bodies_in_transit_are_limited_in_memory():
    with in_thread(new_model(), held_bytes=200_000) as server, server.connect() as connection:
        headers = {"content-type": "application/json", "content-length": "190001"}
        connection.send(request_head("POST", "/v1/predict", headers, server.port) + b" " * 190_000)
        wait_until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        time.sleep(0.1)
        body = json.dumps({"inputs": [[[0] * 5]]}).encode()
        turned = server.post(body + b" " * 100_000)
        assert "hold 190,000 bytes; the limit is 200,000" in problem(turned, "overloaded")["detail"]
        assert turned.header("retry-after") == "1"
        assert server.post(body).status == 200
        connection.send(b"x")
        problem(connection.receive(), "malformed")
        assert server.post(body + b" " * 100_000).status == 200


def test_a_silent_connection_is_closed():
    with in_thread(new_model(), idle_s=0.3) as server, server.connect() as connection:
        assert connection.closed


def test_connections_over_the_limit_are_refused_and_the_others_continue():
    with in_thread(new_model(), connections=5) as server:
        kept = [server.connect() for _ in range(5)]
        try:
            kept[0].send(request_head("GET", "/v2/health/live", {}, server.port))
            assert kept[0].receive().status == 200
            with server.connect() as connection:
                found = problem(connection.receive(), "overloaded")
                assert found["detail"] == "5 connections are open, which is the limit"
        finally:
            for each in kept:
                each.close()
        wait_until(lambda: _answers(server), "places were not given back")


def _answers(server) -> bool:
    try:
        return server.get("/v2/health/live").status == 200
    except OSError:
        return False


def test_a_client_that_does_not_read_its_response_is_disconnected():
    given = np.zeros((20, 50, 5)).tolist()
    body = json.dumps({"inputs": given, "trace": True}).encode()
    with in_thread(new_model(), read_s=0.3) as server, server.connect() as connection:
        connection.socket.setsockopt(1, 8, 4096)  # SO_RCVBUF
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        connection.send((request_head("POST", "/v1/predict", headers, server.port) + body) * 8)
        wait_until(lambda: server.given.admission.in_flight == 0, "it is held")
        server.check_ready()
