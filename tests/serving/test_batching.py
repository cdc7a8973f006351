"""However many ask at a time, each is answered as if it were alone, and no more are let in than may be."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.model.test_session import new_model, steps
from tests.serving.client import in_thread, problem, request_head, wait_until
from tests.serving.test_predict import pictures


def crowd(server, bodies: list[bytes], clients: int = 32) -> list[bytes]:
    """What each body is answered, of so many clients that all begin at the same time."""
    gate = threading.Barrier(clients)
    found: list[bytes] = [b""] * len(bodies)

    def client(number: int) -> None:
        with server.connect() as connection:
            gate.wait(20)
            for index in range(number, len(bodies), clients):
                headers = {"content-type": "application/json", "content-length": str(len(bodies[index]))}
                connection.send(request_head("POST", "/v1/predict", headers, server.port) + bodies[index])
                answer = connection.receive()
                assert answer.status == 200, answer
                found[index] = answer.body

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return found


def body(inputs: list[object]) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def shares(answer: bytes) -> list[list[float]]:
    return [list(each["probabilities"].values()) for each in json.loads(answer)["predictions"]]


def test_thirty_two_clients_get_the_predictions_of_each_alone_bit_for_bit(server):
    given = pictures(160)
    expected = server.model.predict_proba(given)
    for each, row in zip(crowd(server, [body([each.tolist()]) for each in given]), expected, strict=True):
        np.testing.assert_array_equal(shares(each)[0], row)


@pytest.mark.parametrize(
    "made_of", [{}, {"layers": 2}, {"readout": "mean"}, {"bidirectional": True}], ids=str
)
def test_sequences_in_a_batch_are_predicted_as_each_alone(made_of):
    model, draw = new_model(**made_of), np.random.default_rng(5)
    requests = [
        [steps(int(draw.integers(1, 40)), int(draw.integers(1 << 30))) for _ in range(draw.integers(1, 5))]
        for _ in range(96)
    ]
    with in_thread(model, wait_ms=5.0) as server:
        answers = crowd(server, [body([each.tolist() for each in request]) for request in requests])
        together = server.given.metrics.registry.get_sample_value("scanline_batch_requests_count")
        assert together < 96, "nothing was computed together"
    for answer, request in zip(answers, requests, strict=True):
        for found, each in zip(shares(answer), request, strict=True):
            np.testing.assert_array_equal(found, model.predict_proba(each[None])[0])


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_batches_computed_by_torch_change_predictions_by_rounding_only(cell):
    model = new_model(cell)
    given = [steps(t % 7 + 1, seed=t) for t in range(64)]
    with in_thread(model) as server:
        answers = crowd(server, [body([each.tolist()]) for each in given])
    for answer, each in zip(answers, given, strict=True):
        np.testing.assert_allclose(shares(answer)[0], model.predict_proba(each[None])[0], rtol=0, atol=1e-6)


def test_an_invalid_request_does_not_affect_others_of_its_batch(server):
    given = pictures(32)
    expected = server.model.predict_proba(given)
    gate = threading.Barrier(33)

    def bad() -> None:
        gate.wait(20)
        for _ in range(30):
            problem(server.predict([[[99] * 8] * 8]), "wrong-values")

    def good(index: int) -> None:
        gate.wait(20)
        np.testing.assert_array_equal(server.probabilities([given[index].tolist()])[0], expected[index])

    with ThreadPoolExecutor(33) as pool:
        waiting = [pool.submit(bad), *(pool.submit(good, index) for index in range(32))]
        for each in waiting:
            each.result(30)


def test_traces_do_not_depend_on_concurrent_requests(server):
    given = pictures(8)
    alone = [server.predict([each.tolist()], trace=True).body for each in given]
    with ThreadPoolExecutor(8) as pool:
        plain = pool.submit(crowd, server, [body([each.tolist()]) for each in pictures(64, 3)], 16)
        beside = list(pool.map(lambda each: server.predict([each.tolist()], trace=True).body, given))
        plain.result(30)
    assert beside == alone


# --- no more than may be


def fill(server, requests: int) -> list:
    """So many requests under way, whose bodies are still to come."""
    connections = []
    for number in range(requests):
        connection = server.connect()
        headers = {"content-type": "application/json", "content-length": "100000"}
        connection.send(request_head("POST", "/v1/predict", headers, server.port) + b" ")
        connections.append(connection)
        wait_until(
            lambda wanted=number + 1: server.given.admission.in_flight == wanted, "it does not come in"
        )
    return connections


def test_excess_requests_get_503_with_retry_after_and_others_are_served():
    one = body([[[0] * 5]])
    with in_thread(new_model(), requests=3) as server:
        connections = fill(server, 3)
        turned = server.post(one)
        found = problem(turned, "overloaded")
        assert found["detail"] == "3 requests are in flight, which is the limit"
        after = turned.header("retry-after")
        assert after is not None
        assert 1 <= int(after) <= 10
        server.check_ready()
        assert server.get("/v1/model").status == 200
        connections[0].send(b"x" * 99_999)
        problem(connections[0].receive(), "malformed")
        wait_until(lambda: server.given.admission.in_flight == 2, "its place is not given back")
        assert server.post(one).status == 200
        for connection in connections:
            connection.close()
        wait_until(lambda: server.given.admission.in_flight == 0, "places of those who went away are kept")


def test_a_connection_survives_a_503_and_can_be_used_again():
    one = body([[[0] * 5]])
    headers = {"content-type": "application/json", "content-length": str(len(one))}
    with in_thread(new_model(), requests=1) as server, server.connect() as connection:
        (busy,) = fill(server, 1)
        sent = request_head("POST", "/v1/predict", headers, server.port) + one
        connection.send(sent)
        problem(connection.receive(), "overloaded")
        busy.close()
        wait_until(lambda: server.given.admission.in_flight == 0, "its place is not given back")
        connection.send(sent)
        assert connection.receive().status == 200


def test_a_refused_request_in_pieces_is_read_to_its_end():
    one = body([[[0] * 5]])
    headers = {"content-type": "application/json", "content-length": str(len(one))}
    with in_thread(new_model(), requests=1) as server, server.connect() as connection:
        (busy,) = fill(server, 1)
        sent = request_head("POST", "/v1/predict", headers, server.port)
        for piece in (sent[:20], sent[20:], one[:4]):
            connection.send(piece)
            assert not _has_response(connection)
        connection.send(one[4:])
        problem(connection.receive(), "overloaded")
        busy.close()
        wait_until(lambda: server.given.admission.in_flight == 0, "its place is not given back")
        connection.send(sent + one)
        assert connection.receive().status == 200


def _has_response(connection) -> bool:
    import select

    return bool(select.select([connection.socket], [], [], 0.05)[0])


def test_refused_requests_are_counted():
    with in_thread(new_model(), requests=1) as server:
        connections = fill(server, 1)
        for _ in range(3):
            problem(server.post(body([[[0] * 5]])), "overloaded")
        connections[0].close()
        assert server.given.metrics.registry.get_sample_value("scanline_turned_away_total") == 3


def test_a_request_that_misses_the_deadline_is_abandoned():
    inputs = steps(10_000, sessions=8).round(2).tolist()
    with in_thread(new_model(hidden_size=400), deadline_s=0.1) as server:
        late = server.post(body(inputs))
        assert problem(late, "too-late")["detail"] == "there was no answer within 0.1 s"
        assert late.header("retry-after") == "1"
        wait_until(lambda: server.given.admission.in_flight == 0, "its place is not given back")
