"""Shutdown of the server: pending requests finish, new ones are refused, and the exit code is 0."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.model.test_session import new_model
from tests.serving.client import (
    Connection,
    in_thread,
    problem,
    request_head,
    terminate,
    wait_ready,
    wait_until,
)
from tests.serving.test_predict import pictures
from tests.serving.test_stream_route import handshake, joined, say


def half(server, body: bytes) -> Connection:
    """A request that is under way: its last byte is still to come."""
    connection = server.connect()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    connection.send(request_head("POST", "/v1/predict", headers, server.port) + body[:-1])
    return connection


def refused(server) -> bool:
    try:
        server.connect().close()
    except OSError:
        return True
    return False


def wait_until_it_listens_no_more(server) -> None:
    wait_until(lambda: refused(server), "it still takes connections")


def test_sigterm_finishes_requests_in_flight_and_closes_streams(started, digits):
    server, given = wait_ready(started[1]), pictures(1)
    body = json.dumps({"inputs": given.tolist()}).encode()
    with half(server, body) as connection, server.connect() as idle, joined(server) as stream:
        say(stream, {"steps": given[0, :2].tolist()})
        time.sleep(0.1)
        started[1].send_signal(signal.SIGTERM)
        wait_until_it_listens_no_more(server)
        assert idle.closed
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012  # RFC 6455's registry: service restart
        assert started[1].poll() is None
        connection.send(body[-1:])
        answer = connection.receive()
        assert answer.status == 200, answer
        (found,) = answer.json()["predictions"]
        np.testing.assert_array_equal(list(found["probabilities"].values()), digits.predict_proba(given)[0])
        assert connection.closed
    assert started[1].wait(20) == 0
    assert "Traceback" not in terminate(started[1])


def test_a_second_signal_stops_the_server_at_once(started):
    server = wait_ready(started[2])
    with half(server, b"{}"):
        time.sleep(0.1)
        started[2].send_signal(signal.SIGINT)
        wait_until_it_listens_no_more(server)
        with pytest.raises(subprocess.TimeoutExpired):
            started[2].wait(0.5)
        began = time.monotonic()
        assert "Traceback" not in terminate(started[2], signal.SIGTERM)
        assert time.monotonic() - began < 10  # and not the 30 s that it has for what is under way


def test_while_shutting_down_new_requests_get_503():
    with in_thread(new_model()) as server, server.connect() as connection:
        server.check_ready()
        server.given.admission.ending = (
            True  # as the signal does; a tenth of a second later it listens no more
        )
        detail = "the server is shutting down and accepts no more requests"
        assert problem(server.get("/v2/health/ready"), "ending")["detail"] == detail
        assert server.get("/v2/health/live").json() == {"live": True}
        assert problem(server.predict([[[0] * 5]]), "ending")["detail"] == detail
        assert problem(handshake(server), "ending")["detail"] == detail
        connection.send(request_head("GET", "/v2/health/ready", {}, server.port))
        problem(connection.receive(), "ending")
        server.given.admission.ending = False


def test_a_signal_starts_the_shutdown():
    with in_thread(new_model()) as server, half(server, b'{"inputs":[[[0,0,0,0,0]]]}') as connection:
        wait_until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        server.stop()
        wait_until(lambda: server.given.admission.ending, "it does not end")
        connection.send(b"}")
        assert connection.receive().status == 200


def test_requests_that_do_not_finish_are_abandoned_at_the_end_of_the_grace_period(caplog):
    with in_thread(new_model(), drain_s=1.0) as server, half(server, b"{}"):
        wait_until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        server.stop()
        wait_until_it_listens_no_more(server)
    caplog.clear()  # uvicorn logs that it cancels


def test_an_idle_server_stops_at_once():
    began = time.monotonic()
    with in_thread(new_model()) as server:
        server.check_ready()
    assert time.monotonic() - began < 10
