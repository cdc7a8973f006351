"""The interfaces for Prometheus and OpenAPI."""

from __future__ import annotations

import importlib.util
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.model.test_session import new_model
from tests.serving.client import in_thread, problem, wait_until
from tests.serving.test_stream_route import joined, say


def samples(server) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of /metrics by its name and labels."""
    answer = server.get("/metrics")
    kind = answer.header("content-type")
    assert kind is not None
    assert kind.startswith("text/plain; version=")
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(answer.body.decode())
        for each in family.samples
    }


def test_requests_are_counted_by_route_and_status():
    with in_thread(new_model()) as server:
        for _ in range(3):
            assert server.predict([[[0] * 5]]).status == 200
        problem(server.predict([[[0]]]), "wrong-values")
        problem(server.get("/v1/elsewhere"), "unknown-route")
        problem(server.get("/v1/model", {"host": "evil.example"}), "wrong-host")
        server.get("/v1/model")
        found = samples(server)

    def count(route: str, status: str) -> float:
        return found["scanline_requests_total", (("route", route), ("status", status))]

    assert count("/v1/predict", "200") == 3
    assert count("/v1/predict", "422") == 1
    assert count("/v1/model", "200") == 1
    assert count("other", "404") == 1
    assert count("other", "421") == 1
    assert found["scanline_request_seconds_count", (("route", "/v1/predict"),)] == 4
    assert found["scanline_batch_requests_sum", ()] == 3
    assert found["scanline_requests_under_way", ()] == 0
    assert found["scanline_turned_away_total", ()] == 0


def test_unknown_paths_create_no_new_metric_series():
    with in_thread(new_model()) as server:
        for number in range(20):
            server.get(f"/v1/{number}")
            server.get(f"/problems/{number}")
        routes = {
            dict(labels).get("route")
            for name, labels in samples(server)
            if name.startswith("scanline_requests")
        }
    assert routes - {None} <= {"other", "/problems/{name}", "/metrics"}


def test_streams_that_are_open_are_counted():
    with in_thread(new_model()) as server:
        with joined(server) as stream:
            say(stream, {"reset": True})
            assert samples(server)["scanline_streams", ()] == 1
        wait_until(lambda: samples(server)["scanline_streams", ()] == 0, "it is still counted")


def test_metrics_name_the_model(sequences):
    digest = sequences.get("/v1/model").json()["model"]
    assert samples(sequences)["scanline_model_info", (("digest", digest), ("name", "made"))] == 1


# --- OpenAPI


@pytest.fixture(scope="module")
def described(sequences):
    return sequences.get("/openapi.json").json()


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for each in node.values() for found in references(each)]
    if isinstance(node, list):
        return [found for each in node for found in references(each)]
    return []


def test_the_document_is_openapi_3(described):
    assert re.fullmatch(r"3\.1\.\d+", described["openapi"])
    assert described["info"]["title"] == "Scanline"
    if importlib.util.find_spec("openapi_spec_validator"):
        from openapi_spec_validator import validate

        validate(described)
    for path, methods in described["paths"].items():
        assert path.startswith("/")
        for method, documented in methods.items():
            assert method in ("get", "post")
            assert documented["summary"]
            assert documented["operationId"]
            assert documented["responses"]


def test_every_reference_in_the_openapi_document_resolves(described):
    found = references(described)
    assert found
    for each in set(found):
        node = described
        assert each.startswith("#/"), each
        for part in each[2:].split("/"):
            assert part in node, each
            node = node[part]


def test_the_openapi_document_describes_the_body_and_problems_of_predict(described):
    predict = described["paths"]["/v1/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"application/json", "image/*", "multipart/form-data"}
    assert predict["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/PredictRequest"
    }
    wish = described["components"]["schemas"]["PredictRequest"]
    named = {"inputs", "lengths", "full_scale", "fit", "trace", "what_if", "attribution"}
    assert set(wish["properties"]) == named
    assert {"200", "400", "401", "403", "408", "413", "415", "421", "422", "503"} <= set(predict["responses"])
    for status, answer in predict["responses"].items():
        kind = "application/json" if status == "200" else "application/problem+json"
        assert kind in answer["content"], status
