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
from tests.serving.client import Line, end, head, in_thread, problem, ready, until
from tests.serving.test_predict import pictures
from tests.serving.test_stream_route import handshake, joined, say


def half(server, body: bytes) -> Line:
    """A request that is under way: its last byte is still to come."""
    line = server.line()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    line.say(head("POST", "/v1/predict", headers, server.port) + body[:-1])
    return line


def refused(server) -> bool:
    try:
        server.line().close()
    except OSError:
        return True
    return False


def wait_until_it_listens_no_more(server) -> None:
    until(lambda: refused(server), "it still takes connections")


def test_a_request_under_way_is_answered_when_sigterm_comes_and_streams_are_closed(started, digits):
    server, given = ready(started[1]), pictures(1)
    body = json.dumps({"inputs": given.tolist()}).encode()
    with half(server, body) as line, server.line() as idle, joined(server) as stream:
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
        line.say(body[-1:])
        answer = line.hear()
        assert answer.status == 200, answer
        (found,) = answer.json()["predictions"]
        np.testing.assert_array_equal(list(found["probabilities"].values()), digits.predict_proba(given)[0])
        assert line.closed
    assert started[1].wait(20) == 0
    assert "Traceback" not in end(started[1])


def test_a_second_signal_ends_at_once(started):
    server = ready(started[2])
    with half(server, b"{}"):
        time.sleep(0.1)
        started[2].send_signal(signal.SIGINT)
        wait_until_it_listens_no_more(server)
        with pytest.raises(subprocess.TimeoutExpired):
            started[2].wait(0.5)
        began = time.monotonic()
        assert "Traceback" not in end(started[2], signal.SIGTERM)
        assert time.monotonic() - began < 10  # and not the 30 s that it has for what is under way


def test_while_it_ends_it_says_so_and_takes_nothing_more():
    with in_thread(new_model()) as server, server.line() as line:
        server.goes_on()
        server.given.admission.ending = (
            True  # as the signal does; a tenth of a second later it listens no more
        )
        detail = "the server is shutting down and accepts no more requests"
        assert problem(server.get("/v2/health/ready"), "ending")["detail"] == detail
        assert server.get("/v2/health/live").json() == {"live": True}
        assert problem(server.predict([[[0] * 5]]), "ending")["detail"] == detail
        assert problem(handshake(server), "ending")["detail"] == detail
        line.say(head("GET", "/v2/health/ready", {}, server.port))
        problem(line.hear(), "ending")
        server.given.admission.ending = False


def test_the_signal_is_what_makes_it_say_so():
    with in_thread(new_model()) as server, half(server, b'{"inputs":[[[0,0,0,0,0]]]}') as line:
        until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        server.stop()
        until(lambda: server.given.admission.ending, "it does not end")
        line.say(b"}")
        assert line.hear().status == 200


def test_what_does_not_come_to_an_end_is_given_up_when_its_time_is_over(caplog):
    with in_thread(new_model(), drain_s=1.0) as server, half(server, b"{}"):
        until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        server.stop()
        wait_until_it_listens_no_more(server)
    caplog.clear()  # uvicorn logs that it cancels


def test_a_server_without_requests_ends_at_once():
    began = time.monotonic()
    with in_thread(new_model()) as server:
        server.goes_on()
    assert time.monotonic() - began < 10
