"""Invalid values: the right problem is reported and the server keeps running."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.serving.client import problem
from tests.serving.test_predict import png, stroke

GIANT_MB = 150  # more than a server may grow by, whatever it is sent


def zeros() -> list[list[int]]:
    return [[0] * 8 for _ in range(8)]


def changed(value: object) -> list[list[object]]:
    """A picture with one value changed."""
    picture: list[list[object]] = [list(row) for row in zeros()]
    picture[3][5] = value
    return picture


pytestmark = pytest.mark.usefixtures("server_survives")


# --- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b'{"inputs": [[[0]]]} more',
        b'{"inputs": [[[NaN]]]}',
        b'{"inputs": [[[Infinity]]]}',
        b'{"inputs": [[[-Infinity]]]}',
        b"{'inputs': []}",
        b'{"inputs": [[[01]]]}',
        b"\xff\xfe{}",
        b'{"inputs": ["\xff"]}',
        b'{"inputs": ["\\ud800"]}',
        '{"inputs": []}'.encode("utf-16"),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"inputs": ' + b"[" * 100_000,
        b'{"inputs":' * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_invalid_json_is_malformed(server, body):
    found = problem(server.post(body), "malformed")
    assert found["detail"].startswith("expected JSON: ")


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"inputs"', b"true"])
def test_json_other_than_an_object_is_refused(server, body):
    assert problem(server.post(body), "wrong-values")["detail"].startswith("the body: ")


@pytest.mark.parametrize(
    ("inputs", "detail", "pointers"),
    [
        ([[[0] * 8] * 7], "inputs[0]: expected shape (8, 8), found (7, 8)", ["/inputs/0"]),
        ([[[0] * 9] * 8], "inputs[0]: expected shape (8, 8), found (8, 9)", ["/inputs/0"]),
        ([zeros(), [0] * 64], "inputs[1]: expected shape (8, 8), found (64,)", ["/inputs/1"]),
        ([[[[0]] * 8] * 8], "inputs[0]: expected shape (8, 8), found (8, 8, 1)", ["/inputs/0"]),
        ([[]], "inputs[0]: expected shape (8, 8), found (0,)", ["/inputs/0"]),
        ([[[]] * 8], "inputs[0]: expected shape (8, 8), found (8, 0)", ["/inputs/0"]),
        ([7], "inputs[0]: expected shape (8, 8), found ()", ["/inputs/0"]),
        (
            [[[0] * 8] * 7 + [[0] * 7]],
            "inputs[0]: expected lists of equal length, found different ones",
            ["/inputs/0"],
        ),
        ([changed([0])], "inputs[0]: expected lists of equal length, found different ones", ["/inputs/0"]),
        ([changed(17)], "inputs[0]: expected numbers of 0 to 16, found 0 to 17", ["/inputs/0"]),
        ([changed(-1)], "inputs[0]: expected numbers of 0 to 16, found -1 to 0", ["/inputs/0"]),
        ([changed(None)], "inputs[0]: expected numbers of 0 to 16, found nan to nan", ["/inputs/0"]),
        ([changed("3")], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([changed("")], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([changed(True)], "inputs[0]: expected numbers, found true or false", ["/inputs/0"]),
        ([changed(False)], "inputs[0]: expected numbers, found true or false", ["/inputs/0"]),
        ([changed({})], "inputs[0]: expected numbers, found an object", ["/inputs/0"]),
        ([changed(10**30)], "inputs[0]: expected numbers of 0 to 16, found 0 to 1e+30", ["/inputs/0"]),
        (
            [changed(10**400)],
            "inputs[0]: expected numbers that float32 can hold, found larger ones",
            ["/inputs/0"],
        ),
        (["picture"], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([None], "inputs[0]: expected shape (8, 8), found ()", ["/inputs/0"]),
        ([{}], "inputs[0]: expected numbers, found an object", ["/inputs/0"]),
        (
            [changed(17), zeros(), [], changed("x")],
            "inputs[0]: expected numbers of 0 to 16, found 0 to 17",
            ["/inputs/0", "/inputs/2", "/inputs/3"],
        ),
    ],
    ids=lambda each: str(each)[:50],
)
def test_every_input_that_is_not_a_picture_is_named(server, inputs, detail, pointers):
    found = problem(server.predict(inputs), "wrong-values")
    assert found["detail"] == detail
    assert [each["pointer"] for each in found["errors"]] == pointers


def test_a_number_past_the_range_of_floats_is_refused(server):
    body = json.dumps({"inputs": [changed(0.5)]}).encode().replace(b"0.5", b"1e400")
    answer = server.post(body)
    assert answer.status in (400, 422), answer
    problem(answer, "malformed" if answer.status == 400 else "wrong-values")


def test_at_most_ten_errors_are_reported(server):
    assert len(problem(server.predict([[]] * 200), "wrong-values")["errors"]) == 10


@pytest.mark.parametrize(
    ("wish", "pointer", "message"),
    [
        ({"lengths": [8]}, "/lengths", "lengths: expected none, as this model reads images"),
        ({"full_scale": 0}, "/full_scale", "full_scale: Input should be greater than 0"),
        ({"full_scale": -1}, "/full_scale", "full_scale: Input should be greater than 0"),
        ({"full_scale": "255"}, "/full_scale", "full_scale: Input should be a valid number"),
        ({"full_scale": True}, "/full_scale", "full_scale: Input should be a valid number"),
        ({"fit": 1}, "/fit", "fit: Input should be a valid boolean"),
        ({"fit": None}, "/fit", "fit: Input should be a valid boolean"),
        ({"trace": "true"}, "/trace", "trace: Input should be a valid boolean"),
        (
            {"what_if": []},
            "/what_if",
            "what_if: Input should be a valid dictionary or instance of WhatIfRequest",
        ),
        (
            {"what_if": {"blank": [0]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be greater than or equal",
        ),
        (
            {"what_if": {"blank": [1.5]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be a valid integer",
        ),
        (
            {"what_if": {"blank": [True]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be a valid integer",
        ),
        (
            {"what_if": {"blank": [9]}},
            "/what_if/blank/0",
            "what_if.blank[0] must be a step from 1 to 8, got 9",
        ),
        (
            {"what_if": {"clamp": [{"gate": "g", "value": 0}]}},
            "/what_if/clamp/0/gate",
            "what_if.clamp[0].gate must be one of i, f, o",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 1.5}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp[0].value must be a number from 0 to 1, got 1.5",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": "1"}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp.0.value: Input should be a valid number",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": True}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp.0.value: Input should be a valid number",
        ),
        (
            {"what_if": {"clamp": [{"value": 0}]}},
            "/what_if/clamp/0/gate",
            "what_if.clamp.0.gate: Field required",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 0, "layer": 2}]}},
            "/what_if/clamp/0/layer",
            "what_if.clamp[0].layer must be 1, the network's only layer",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 0, "direction": "sideways"}]}},
            "/what_if/clamp/0/direction",
            "what_if.clamp.0.direction: Input should be 'forward' or 'backward'",
        ),
        (
            {"what_if": {"silence": [{"unit": 0, "direction": "backward"}]}},
            "/what_if/silence/0/direction",
            "what_if.silence[0].direction must be forward",
        ),
        (
            {"what_if": {"silence": [{"unit": 100_000}]}},
            "/what_if/silence/0/unit",
            "what_if.silence[0].unit must be a unit from 0 to",
        ),
        (
            {"what_if": {"silence": [{"unit": -1}]}},
            "/what_if/silence/0/unit",
            "what_if.silence.0.unit: Input should be greater than or equal to 0",
        ),
        ({"trase": True}, "/trase", "trase: Extra inputs are not permitted"),
        ({"a/b~c": 1}, "/a~1b~0c", "Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_unsupported_options_of_a_request_are_named(server, wish, pointer, message):
    found = problem(server.predict([zeros()], **wish), "wrong-values")
    assert pointer in [each["pointer"] for each in found["errors"]]
    assert message in found["detail"]


def test_errors_about_any_key_are_one_short_line(server):
    found = problem(server.predict([zeros()], **{"a\nb" + "x" * 100_000: 1}), "wrong-values")
    assert "Extra inputs are not permitted" in found["detail"]


def test_all_errors_of_a_what_if_are_reported_at_once(server):
    wish = {"blank": [9, 1, 12], "silence": [{"unit": 99_999, "layer": 3}]}
    found = problem(server.predict([zeros()], what_if=wish), "wrong-values")
    assert [each["pointer"] for each in found["errors"]] == [
        "/what_if/blank/0",
        "/what_if/blank/2",
        "/what_if/silence/0/unit",
        "/what_if/silence/0/layer",
    ]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"inputs": []}', b'{"inputs": null}', b'{"inputs": {}}', b'{"inputs": "[[0]]"}']
)
def test_inputs_are_required(server, body):
    (error,) = problem(server.post(body), "wrong-values")["errors"]
    assert error["pointer"] == "/inputs"


# --- sequences


@pytest.mark.parametrize(
    ("wish", "name", "detail"),
    [
        ({"inputs": [[[0] * 4]]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (1, 4)"),
        ({"inputs": [[0] * 5]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (5,)"),
        ({"inputs": [[]]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (0,)"),
        (
            {"inputs": [[[0, 0, None, 0, None]]]},
            "wrong-values",
            "inputs[0]: expected numbers, found 2 null; the model was trained with input.missing=error",
        ),
        (
            {"inputs": [[[1e39, 0, 0, 0, 0]]]},
            "wrong-values",
            "inputs[0]: expected numbers that float32 can hold, found larger ones",
        ),
        ({"inputs": [[[0] * 5]], "lengths": []}, "wrong-values", "lengths: expected 1 of them, found 0"),
        ({"inputs": [[[0] * 5]], "lengths": [1, 1]}, "wrong-values", "lengths: expected 1 of them, found 2"),
        (
            {"inputs": [[[0] * 5]], "lengths": [2]},
            "wrong-values",
            "inputs[0]: expected a length of at most 1, found 2",
        ),
        (
            {"inputs": [[[0] * 5]], "lengths": [0]},
            "wrong-values",
            "lengths.0: Input should be greater than or equal to 1",
        ),
        (
            {"inputs": [[[0] * 5]], "lengths": [1.0]},
            "wrong-values",
            "lengths.0: Input should be a valid integer",
        ),
        ({"inputs": [[[0] * 5]], "lengths": 1}, "wrong-values", "lengths: Input should be a valid list"),
        ({"inputs": [[[0] * 5]], "fit": True}, "wrong-values", "fit: this model does not read images"),
        (
            {"inputs": [[[0] * 5]], "fit": True, "full_scale": 1},
            "wrong-values",
            "full_scale and fit: this model does not read images",
        ),
        (
            {"inputs": [[[0] * 5] * 10_001]},
            "too-large",
            "expected at most 10,000 steps a sequence, found 10,001",
        ),
        ({"inputs": [[[0] * 5]] * 257}, "too-large", "expected at most 256 inputs, found 257"),
        (
            {"inputs": [[[0] * 5] * 501] * 2, "trace": True},
            "too-large",
            "expected at most 1,000 steps and 4,000,000 numbers to trace, found 1,002 and 102,204; "
            "ask for fewer sequences at a time",
        ),
        (
            {"inputs": [[[0] * 5] * 1_001], "what_if": {"blank": [1]}},
            "too-large",
            "expected at most 1,000 steps and 4,000,000 numbers to trace, found 1,001 and 102,102; "
            "ask for fewer sequences at a time",
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_unreadable_sequences_are_named(sequences, wish, name, detail):
    assert problem(sequences.post(json.dumps(wish).encode()), name)["detail"] == detail


def test_a_million_steps_are_too_many(sequences):
    body = b'{"inputs":[[' + b"[1,2,3,4,5]," * 500_000 + b"[1,2,3,4,5]]]}"
    assert problem(sequences.post(body), "too-large")["detail"].startswith(
        "expected at most 10,000 steps a sequence, found 500,001"
        if len(body) < 8 * 2**20
        else "expected a body of at most 8,388,608 bytes"
    )
    longer = b'{"inputs":[[' + b"[0,0,0,0,0]," * 1_000_000 + b"[0,0,0,0,0]]]}"
    assert "8,388,608 bytes, unpacked" in problem(sequences.post(longer), "too-large")["detail"]
    packed = sequences.post(gzip.compress(longer, 1), headers={"content-encoding": "gzip"})
    problem(packed, "too-large")


def test_a_million_numbers_where_a_few_belong_are_refused(server):
    body = b'{"inputs":[[' + b"0," * 1_000_000 + b"0]]}"
    assert "found (1000001,)" in problem(server.post(body), "wrong-values")["detail"]


def test_a_model_of_sequences_refuses_pictures(sequences):
    found = problem(sequences.post(png(stroke()), "image/png"), "wrong-type")
    assert found["detail"] == "this model reads sequences, not images: send application/json"
