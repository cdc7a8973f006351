"""Streams: answers after every step over a WebSocket, saved and gone on with elsewhere."""

from __future__ import annotations

import base64
import json
import os
import socket

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from scanline.serving.access import Access
from scanline.serving.problems import KINDS
from tests.model.test_session import new_model, steps
from tests.serving.client import Connection, in_thread, problem, request_head, wait_until
from tests.serving.test_predict import pictures


def joined(server, **options):
    """A stream of that server."""
    return connect(f"ws://127.0.0.1:{server.port}/v1/stream", compression=None, open_timeout=20, **options)


def say(stream, message: object) -> dict:
    """The answer to one message."""
    stream.send(message if isinstance(message, str | bytes) else json.dumps(message))
    found = json.loads(stream.recv(20))
    assert isinstance(found, dict)
    return found


def fault(found: dict, name: str) -> str:
    """The detail of a problem that is the answer to a message."""
    assert (found["type"], found["title"]) == (f"/problems/{name}", KINDS[name].title)
    assert found["status"] == KINDS[name].status
    assert found["detail"].isprintable()
    detail: str = found["detail"]
    return detail


def rows(found: dict) -> list[list[float]]:
    return [list(each["probabilities"].values()) for each in found["predictions"]]


def handshake(server, path: str = "/v1/stream", **headers: str):
    """The answer to a handshake, whatever it is."""
    kept = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
    } | headers
    with server.connect() as connection:
        connection.send(request_head("GET", path, kept, server.port))
        status = connection.socket.recv(1 << 16, socket.MSG_PEEK)
        if status.startswith(b"HTTP/1.1 101"):
            return None
        return connection.receive()


def test_every_step_is_predicted_as_the_prefix(sequences):
    sequence = steps(9)
    with joined(sequences) as stream:
        first = say(stream, {"steps": sequence[:4].tolist()})
        second = say(stream, {"steps": sequence[4:].tolist()})
    assert (first["steps"], second["steps"]) == (4, 9)
    found = rows(first) + rows(second)
    for end, row in enumerate(found, 1):
        np.testing.assert_allclose(
            row, sequences.model.predict_proba(sequence[None, :end])[0], rtol=0, atol=1e-6
        )
    for each in first["predictions"]:
        best = max(each["probabilities"], key=each["probabilities"].get)
        assert (each["label"], each["probability"]) == (best, each["probabilities"][best])


def test_a_response_equals_the_session_bit_for_bit(sequences):
    sequence, session = steps(5), sequences.model.stream()
    with joined(sequences) as stream:
        for step in sequence:
            np.testing.assert_array_equal(
                rows(say(stream, {"steps": [step.tolist()]})), session.feed(step[None])
            )


def test_concurrent_streams_are_independent(sequences):
    one, other = steps(6, 1), steps(6, 2)
    with joined(sequences) as first, joined(sequences) as second:
        together = [
            (say(first, {"steps": [a.tolist()]}), say(second, {"steps": [b.tolist()]}))
            for a, b in zip(one, other, strict=True)
        ]
    for sequence, number in ((one, 0), (other, 1)):
        with joined(sequences) as alone:
            assert [say(alone, {"steps": [step.tolist()]}) for step in sequence] == [
                each[number] for each in together
            ]


def test_a_picture_is_read_row_by_row(server):
    (picture,) = pictures(1)
    with joined(server) as stream:
        found = [say(stream, {"steps": [row.tolist()]}) for row in picture]
    np.testing.assert_allclose(
        rows(found[-1])[0], server.model.predict_proba(picture[None])[0], rtol=0, atol=1e-6
    )


def test_a_saved_session_continues_in_another_process_bit_for_bit(server):
    picture = pictures(1)[0].tolist()
    with in_thread(server.model) as here, joined(here) as stream:
        say(stream, {"steps": picture[:5]})
        saved = say(stream, {"save": True})
        assert saved["steps"] == 5
        expected = say(stream, {"steps": picture[5:]})
    with joined(server) as stream:
        assert say(stream, {"resume": saved["session"]}) == {"steps": 5}
        assert say(stream, {"save": True}) == saved
        assert say(stream, {"steps": picture[5:]}) == expected


def test_a_reset_starts_again(sequences):
    sequence = steps(3).tolist()
    with joined(sequences) as stream:
        fresh = say(stream, {"steps": sequence})
        assert say(stream, {"reset": True}) == {"steps": 0}
        assert say(stream, {"steps": sequence}) == fresh


def test_null_is_a_missing_value_if_the_model_accepts_them():
    model, sequence = new_model(missing="forward-fill"), steps(4)
    sequence[1, 2] = sequence[3, 0] = np.nan
    sent = [[None if np.isnan(each) else float(each) for each in step] for step in sequence]
    with in_thread(model) as server, joined(server) as stream:
        np.testing.assert_array_equal(rows(say(stream, {"steps": sent})), model.stream().feed(sequence))


ONE = "expected one of steps, text, save, resume, reset in a message"
WIDE = "steps: expected shape (t, 5), t at most 10,000, found "


@pytest.mark.parametrize(
    ("message", "name", "detail"),
    [
        ("", "malformed", "expected JSON: "),
        ("{", "malformed", "expected JSON: "),
        ("[" * 100_000, "malformed", "expected JSON: "),
        ('{"steps": [[NaN, 0, 0, 0, 0]]}', "malformed", "expected JSON: "),
        (b"\x00\x01", "wrong-type", "expected a text message of JSON, found bytes"),
        (b'{"reset": true}', "wrong-type", "expected a text message of JSON, found bytes"),
        ("[]", "wrong-values", "the body: "),
        ("null", "wrong-values", "the body: "),
        ({}, "wrong-values", ONE),
        ({"save": True, "reset": True}, "wrong-values", ONE),
        ({"steps": [], "save": True}, "wrong-values", ONE),
        ({"stop": True}, "wrong-values", "stop: Extra inputs are not permitted"),
        ({"save": False}, "wrong-values", "save: Input should be True"),
        ({"steps": None}, "wrong-values", ONE),
        ({"save": None}, "wrong-values", ONE),
        ({"steps": 7}, "wrong-values", "steps: Input should be a valid list"),
        ({"steps": [[0] * 4]}, "wrong-values", WIDE + "(1, 4)"),
        ({"steps": [0] * 5}, "wrong-values", WIDE + "(5,)"),
        ({"steps": [[0] * 5, [0]]}, "wrong-values", "steps: expected lists of equal length"),
        ({"steps": [["1", 0, 0, 0, 0]]}, "wrong-values", "steps: expected numbers, found text"),
        ({"steps": [[True, 0, 0, 0, 0]]}, "wrong-values", "steps: expected numbers, found true or false"),
        ({"steps": [[{}, 0, 0, 0, 0]]}, "wrong-values", "steps: expected numbers, found an object"),
        ({"steps": [[1e39, 0, 0, 0, 0]]}, "wrong-values", "expected numbers that float32 can hold"),
        ({"steps": [[None, 0, 0, 0, 0]]}, "wrong-values", "the steps: expected finite numbers, found nan; "),
        ({"steps": [[0] * 5] * 10_001}, "wrong-values", WIDE + "(10001, 5)"),
        ({"steps": [["x" * 1_000_000, *[0] * 2_000]]}, "wrong-values", "steps: expected numbers, found text"),
        ({"resume": 7}, "wrong-values", "resume: Input should be a valid string"),
        ({"resume": "not base64!"}, "wrong-values", "resume: expected base64"),
        ({"resume": "é"}, "wrong-values", "resume: expected base64"),
        ({"resume": ""}, "wrong-values", "the saved session"),
        ({"resume": base64.b64encode(b"damaged" * 9).decode()}, "wrong-values", "the saved session"),
        ({"resume": None}, "wrong-values", ONE),
    ],
    ids=lambda each: str(each)[:50],
)  # fmt: skip
def test_an_invalid_message_is_reported_and_the_session_is_unchanged(sequences, message, name, detail):
    sequence = steps(4).tolist()
    with joined(sequences) as stream:
        say(stream, {"steps": sequence[:2]})
        before = say(stream, {"save": True})
        assert fault(say(stream, message), name).startswith(detail)
        assert say(stream, {"save": True}) == before
        assert say(stream, {"steps": sequence[2:]})["steps"] == 4


def test_a_damaged_session_or_one_of_another_model_is_refused(sequences):
    with joined(sequences) as stream:
        say(stream, {"steps": steps(2).tolist()})
        kept = base64.b64decode(say(stream, {"save": True})["session"])
        for place in (0, 30, len(kept) // 2, len(kept) - 1):
            changed = bytearray(kept)
            changed[place] ^= 0x41
            answer = say(stream, {"resume": base64.b64encode(changed).decode()})
            assert "the saved session" in fault(answer, "wrong-values")
        for size in (8, 100, len(kept) - 1):
            answer = say(stream, {"resume": base64.b64encode(kept[:size]).decode()})
            assert "the saved session" in fault(answer, "wrong-values")
        for other in (new_model("gru"), new_model(readout="mean"), new_model(hidden_size=16)):
            session = base64.b64encode(other.stream().to_bytes()).decode()
            fault(say(stream, {"resume": session}), "wrong-values")
        assert say(stream, {"save": True})["steps"] == 2


def test_an_empty_list_of_steps_gets_no_predictions(sequences):
    with joined(sequences) as stream:
        found = say(stream, {"steps": []})
        assert found == {"steps": 0, "predictions": []} or fault(found, "wrong-values")


def test_a_message_over_the_limit_ends_the_stream():
    with in_thread(new_model(), body_bytes=10_000) as server:
        with joined(server) as stream:
            stream.send("x" * 20_000)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(20)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        with joined(server) as stream:
            assert say(stream, {"reset": True}) == {"steps": 0}


def test_frames_that_add_up_to_more_than_the_limit_end_the_stream():
    with in_thread(new_model(), body_bytes=10_000) as server, joined(server) as stream:

        def send_and_receive():
            stream.send("x" * 900 for _ in range(12))
            stream.recv(20)

        # The server may close the stream while the client is still sending its last frame.
        with pytest.raises(ConnectionClosed) as closed:
            send_and_receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_text_that_is_not_utf8_ends_the_stream(sequences, caplog):
    with joined(sequences) as stream:
        stream.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    wait_until(lambda: any("Invalid UTF-8" in each.message for each in caplog.records), "it is not logged")
    caplog.clear()  # uvicorn logs it with its traceback


def test_a_silent_stream_is_closed():
    with in_thread(new_model(), idle_s=0.3) as server, joined(server) as stream:
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert closed.value.rcvd.reason == "nothing was sent for 0.3 s"


def test_streams_past_the_limit_are_refused_until_one_ends():
    with in_thread(new_model(), streams=2) as server, joined(server):
        with joined(server):
            assert (
                problem(handshake(server), "overloaded")["detail"] == "2 streams are open, which is the limit"
            )
            assert server.given.metrics.open_streams == 2
        wait_until(lambda: server.given.metrics.open_streams == 1, "its place is kept")
        with joined(server) as third:
            assert say(third, {"reset": True}) == {"steps": 0}


def test_a_request_to_a_stream_is_asked_to_open_a_websocket(sequences):
    response = sequences.get("/v1/stream")
    assert problem(response, "no-websocket")["status"] == response.status == 426
    assert response.header("upgrade") == "websocket"
    assert sequences.get("/v1/model").json()["streams_obstacle"] is None


def test_a_lost_connection_frees_its_stream():
    with in_thread(new_model(), streams=1) as server, joined(server) as stream:
        stream.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: server.given.metrics.open_streams == 0, "its place is kept")


def test_a_model_in_both_directions_refuses_the_handshake():
    with in_thread(new_model(bidirectional=True)) as server:
        described = server.get("/v1/model").json()
        assert described["streams"] is False
        found = problem(handshake(server), "wrong-values")
        # A page in a browser cannot read the response to its handshake: it asks in these two ways.
        assert problem(server.get("/v1/stream"), "wrong-values") == found
        assert found["detail"].endswith(described["streams_obstacle"])
        assert found["detail"].startswith("this model has to know the end of a sequence")
        assert "train with model.bidirectional=false to stream" in found["detail"]


@pytest.mark.parametrize("path", ["/", "/v1/model", "/v1/predict", "/v1/stream/", "//v1/stream", "/nothing"])
def test_there_are_no_streams_at_other_paths(sequences, path):
    problem(handshake(sequences, path), "unknown-route")


def test_a_refused_handshake_is_no_error_in_the_log(sequences, caplog):
    for _ in range(20):
        problem(handshake(sequences, "/nothing"), "unknown-route")
        sequences.check_ready()  # the event loop has finished the handshake
    assert not caplog.records


def test_a_handshake_is_checked_for_host_origin_and_token():
    token = "correct-horse-battery"
    with in_thread(new_model(), Access(frozenset({"127.0.0.1"}), token=token)) as server:
        right = {"authorization": f"Bearer {token}"}
        assert handshake(server, **right) is None
        assert handshake(server, **right, origin=f"http://127.0.0.1:{server.port}") is None
        problem(handshake(server), "no-token")
        problem(handshake(server, authorization="Bearer wrong"), "no-token")
        problem(handshake(server, **right, host="evil.example"), "wrong-host")
        for origin in ("http://evil.example", "null", "http://[", "http://127.0.0.1:1"):
            problem(handshake(server, **right, origin=origin), "foreign-origin")


@pytest.mark.parametrize(
    "headers", [{"sec-websocket-version": "8"}, {"sec-websocket-key": "short"}, {"sec-websocket-key": ""}]
)
def test_an_invalid_handshake_is_refused(sequences, headers):
    answer = handshake(sequences, **headers)
    assert answer is not None
    assert 400 <= answer.status < 500
    sequences.check_ready()


def test_bytes_that_are_not_a_frame_end_the_stream(sequences):
    kept = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with Connection(sequences.port) as connection:
        connection.send(request_head("GET", "/v1/stream", kept, sequences.port))
        assert connection.receive().status == 101
        connection.send(b"GET / HTTP/1.1\r\n\r\n" * 10)
        with connection.socket.makefile("rb") as rest:
            assert rest.read()[:1] in (b"\x88", b"")
    wait_until(lambda: sequences.given.metrics.open_streams == 0, "its place is kept")
    sequences.check_ready()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "steps": st.lists(st.lists(st.floats(width=32) | ANY, min_size=5, max_size=5), max_size=2)
                | ANY,
                "save": st.just(True) | ANY,
                "resume": st.text(max_size=12) | ANY,
                "reset": st.just(True) | ANY,
            },
        )
        | ANY,
        min_size=1,
        max_size=5,
    )
)
def test_no_message_ends_a_stream(sequences, messages):
    with joined(sequences) as stream:
        for message in messages:
            found = say(stream, json.dumps(message))
            assert "steps" in found or fault(found, found["type"].rpartition("/")[2])
        assert say(stream, {"reset": True}) == {"steps": 0}
